"""Steps: the actions of a job function on its pod, requested and done."""

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
    """Return a command's short form for messages: its first line, cut to ``_LONGEST_NAME`` characters."""
    first, *more = command.strip().splitlines() or [""]
    if len(first) > _LONGEST_NAME:
        return f"{first[: _LONGEST_NAME - 1].rstrip()}…"
    return f"{first} …" if more else first


@frozen
class Completed:
    """A command that ended on the pod: its exit code, output, and duration in seconds.

    ``stdout`` is its output as in the log: it includes standard error, unless the command redirects that
    (``2>/dev/null``). Longer output is cut to its last 65,536 bytes. ``tail`` is the last 20 lines.
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
    """A folder or file that was sent: its place on the pod and its content (sha256 of the tree, files, bytes).

    ``changed`` names files that changed while they were sent; they arrived with the length they had at the
    start.
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
    """A folder on the pod that rpd fetches repeatedly: its path, and the local copy that was restored to it.

    ``copy`` is empty if the job starts from scratch.
    """

    path: str
    copy: str = ""

    @property
    def is_restored(self) -> bool:
        """Whether it contains an earlier checkpoint, from which the job can resume."""
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
    """A part of a step, named by the command itself: the index of the step, and the duration of the part (s)."""

    step: int
    name: str
    seconds: float = 0.0
