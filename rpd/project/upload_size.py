"""How much of a folder would be sent: files, bytes, and the largest of them. Nothing is read but names and sizes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.project.own_output import OwnOutput
from rpd.values.frozen import frozen
from rpd.values.size import format_size

if TYPE_CHECKING:
    from rpd.project.unsent_files import LeftOut

_LARGEST = 5


@frozen
class Weight:
    """The weight of a ``put``: number of files and links, bytes in all, the five largest (name, bytes)."""

    files: int
    bytes: int
    largest: tuple[tuple[str, int], ...] = ()
    withheld: tuple[str, ...] = ()
    """Files of keys and passwords that are not sent."""
    left_out: LeftOut | None = None

    def __str__(self) -> str:
        noun = "file" if self.files == 1 else "files"
        return f"{self.files:,} {noun}, {format_size(self.bytes)}"

    @property
    def heaviest(self) -> str:
        """The largest files with their sizes, for a person."""
        return ", ".join(f"{name} {format_size(size)}" for name, size in self.largest)


class Scales:
    """Scales that weigh each folder once, without the files that this process writes there. Thread-safe."""

    def __init__(self, own: OwnOutput | None = None) -> None:
        self._own = own or OwnOutput()
        self._lock = threading.Lock()
        self._known: dict[tuple[Path, tuple[str, ...], bool], Weight] = {}
        self._announced: set[tuple[Path, tuple[str, ...]]] = set()

    def weigh(self, local: Path, exclude: tuple[str, ...] = (), *, ignored: bool = False) -> Weight:
        """Return the weight of an upload of ``local``; with ``ignored`` including files that git ignores.

        Raise UsageError.
        """
        key = (local, exclude, ignored)
        with self._lock:
            weight = self._known.get(key)
            if weight is None:
                rules = (*exclude, *self._own.below(local))
                weight = self._known[key] = _weigh(local, rules, ignored=ignored)
            return weight

    def news(self, local: Path, withheld: tuple[str, ...]) -> str:
        """Return a notice about key files that are not sent from a folder; empty if it was reported before."""
        if not withheld:
            return ""
        from rpd.project.keyfiles import withheld_text

        key = (local.resolve(), withheld)
        with self._lock:
            if key in self._announced:
                return ""
            self._announced.add(key)
        return withheld_text(local, withheld)


def _weigh(local: Path, exclude: tuple[str, ...], *, ignored: bool) -> Weight:
    # Not at the top: collecting loads this module, and needs no ignore rules.
    from rpd.project.ignore import Kind, staging
    from rpd.project.unsent_files import LeftOut, dangling_links

    staged = staging(local, exclude, ignored=ignored)
    files = [file for file in staged.files if file.kind is not Kind.FOLDER]
    largest = sorted(files, key=lambda file: file.size, reverse=True)[:_LARGEST]
    return Weight(
        files=len(files),
        bytes=sum(file.size for file in files),
        largest=tuple((file.name, file.size) for file in largest),
        withheld=staged.withheld,
        left_out=LeftOut(ignored=staged.left_out, dangling=dangling_links(local, staged.files)),
    )
