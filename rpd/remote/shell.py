"""One program on a pod: its bytes in and out, its exit code, a deadline, and the effect of a broken connection.

Commands and transfers are written against ``Shell``; the package ``ssh`` implements it over SSH.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol, TypeVar

from rpd.errors import Cause, ConnectionLost, Interrupted, RemoteError
from rpd.values.frozen import frozen

T = TypeVar("T")

MOST_KEPT = 4 << 20
"""Bytes of output kept per program by default."""

_REASON_BYTES = 1000

TRIES = 3
"""How often a short program is tried in all over a connection that breaks each time.

A transfer survives so many breaks in a row without progress.
"""


class Disconnected(ConnectionLost):
    """The connection broke: the further fate of the program is unknown. ``Shell.reconnect`` re-establishes it."""


class DeadlinePassed(RemoteError):
    """A program on the pod had not ended by its deadline; it may still be running.

    For a job's command this becomes a CommandTimeout; rpd's own small scripts only get stuck on a sick pod.
    """

    cause: ClassVar[Cause] = Cause.INFRA


class TooMuch(RemoteError):
    """A program on the pod printed more than it may: a pod must not be able to fill this machine's memory."""


@frozen
class Ended:
    """The end of a program, and its output that was not read as it arrived."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def reason(self) -> str:
        """The last lines of standard error, for a message to the user."""
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
        """Whether a stop was requested."""
        return self._event.is_set()

    def request(self) -> None:
        """Request a stop."""
        self._event.set()
        with self._lock:
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def clear(self) -> None:
        """Withdraw the request."""
        self._event.clear()

    def check(self, what: str) -> None:
        """Raise Interrupted if a stop was requested."""
        if self.requested:
            raise Interrupted(f"interrupted: {what}")

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``; return whether a stop was requested."""
        return self._event.wait(seconds)

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call ``wake`` (on the requesting thread) if the request comes during the block."""
        with self._lock:
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)


@frozen(kw_only=False)
class Program:
    """A script for POSIX sh, and its limits.

    ``timeout`` (seconds) limits the whole program, ``stall`` the time without a byte in either direction;
    ``interrupt`` may end it sooner. ``most`` limits the kept bytes of its standard error, and of the standard
    output that is not read as it arrives; beyond that TooMuch is raised. ``is_wide`` allows more output in
    flight: for bulk data that is read as fast as it arrives.

    Without ``stdin`` the script itself travels over standard input and runs only if all of it arrived, so
    that it may hold secrets and is in no argument list. With ``stdin`` the script is an argument and reads
    those bytes.
    """

    script: str
    stdin: Iterable[bytes] | None = None
    timeout: float | None = None
    stall: float | None = None
    interrupt: Interrupt | None = None
    most: int = MOST_KEPT
    is_wide: bool = False
    errors: Callable[[bytes], None] | None = None
    """Gets standard error as it arrives, on the reading thread; none of it is kept then. Its exceptions are
    raised by the read.
    """
    under_way: Callable[[int], None] | None = None
    """Gets, after each piece of standard input, how many bytes of it at most the pod has not taken yet: on the thread
    that asks for the pieces, before it asks for the next.
    """


def is_variable_name(name: str) -> bool:
    """Return whether an environment variable may be called ``name``: ASCII letters, digits and ``_``."""
    return name.isascii() and name.isidentifier()


def with_arguments(script: str, *arguments: str) -> str:
    """Return ``script`` with ``$1`` and so on set."""
    return f"set -- {' '.join(map(shlex.quote, arguments))}\n{script}"


class Stream(Protocol):
    """A running program. Every method may raise Disconnected, DeadlinePassed, TooMuch and Interrupted."""

    def read(self) -> bytes:
        """Return the standard output that has arrived, waiting for the first byte; empty at its end."""
        ...

    def errors(self) -> bytes:
        """Return the standard error that has arrived and is kept; never wait."""
        ...

    def finish(self) -> Ended:
        """Read the rest and wait for the end.

        Raise the error of the iterable behind standard input, if it raised one.
        """
        ...

    def extend(self, seconds: float) -> None:
        """Set a new deadline, ``seconds`` from now."""
        ...

    def close(self) -> None:
        """Stop listening; safe to call twice and from any thread."""
        ...


class Shell(Protocol):
    """A pod on which POSIX sh scripts can be run."""

    def open(self, program: Program) -> Stream:
        """Start ``program``. Raise Disconnected; ConnectionLost after the shell was closed."""
        ...

    def exec(self, program: Program) -> Ended:
        """Run ``program`` to its end. Raise the errors of ``open`` and of the methods of ``Stream``."""
        ...

    def reconnect(self, interrupt: Interrupt | None = None) -> None:
        """Return once scripts can be run again. Raise PodLost if the pod is gone, ConnectionLost after a deadline."""
        ...

    def renew(self) -> None:
        """Note that the pod's start-up files changed: sessions started before are not used any more."""
        ...


class Breaks:
    """Counts the breaks of a transfer that made no progress: a large one may outlast many connections."""

    def __init__(self) -> None:
        self._number = 0
        self._safe = 0

    def is_last(self, safe: int) -> bool:
        """Count a break; ``safe`` bytes have arrived for good. Return whether it is no use to go on."""
        self._number = 1 if safe > self._safe else self._number + 1
        self._safe = safe
        return self._number > TRIES


def mended(shell: Shell, act: Callable[[], T], interrupt: Interrupt | None = None) -> T:
    """Call ``act``, which may be repeated, reconnecting between tries. Raise the last error."""
    for _ in range(TRIES - 1):
        try:
            return act()
        except Disconnected:
            shell.reconnect(interrupt)
    return act()
