"""How much of a folder would be sent: files, bytes, and the largest of them. Nothing is read but names and sizes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.values.size import format_size

if TYPE_CHECKING:
    from rpd.project.left_out import LeftOut

_LARGEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What ``put`` of a folder or file sends: files and links, bytes in all, the five largest (name, bytes)."""

    files: int
    bytes: int
    largest: tuple[tuple[str, int], ...] = ()
    left_out: LeftOut | None = None

    def __str__(self) -> str:
        noun = "file" if self.files == 1 else "files"
        return f"{self.files:,} {noun}, {format_size(self.bytes)}"

    @property
    def heaviest(self) -> str:
        """The largest files with their sizes, for a person."""
        return ", ".join(f"{name} {format_size(size)}" for name, size in self.largest)


class Scales:
    """Weighs each folder once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[Path, tuple[str, ...]], Weight] = {}

    def weigh(self, local: Path, exclude: tuple[str, ...] = ()) -> Weight:
        """Return what would be sent of ``local``. Raises UsageError if it does not exist."""
        with self._lock:
            known = self._known.get((local, exclude))
            if known is None:
                known = self._known[local, exclude] = _weigh(local, exclude)
            return known


def _weigh(local: Path, exclude: tuple[str, ...]) -> Weight:
    # Not at the top: collecting loads this module, and needs no ignore rules.
    from rpd.project.ignore import Kind, survey
    from rpd.project.left_out import LeftOut, dangling_links

    every, ignored = survey(local, exclude)
    files = [file for file in every if file.kind is not Kind.FOLDER]
    largest = sorted(files, key=lambda file: file.size, reverse=True)[:_LARGEST]
    return Weight(
        files=len(files),
        bytes=sum(file.size for file in files),
        largest=tuple((file.name, file.size) for file in largest),
        left_out=LeftOut(ignored=tuple(ignored), dangling=dangling_links(local, every)),
    )
