"""Steps: what a job function does on its pod, as asked for and as done."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from rpd.values.frozen import frozen


class StepKind(StrEnum):
    """The verbs of a pod handle that are steps of a node."""

    RUN = "run"
    PUT = "put"
    PULL = "pull"
    WRITE = "write"
    READ = "read"


_LONGEST_NAME = 72


def in_short(command: str) -> str:
    """Return what a message calls a command: its first line, cut to ``_LONGEST_NAME`` characters."""
    first, *more = command.strip().splitlines() or [""]
    if len(first) > _LONGEST_NAME:
        return f"{first[: _LONGEST_NAME - 1].rstrip()}…"
    return f"{first} …" if more else first


@frozen
class Completed:
    """A command that ended on the pod: its exit code, what it printed, how long it ran in seconds.

    ``stdout`` is the text it printed, as it stands in the log: standard error is in it too, unless the command sends
    that elsewhere (``2>/dev/null``). Of more than 65,536 bytes it has the last. ``tail`` is the last 20 lines.
    """

    command: str
    exit_code: int
    tail: tuple[str, ...] = ()
    seconds: float = 0.0
    stdout: str = ""

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


@frozen
class Staged:
    """A folder or file that was sent: where it is on the pod, what it holds (sha256 of the tree, files, bytes).

    ``changed`` names the files that changed while they were sent; they arrived as long as they were when it began.
    """

    remote: str
    tree_sha256: str
    files: int
    bytes: int
    changed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    """Files of keys and passwords in the folder that were not sent."""


@frozen
class Pulled:
    """Files that were fetched: ``files`` relative to ``local``, checked against ``sha256_file`` if ``verified``.

    ``older`` has the local paths of those that were there before the node began: they are no results of it. ``others``
    has paths on the pod that are no files: FIFOs, sockets and devices are not fetched.
    """

    remote: str
    local: Path
    files: int
    bytes: int
    sha256_file: str = ""
    verified: bool = False
    required: bool = True
    older: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@frozen
class Checkpoint:
    """A folder on the pod that rpd fetches again and again: its path, and the copy here that was put there first.

    ``copy`` is empty where the job begins anew.
    """

    path: str
    copy: str = ""

    @property
    def is_restored(self) -> bool:
        """Whether an earlier checkpoint is in it, so that the job can go on from there."""
        return bool(self.copy)


@frozen
class Step:
    """One step of a node for the record; ``command`` has its secrets masked, ``seconds`` is its duration."""

    index: int
    kind: StepKind
    name: str
    command: str
    exit_code: int | None = None
    seconds: float = 0.0


@frozen
class StepMark:
    """A part of a step that the command itself names: the index of the step, and for how long (s) the part went on."""

    step: int
    name: str
    seconds: float = 0.0
