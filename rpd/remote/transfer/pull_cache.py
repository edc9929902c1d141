"""A memory of earlier pulls of a place, so that the next one fetches only changes."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from rpd.disk.safe_tree import Tree
from rpd.remote.shell import DeadlinePassed, Program, Shell, TooMuch, mended, with_arguments
from rpd.remote.transfer.paths import nul_ended
from rpd.remote.transfer.patience import SHORT_SECONDS

# $1 the folder, $2 the format of stat; standard input: names, each ended by NUL. Prints a line for each, in
# their order.
_FACTS = r"""
cd -- "$1" && stat --version 2>/dev/null | grep -q GNU && exec xargs -0 stat -c "$2" --
cat >/dev/null
"""


_LONGEST_FACTS = 400


class Seen:
    """The files of earlier pulls, with their state on the pod at that time.

    ``linked``: they are hard links that are made and removed, which changes their ctime; so ctime is ignored.
    """

    def __init__(self, *, linked: bool = False) -> None:
        self.format = "%s %y %i" if linked else "%s %y %z %i"
        self._facts: dict[str, str] = {}
        self._fetched: dict[str, tuple[str, str, int]] = {}
        self.unchanged: dict[str, str] = {}
        """Files that are on the pod and already here: name to sha256."""
        self.unchanged_bytes = 0

    def look(
        self, facts_of: Callable[[Sequence[str]], Mapping[str, str]], names: Sequence[str], local: Path
    ) -> None:
        """Find out which files are already here; ``facts_of`` asks the pod for sizes, times and inodes."""
        # Before the files are read: a later change shows in the next pull.
        self._facts = dict(facts_of(names)) if names else {}
        self.unchanged, self.unchanged_bytes = {}, 0
        with closing(Tree(local)) as tree:
            for name, (facts, sha256, size) in self._fetched.items():
                if self._facts.get(name) == facts and _size(tree, name) == size:
                    self.unchanged[name] = sha256
                    self.unchanged_bytes += size

    def note(self, sums: Mapping[str, str], local: Path) -> None:
        """Remember the verified files that are here now."""
        with closing(Tree(local)) as tree:
            for name, sha256 in sums.items():
                if name in self._facts and name not in self.unchanged:
                    size = _size(tree, name)
                    if size is not None:
                        self._fetched[name] = (self._facts[name], sha256, size)


def _size(tree: Tree, name: str) -> int | None:
    """Return the size of a regular file, None for anything else."""
    status = tree.status(name)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None


def facts_of(shell: Shell, base: str, names: Sequence[str], facts: str) -> dict[str, str]:
    """Return sizes, times and inodes by name; empty if a file vanished, or if times are whole seconds."""
    program = Program(
        with_arguments(_FACTS, base, facts),
        stdin=[nul_ended(names)],
        timeout=SHORT_SECONDS * 5,
        most=_LONGEST_FACTS * (len(names) + 1),
    )
    try:
        lines = mended(shell, lambda: shell.exec(program)).stdout.decode(errors="replace").splitlines()
    except (DeadlinePassed, TooMuch):
        return {}
    return dict(zip(names, lines, strict=True)) if len(lines) == len(names) else {}
