"""What earlier pulls of a place brought, so that the next one fetches only what changed there since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rpd.remote.shell import Program, Shell, with_arguments
from rpd.remote.transfer.paths import nul_ended
from rpd.remote.transfer.patience import SHORT_SECONDS

# $1 the folder; standard input: names, each ended by NUL. A line for each, in their order.
_FACTS = r"""
cd -- "$1" && stat --version 2>/dev/null | grep -q GNU && exec xargs -0 stat -c '%s %y %z %i' --
cat >/dev/null
"""


class Seen:
    """The files earlier pulls brought, by what the pod said of them then."""

    def __init__(self) -> None:
        self._facts: dict[str, str] = {}
        self._fetched: dict[str, tuple[str, str, int]] = {}
        self.unchanged: dict[str, str] = {}
        """Of the files there now, those that are here already: name to sha256."""
        self.unchanged_bytes = 0

    def look(
        self, facts_of: Callable[[Sequence[str]], Mapping[str, str]], names: Sequence[str], local: Path
    ) -> None:
        """Find out what is here already; ``facts_of`` asks the pod for sizes, times and inodes."""
        # Before they are read: a change after that shows the next time.
        self._facts = dict(facts_of(names)) if names else {}
        self.unchanged, self.unchanged_bytes = {}, 0
        for name, (facts, sha256, size) in self._fetched.items():
            path = local / name
            if self._facts.get(name) == facts and path.is_file() and path.stat().st_size == size:
                self.unchanged[name] = sha256
                self.unchanged_bytes += size

    def note(self, sums: Mapping[str, str], local: Path) -> None:
        """Remember what is here now, verified."""
        for name, sha256 in sums.items():
            path = local / name
            if name in self._facts and name not in self.unchanged and path.is_file():
                self._fetched[name] = (self._facts[name], sha256, path.stat().st_size)


def facts_of(shell: Shell, base: str, names: Sequence[str]) -> dict[str, str]:
    """Return sizes, times and inodes by name; of none, where a file vanished or times are whole seconds only."""
    program = Program(with_arguments(_FACTS, base), stdin=[nul_ended(names)], timeout=SHORT_SECONDS * 5)
    lines = shell.exec(program).stdout.decode().splitlines()
    return dict(zip(names, lines, strict=True)) if len(lines) == len(names) else {}
