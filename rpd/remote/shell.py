"""One program on a pod: its bytes in and out, its exit code, a deadline, and what a break in between means.

Commands and transfers are written against ``Shell``; the package ``ssh`` is the one that speaks SSH.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

from rpd.errors import Cause, ConnectionLost, Interrupted, RemoteError
from rpd.values.frozen import frozen

T = TypeVar("T")

MOST_KEPT = 4 << 20
"""Bytes of output that are kept of a program, unless it says otherwise."""

_REASON_BYTES = 1000

TRIES = 3
"""How often in all something short is tried over a connection that breaks each time."""


class Disconnected(ConnectionLost):
    """The connection broke: what the program did afterwards is unknown. ``Shell.reconnect`` mends it."""


class DeadlinePassed(RemoteError):
    """A program on the pod had not ended by its deadline; it may still run.

    Where that is a job's command it becomes a CommandTimeout; rpd's own small scripts only get stuck on a sick pod.
    """

    cause: ClassVar[Cause] = Cause.INFRA


class TooMuch(RemoteError):
    """A program on the pod said more than it may: the pod is not trusted with this machine's memory."""


@frozen
class Ended:
    """How a program ended, and what it wrote that was not read as it came."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def reason(self) -> str:
        """The last lines of standard error, for a message to a person."""
        end = self.stderr[-_REASON_BYTES:].decode(errors="replace")
        lines = [line.strip() for line in end.splitlines() if line.strip()]
        return "; ".join(lines[-3:]) or f"exit code {self.exit_code}"


class Interrupt:
    """A request to stop that any thread may make; it wakes every waiting thread, and stays until it is cleared."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask to stop."""
        self._event.set()
        with self._lock:
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def clear(self) -> None:
        """Forget the request."""
        self._event.clear()

    def check(self, what: str) -> None:
        """Raise Interrupted if somebody asked to stop."""
        if self.requested:
            raise Interrupted(f"interrupted: {what}")

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``; return whether somebody asked to stop."""
        return self._event.wait(seconds)

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call ``wake`` (from the asking thread) if the request comes while the block runs."""
        with self._lock:
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A script for POSIX sh, and how long it may take.

    ``timeout`` (seconds) is for the whole of it, ``stall`` for no byte either way; ``interrupt`` may end it sooner.
    ``most`` is how many bytes may be kept of its standard error, and of the standard output that is not read as it
    comes: beyond that TooMuch is raised.
    ``is_wide`` lets more of its output be under way: for bulk that is read as fast as it comes.
    Without ``stdin`` the script itself travels over standard input and runs only if all of it arrived, so that it may
    hold secrets and is in no argument list. With ``stdin`` the script is an argument and reads those bytes.
    """

    script: str = field(kw_only=False)
    stdin: Iterable[bytes] | None = None
    timeout: float | None = None
    stall: float | None = None
    interrupt: Interrupt | None = None
    most: int = MOST_KEPT
    is_wide: bool = False
    errors: Callable[[bytes], None] | None = None
    """Gets standard error as it comes, on the thread that reads; then none of it is kept. What it raises comes out of
    the read."""


def with_arguments(script: str, *arguments: str) -> str:
    """Return ``script`` with ``$1`` and so on set."""
    return f"set -- {' '.join(map(shlex.quote, arguments))}\n{script}"


class Stream(Protocol):
    """A running program. Every method raises Disconnected, DeadlinePassed, TooMuch and Interrupted."""

    def read(self) -> bytes:
        """Return all of standard output that is here, as soon as there is some; empty at its end."""
        ...

    def errors(self) -> bytes:
        """Return all of standard error that has arrived and is kept; never waits."""
        ...

    def finish(self) -> Ended:
        """Read the rest and wait for the end. Raises what the iterable behind standard input raised."""
        ...

    def close(self) -> None:
        """Stop listening; safe to call twice and from any thread."""
        ...


class Shell(Protocol):
    """A pod on which POSIX sh scripts can be run."""

    def open(self, program: Program) -> Stream:
        """Begin to run ``program``. Raises Disconnected; ConnectionLost after the shell was closed."""
        ...

    def exec(self, program: Program) -> Ended:
        """Run ``program`` to its end. Raises what ``open`` and the methods of ``Stream`` raise."""
        ...

    def reconnect(self, interrupt: Interrupt | None = None) -> None:
        """Return once scripts can be run again. Raises PodLost if the pod is gone, ConnectionLost after a deadline."""
        ...

    def renew(self) -> None:
        """Hear that the pod's start-up files changed: no session that began before is used for what comes next."""
        ...


def mended(shell: Shell, act: Callable[[], T], interrupt: Interrupt | None = None) -> T:
    """Do ``act``, which may be done again, over a connection that is mended between tries. Raises the last error."""
    for _ in range(TRIES - 1):
        try:
            return act()
        except Disconnected:
            shell.reconnect(interrupt)
    return act()
