"""The seam between a pod handle and the machine behind it: what can be done there, by any implementation.

The package ``ssh`` does it over SSH; the dry run (``recorder``) does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rpd.remote.shell import Interrupt
from rpd.values.frozen import frozen
from rpd.values.step import Completed, Pulled, Staged

Output = Callable[[bytes], None]
"""Hears the raw output of a command as it comes."""

Progress = Callable[[int, int], None]
"""Hears how many bytes went over so far, and out of how many (0: not known). Called on any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command to run on the pod, detached from the connection.

    ``key`` names its folder on the pod (exit code, log, process id), unique per pod; ``before`` holds sh lines that its
    shell runs first; ``secrets`` are exported to it from tmpfs and appear nowhere else; ``timeout`` and ``grace``
    (between SIGTERM and SIGKILL) are seconds.
    """

    key: str
    text: str
    before: str = ""
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    grace: float = 10.0
    stand_in: str = ""
    """What a remote that runs nothing answers as its output."""


def _free(place: Path, remote: str) -> None:
    """Have nothing against it."""


@frozen
class Intake:
    """What a pull has to heed besides its path.

    ``as_file``: a single file becomes ``local`` itself, as with cp, unless that is a folder already. ``contents``: what
    is in a folder goes into ``local``, without the folder itself, as with rsync and a slash at the end. ``take`` is
    told each local place with the path on the pod that is to come there, before anything is fetched, and raises to
    refuse it. ``since`` is the name of a mark (``Remote.mark``): files that are older are named in ``Pulled.older``.
    """

    as_file: bool = False
    contents: bool = False
    take: Callable[[Path, str], None] = _free
    since: str = ""


class Feed(Protocol):
    """Both ends of a script that runs in parallel with everything else. A broken connection is its end."""

    def read(self, seconds: float) -> bytes | None:
        """Return the next bytes of its standard output, empty at its end, None after ``seconds`` of silence."""
        ...

    def send(self, data: bytes) -> None:
        """Write to its standard input; a feed that has ended takes it and does nothing."""
        ...

    def close(self) -> None:
        """End it; from any thread."""
        ...


class Remote(Protocol):
    """A pod one can work on. Raises RemoteError (its named subclasses) and nothing else of its own.

    One Remote is used by one thread at a time, except the methods that say otherwise.
    """

    def probe(self) -> Mapping[str, str]:
        """Return facts about the machine: ``gpu_name``, ``gpu_count``, ``driver``, ``cuda``, ``python``, ``uname``.

        ``missing`` names the tools that transfers and commands need and the image does not have.
        """
        ...

    def run(self, command: Command, output: Output, metrics: Output | None = None) -> Completed:
        """Start ``command`` detached, follow its log from the first byte to the last and return how it ended.

        ``metrics`` gets each byte that it appends to the file ``$RPD_METRICS``, within a second, on the same thread.

        A lost connection is mended and the log continued at the byte. Raises CommandTimeout (after ending the whole
        process group), Interrupted (after ``interrupt``, likewise), ConnectionLost, PodLost. Never CommandFailed.
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
        """Send a folder or file so that ``remote`` is whole or not there at all.

        With ``ignored``, what git ignores as well.

        Raises TransferError, and Interrupted once ``interrupt`` is requested.
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
        """Fetch a file, folder or glob into the folder ``local`` and check it against sha256 sums made on the pod.

        Nothing local is ever deleted, and nothing written through a link at or below ``within`` (default: ``local``).
        ``seen`` (from ``new_seen``) remembers between pulls of one place what they
        brought, so that the next one fetches only what changed. Returns None if it does not exist and is not required.
        Raises MissingArtifact, TransferError.
        """
        ...

    def mark(self, name: str) -> None:
        """Have a mark of that name made on the pod, now by its clock, with the next program that is run there.

        A mark that is there already stays as it is.
        """
        ...

    def read(self, remote: str, *, most: int, stand_in: bytes = b"") -> bytes:
        """Return a file's bytes; ``stand_in`` is the answer of a remote that reads nothing.

        Raises MissingArtifact, TransferError, UsageError for more than ``most`` bytes.
        """
        ...

    def new_seen(self, *, linked: bool = False) -> object:
        """Return an empty memory for ``pull``; ``linked``: of hard links that are made for each pull."""
        ...

    def write(self, remote: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file on the pod, atomically; its folder is made. Raises TransferError."""
        ...

    def forward(self, remote_port: int, local_port: int = 0) -> int:
        """Forward ``127.0.0.1:local_port`` (0: any free) to the port on the pod; return the local port."""
        ...

    def script(self, text: str, *, timeout: float) -> str:
        """Run a short sh script (sent over standard input) and return what it printed on standard output.

        It may be run again if the connection breaks. Raises RemoteError if it does not end within ``timeout`` seconds,
        ConnectionLost, PodLost. May be called from any thread.
        """
        ...

    def feed(self, script: str) -> Feed:
        """Start a sh script that talks for as long as somebody listens; it is sent over standard input.

        Raises ConnectionLost where there is no connection now. May be called from any thread.
        """
        ...

    def follow(self, key: str, offset: int, output: Output) -> Completed:
        """Hand the log of a command that was started before to ``output``, from the byte ``offset`` to its end.

        Raises ConnectionLost, PodLost (also where the pod knows no such command).
        """
        ...

    def interrupt(self) -> None:
        """Ask a running ``run`` to end its command (SIGTERM, grace, SIGKILL) and raise Interrupted; from any thread.

        With none running, the next one is met by it.
        """
        ...

    def forget_interrupt(self) -> None:
        """Take back an ``interrupt`` that met no ``run``."""
        ...

    def close(self) -> None:
        """Close the connection; commands on the pod go on."""
        ...
