"""The guard: keeps user code from opening connections and starting processes during a dry run.

A dry run promises that no socket is opened, not even by the user's code. The guard rests on CPython's audit
events (PEP 578), which the socket and subprocess modules raise before they act.

Code may act on another thread than the one that calls it. A thread that is started under the guard stays
under it for good. In a dry run the guard is up ``everywhere``: also for threads that existed before. rpd's
own work passes with ``lowered``. If other jobs run live at the same time, the guard covers only the threads
of one call, because it would stop theirs.

A program may make a dry run on one of its threads while its other threads go on with their work
(``among_others``). There, everywhere means the thread of the run and the threads started by it, directly or
indirectly, since the run began, which is before user code was imported. Work handed to an older thread (a
pool of the program's own) escapes the guard: nothing tells that work from the program's.

The audit hook and the wrapped ``Thread.start`` stay for the life of the process, since an audit hook cannot
be removed. They are installed when a guard is first needed, and let everything pass while no guard is up.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from rpd.errors import RpdError

_BLOCKED = frozenset(
    {
        "socket.connect",
        "socket.bind",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.startfile/2",
    }
)
DRY_RUN = "in a dry run"
SALVAGE = "while the artifacts of a failed job are fetched"


class Blocked(RpdError):
    """Code tried to leave the process while rpd was only making a plan."""


class _Threads:
    """A group of threads: why they are guarded, and the first error on a thread that is not joined."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.met: Blocked | None = None


class _Here(threading.local):
    """The guard of one thread. ``party`` is the group the thread belongs to; None: no particular one."""

    why: str | None = None
    is_lowered = False
    party: _Threads | None = None


_here = _Here()
_process = _Threads()
"""The group of all threads of the process."""
_inherited: weakref.WeakKeyDictionary[threading.Thread, str] = weakref.WeakKeyDictionary()
_parties: weakref.WeakKeyDictionary[threading.Thread, _Threads] = weakref.WeakKeyDictionary()
_plain_start = threading.Thread.start
_installed = False


def _audit(event: str, _arguments: object) -> None:
    if event in _BLOCKED:
        _check(event)


def _why() -> str | None:
    """Return why the current thread is guarded, None if it is not."""
    if _here.is_lowered:
        return None
    party = _party()
    why = _here.why or _process.why or (party.why if party else None)
    return why or inherited()


def inherited() -> str | None:
    """Return why the thread that started the current one was guarded, None if it was not."""
    return _inherited.get(threading.current_thread()) if _inherited else None


def _party() -> _Threads | None:
    """Return the group of the current thread."""
    return _here.party or (_parties.get(threading.current_thread()) if _parties else None)


def _check(event: str) -> None:
    why = _why()
    if why is None:
        return
    error = Blocked(f"{event} is not allowed {why}")
    if _here.why is None:
        # The code that started that thread may never see the error; ``everywhere`` raises it at its end.
        threads = _party() or _process
        threads.met = threads.met or error
    raise error


def _start(thread: threading.Thread) -> None:
    """Start a thread that inherits the guard and the group of the thread that starts it."""
    why, party = _why(), None if _here.is_lowered else _party()
    if why is not None:
        _inherited[thread] = why
    if party is not None:
        _parties[thread] = party
    _plain_start(thread)


def _install() -> None:
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        # Not every Python we support has an audit event for this.
        threading.Thread.start = _start  # type: ignore[method-assign,assignment]
        _installed = True


@contextmanager
def guarded(why: str) -> Iterator[None]:
    """Raise Blocked if this thread, or one that it starts, opens a connection or starts a process.

    ``why`` ends the sentence: ``"in a dry run"``.
    """
    _install()
    before = _here.why, _here.is_lowered
    _here.why, _here.is_lowered = why, False
    try:
        yield
    finally:
        _here.why, _here.is_lowered = before


class everywhere:  # noqa: N801 - used as a function is
    """Do the same for every thread of the process, whenever and by whichever code it was started.

    Within ``among_others``: for every thread of the run. An error on a thread that nobody waits for is raised
    at the end of the block, unless the block raised another.
    """

    # A class: a dry run enters it three times for each node, and a generator costs several times as much.
    __slots__ = ("_before", "_threads", "_why")

    def __init__(self, why: str) -> None:
        self._why = why

    def __enter__(self) -> None:
        _install()
        self._threads = threads = _party() or _process
        self._before = _here.why, _here.is_lowered
        threads.why, threads.met = self._why, None
        _here.why, _here.is_lowered = self._why, False

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        threads = self._threads
        met, threads.why, threads.met = threads.met, None, None
        _here.why, _here.is_lowered = self._before
        if met is not None and error is None:
            raise met


@contextmanager
def among_others() -> Iterator[None]:
    """Limit ``everywhere`` to this thread and the threads started by it: the others do other work."""
    _install()
    before, _here.party = _here.party, _here.party or _Threads()
    try:
        yield
    finally:
        _here.party = before


@contextmanager
def lowered() -> Iterator[None]:
    """Let rpd's own work on this thread pass the guard."""
    before, _here.is_lowered = _here.is_lowered, True
    try:
        yield
    finally:
        _here.is_lowered = before
