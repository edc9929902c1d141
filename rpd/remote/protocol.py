"""The seam between a pod handle and the machine behind it: the operations that every implementation offers.

The package ``ssh`` implements them over SSH; ``dry_run`` does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rpd.remote.shell import Interrupt
from rpd.values.frozen import EMPTY, frozen
from rpd.values.step import Completed, Pulled, Staged

Output = Callable[[bytes], None]
"""Takes the raw output of a command as it arrives."""

Progress = Callable[[int, int], None]
"""Takes the number of bytes transferred so far and in total (0: unknown). Called on any thread."""


@frozen
class Command:
    """One command to run on the pod, detached from the connection.

    ``key`` names its folder on the pod (exit code, log, process id) and is unique per pod; ``before`` holds
    sh lines that its shell runs first; ``secrets`` are exported to it and are in no file and no argument
    list; ``timeout`` and ``grace`` (between SIGTERM and SIGKILL) are seconds.
    """

    key: str
    text: str
    before: str = ""
    cwd: str | None = None
    env: Mapping[str, str] = EMPTY
    secrets: Mapping[str, str] = EMPTY
    timeout: float | None = None
    grace: float = 10.0
    stand_in: str = ""
    """The output that a remote returns if it runs nothing."""


def _free(place: Path, remote: str) -> None:
    """Accept every place."""


@frozen
class Intake:
    """Options of a pull besides its paths.

    ``as_file``: a single file becomes ``local`` itself, as with cp, unless that is an existing folder.
    ``contents``: the contents of a folder go into ``local``, without the folder itself, as with rsync and a
    trailing slash. ``take`` is called with each local place and its path on the pod before anything is
    fetched, and raises to refuse it. ``since`` is the name of a mark (``Remote.mark``): files that are older
    are listed in ``Pulled.older``.
    """

    as_file: bool = False
    contents: bool = False
    take: Callable[[Path, str], None] = _free
    since: str = ""


class Feed(Protocol):
    """Both ends of a script that runs in parallel with everything else. A broken connection ends it."""

    def read(self, seconds: float) -> bytes | None:
        """Return the next bytes of its standard output, empty at its end, None after ``seconds`` of silence."""
        ...

    def send(self, data: bytes) -> None:
        """Write to its standard input; do nothing if the feed has ended."""
        ...

    def close(self) -> None:
        """End it; from any thread."""
        ...


class Remote(Protocol):
    """A pod to work on. Its methods raise only RemoteError and its named subclasses.

    One Remote is used by one thread at a time, unless a method says otherwise.
    """

    def probe(self) -> Mapping[str, str]:
        """Return facts about the machine: ``gpu_name``, ``gpu_count``, ``driver``, ``cuda``, ``python``, ``uname``.

        ``missing`` lists tools that transfers and commands need and the image lacks.
        """
        ...

    def run(self, command: Command, output: Output, metrics: Output | None = None) -> Completed:
        """Start ``command`` detached, follow its log from the first byte to the last and return its result.

        ``metrics`` gets each byte that the command appends to the file ``$RPD_METRICS``, within a second, on
        the same thread.

        A lost connection is re-established and the log continued at the same byte. Raise CommandTimeout
        (after ending the whole process group), Interrupted (likewise, after ``interrupt``), ConnectionLost,
        PodLost. Never raise CommandFailed.
        """
        ...

    def put(
        self,
        local: Path,
        remote: str,
        *,
        exclude: Sequence[str] = (),
        ignored: bool = False,
        interrupt: Interrupt | None = None,
        progress: Progress | None = None,
    ) -> Staged:
        """Send a folder or file so that ``remote`` is either complete or absent.

        With ``ignored``, send files that git ignores, too. Raise TransferError, and Interrupted once
        ``interrupt`` is requested.
        """
        ...

    def pull(
        self,
        remote: str,
        local: Path,
        *,
        within: Path | None = None,
        required: bool = True,
        exclude: Sequence[str] = (),
        seen: object = None,
        intake: Intake = Intake(),  # noqa: B008 - it cannot change
    ) -> Pulled | None:
        """Fetch a file, folder or glob into the folder ``local`` and verify it with sha256 sums computed on the pod.

        Nothing local is ever deleted, and nothing is written through a link at or below ``within`` (default:
        ``local``). ``seen`` (from ``new_seen``) remembers the results of pulls to one place, so that the next
        pull fetches only changes. Return None if the path does not exist and is not required. Raise
        MissingArtifact, TransferError.
        """
        ...

    def mark(self, name: str) -> None:
        """Leave a mark with the pod's current time, together with the next program that is run there.

        An existing mark of that name is left alone.
        """
        ...

    def read(self, remote: str, *, most: int, stand_in: bytes = b"") -> bytes:
        """Return the bytes of a file; ``stand_in`` is the answer of a remote that reads nothing.

        Raise MissingArtifact, TransferError, UsageError for more than ``most`` bytes.
        """
        ...

    def new_seen(self, *, linked: bool = False) -> object:
        """Return an empty memory for ``pull``; ``linked``: the source is a fresh tree of hard links each time."""
        ...

    def write(self, remote: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file on the pod atomically, creating its folder. Raise TransferError."""
        ...

    def forward(self, remote_port: int, local_port: int = 0) -> int:
        """Forward ``127.0.0.1:local_port`` (0: any free port) to the port on the pod; return the local port."""
        ...

    def script(self, text: str, *, timeout: float) -> str:
        """Run a short sh script (sent over standard input) and return its standard output.

        It may run again if the connection breaks. Raise RemoteError if it does not end within ``timeout``
        seconds, ConnectionLost, PodLost. May be called from any thread.
        """
        ...

    def feed(self, script: str) -> Feed:
        """Start a sh script, sent over standard input, that writes for as long as somebody listens.

        Raise ConnectionLost if there is no connection now. May be called from any thread.
        """
        ...

    def follow(self, key: str, offset: int, output: Output) -> Completed:
        """Pass the log of an earlier command to ``output``, from byte ``offset`` to its end.

        Raise ConnectionLost, PodLost (also if the pod does not know the command).
        """
        ...

    def interrupt(self) -> None:
        """Make a running ``run`` end its command (SIGTERM, grace, SIGKILL) and raise Interrupted; from any thread.

        If none is running, the next one raises.
        """
        ...

    def forget_interrupt(self) -> None:
        """Withdraw an ``interrupt`` that did not meet any ``run``."""
        ...

    def close(self) -> None:
        """Close the connection; commands on the pod keep running."""
        ...
