"""Steps: what a job function does on its pod, as asked for and as done."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from rpd.values.frozen import frozen


class StepKind(StrEnum):
    """The verbs of a pod handle that change something."""

    RUN = "run"
    PUT = "put"
    PULL = "pull"
    WRITE = "write"


@frozen
class Completed:
    """A command that ended on the pod: its exit code, its last lines, how long it ran in seconds."""

    command: str
    exit_code: int
    tail: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


@frozen
class Staged:
    """A folder or file that was sent: where it is on the pod, what it holds (sha256 of the tree, files, bytes)."""

    remote: str
    tree_sha256: str
    files: int
    bytes: int
    withheld: tuple[str, ...] = ()
    """Files of keys and passwords in the folder that were not sent."""


@frozen
class Pulled:
    """Files that were fetched: ``files`` relative to ``local``, checked against ``sha256_file`` if ``verified``."""

    remote: str
    local: Path
    files: int
    bytes: int
    sha256_file: str = ""
    verified: bool = False
    required: bool = True


@frozen
class Step:
    """One step of a node for the record; ``command`` has its secrets masked, ``seconds`` is its duration."""

    index: int
    kind: StepKind
    name: str
    command: str
    exit_code: int | None = None
    seconds: float = 0.0
