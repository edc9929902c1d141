"""Files of a folder that are not sent, or links that break once sent: the things to know before a pod is paid for."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rpd.project.ignore import Kind, StagedFile
from rpd.values.frozen import frozen

_SHOWN = 4
_NOISE = re.compile(r"(?:^|/)(?:\.[^/]+|__pycache__|node_modules|[^/]+\.egg-info|[^/]+\.py[co])/?$")
"""Caches and the like: nobody misses them."""
_MISSED = re.compile(
    r"No such file or directory|FileNotFoundError|cannot (?:open|access|stat)|does not exist", re.IGNORECASE
)


@frozen
class LeftOut:
    """Names that are ignored (folders end with ``/``, nothing below them is named), and links with their targets."""

    ignored: tuple[str, ...] = ()
    dangling: tuple[tuple[str, str], ...] = ()

    @property
    def missed(self) -> tuple[str, ...]:
        """Those of the ignored names that a job might want: no caches, no hidden files."""
        return tuple(name for name in self.ignored if not _NOISE.search(name))

    def besides(self, folder: Path, sent: Collection[Path]) -> LeftOut:
        """Return a copy without the names in ``sent``, which were sent separately.

        Names are relative to ``folder``.
        """
        ignored = tuple(name for name in self.ignored if folder / name not in sent)
        return LeftOut(ignored=ignored, dangling=self.dangling)

    def sentence(self, *, every: bool = False) -> str:
        """Return one sentence, empty if nothing is left out; ``every`` lists all names."""
        names = self.ignored if every else self.missed
        links = [f"{name} -> {target}" for name, target in self.dangling]
        parts = []
        if names:
            parts.append(f"not sent, because git or .rpdignore ignores it: {_listed(names, every=every)}")
        if links:
            parts.append(f"links that lead nowhere on the pod: {_listed(links, every=every)}")
        return "; ".join(parts)

    def explains(self, lines: Iterable[str]) -> str:
        """Return a sentence for a failure whose output is ``lines`` if it missed a file; empty if it did not."""
        missing = [line for line in lines if _MISSED.search(line)]
        if not missing:
            return ""
        mentioned = [name for name in self.ignored if any(_is_named(name, line) for line in missing)]
        if mentioned:
            name = mentioned[0].rstrip("/")
            return (
                f"{mentioned[0]} was not sent: git or .rpdignore ignores it. pod.put({name!r}, …) sends it by name; "
                f"a line !{mentioned[0]} in .rpdignore sends it with the project"
            )
        links = [
            f"{name} -> {target}"
            for name, target in self.dangling
            if any(_is_named(name, line) for line in missing)
        ]
        if links:
            return f"{links[0]} is a link to something that was not sent with the project"
        text = self.sentence()
        return f"a file was missing; {text}" if text else ""


def _is_named(name: str, line: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name.rstrip('/'))}(?![\w-])", line) is not None


def _listed(names: Sequence[str], *, every: bool) -> str:
    shown = names if every else names[:_SHOWN]
    more = len(names) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def dangling_links(root: Path, files: Sequence[StagedFile]) -> tuple[tuple[str, str], ...]:
    """Return the links among ``files`` whose target is outside ``root`` or is not sent, with their targets."""
    whole = os.path.realpath(root)
    sent = {file.name for file in files}
    return tuple(
        (file.name, file.target)
        for file in files
        if file.kind is Kind.LINK and not _is_sent(file, whole, sent)
    )


def _is_sent(link: StagedFile, root: str, sent: set[str]) -> bool:
    if Path(link.target).is_absolute() or not link.path.exists():
        return False
    real = os.path.realpath(link.place)
    if real == root:
        return True
    return real.startswith(f"{root}{os.sep}") and real[len(root) + 1 :].replace(os.sep, "/") in sent
