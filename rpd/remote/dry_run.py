"""The remote of a dry run: every step succeeds at once and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from rpd.errors import ConnectionLost, UsageError
from rpd.remote.protocol import Command, Feed, Intake, Output, Progress, Remote
from rpd.remote.shell import Interrupt
from rpd.values.pod import SshEndpoint
from rpd.values.step import Completed, Pulled, Staged


class RecorderRemote:
    """A Remote that does nothing; the steps themselves are recorded by the node run."""

    def probe(self) -> Mapping[str, str]:
        """Return no facts."""
        return {}

    def run(
        self,
        command: Command,
        output: Output,  # noqa: ARG002 - there is no output
        metrics: Output | None = None,  # noqa: ARG002 - nor are there metrics
    ) -> Completed:
        """Succeed, with the stand-in of the command."""
        return Completed(command=command.text, exit_code=0, stdout=command.stand_in)

    def put(
        self,
        local: Path,
        remote: str,
        *,
        exclude: Sequence[str] = (),  # noqa: ARG002
        ignored: bool = False,  # noqa: ARG002
        interrupt: Interrupt | None = None,  # noqa: ARG002
        progress: Progress | None = None,  # noqa: ARG002
    ) -> Staged:
        """Check that ``local`` exists. Raise UsageError."""
        check_exists(local)
        return Staged(remote=remote, tree_sha256="", files=0, bytes=0)

    def pull(
        self,
        remote: str,
        local: Path,
        *,
        within: Path | None = None,  # noqa: ARG002
        required: bool = True,
        exclude: Sequence[str] = (),  # noqa: ARG002
        seen: object = None,  # noqa: ARG002
        intake: Intake = Intake(),  # noqa: B008
    ) -> Pulled | None:
        """Return where the files would be placed; they do not exist."""
        name = remote.rstrip("/").rpartition("/")[2]
        where = local if intake.as_file or intake.contents or any(c in name for c in "*?[") else local / name
        return Pulled(remote=remote, local=where, files=0, bytes=0, required=required)

    def mark(self, name: str) -> None:
        """Do nothing."""

    def read(self, remote: str, *, most: int, stand_in: bytes = b"") -> bytes:  # noqa: ARG002
        """Return ``stand_in``."""
        return stand_in

    def new_seen(self, *, linked: bool = False) -> object:  # noqa: ARG002
        """Return None: there is nothing to remember."""
        return None

    def write(self, remote: str, data: bytes, *, mode: int = 0o644) -> None:
        """Drop the data."""

    def forward(self, remote_port: int, local_port: int = 0) -> int:  # noqa: ARG002
        """Forward nothing; return ``local_port``."""
        return local_port

    def script(self, text: str, *, timeout: float) -> str:  # noqa: ARG002
        """Return an empty output."""
        return ""

    def feed(self, script: str) -> Feed:  # noqa: ARG002
        """Raise ConnectionLost: there is no pod."""
        raise ConnectionLost("in a dry run there is no pod")

    def follow(self, key: str, offset: int, output: Output) -> Completed:  # noqa: ARG002
        """Raise ConnectionLost: there is no pod."""
        raise ConnectionLost("in a dry run there is no pod")

    def interrupt(self) -> None:
        """Do nothing: no command is running."""

    def forget_interrupt(self) -> None:
        """Do nothing: no interrupt was requested."""

    def close(self) -> None:
        """Do nothing: no connection is open."""


@lru_cache(maxsize=1024)
def check_exists(local: Path) -> None:
    """Raise UsageError if ``local`` does not exist."""
    if not local.exists():
        raise UsageError(f"nothing to send: {local} does not exist")


_RECORDER = RecorderRemote()


def connect(
    endpoint: SshEndpoint,  # noqa: ARG001
    *,
    pod_id: str,  # noqa: ARG001
    timeout: float,  # noqa: ARG001
    is_alive: Callable[[], bool | None],  # noqa: ARG001
    interrupt: Interrupt | None = None,  # noqa: ARG001
) -> Remote:
    """Return the recorder; it has no state, so one serves all pods."""
    return _RECORDER
