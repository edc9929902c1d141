"""The guard: keeps user code from opening connections and starting processes while it only shows what it would do.

A dry run promises that no socket is opened, also by a user's own code; this is what keeps the promise. It rests on
CPython's audit events (PEP 578), which the socket and subprocess modules raise before they act.

Code may act on another thread than the one that calls it. A thread that is started under the guard stays under it, for
good. In a dry run the guard holds ``everywhere``: for threads that were there before as well. What rpd itself does is
let through by ``lowered``. Where other jobs run live meanwhile, it holds for the threads of the one call only, or it
would stop theirs.

A program that makes a dry run on one of its threads (``among_others``) goes on with its own work on the rest. There,
everywhere means: on the thread of the run, and on those that were started by it, or by one of those, since the run
began; that is before user code was imported. Who hands work to a thread that was there before (a pool of the program's
own) passes the guard: nothing tells that work from the program's.

The audit hook and the wrapped ``Thread.start`` stay for the life of the process, since a hook cannot be taken out
again. They are put in when a guard is first needed, and let everything through where none is up.
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


class Blocked(RpdError):
    """Code tried to leave the process while only a plan was being made."""


class _Threads:
    """Threads that belong together: whether all of them are guarded, and what the guard met on which nobody waits."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.met: Blocked | None = None


class _Here(threading.local):
    """The guard of one thread. ``party``: whose thread it is; None: nobody's in particular."""

    why: str | None = None
    is_lowered = False
    party: _Threads | None = None


_here = _Here()
_process = _Threads()
"""All threads there are."""
_inherited: weakref.WeakKeyDictionary[threading.Thread, str] = weakref.WeakKeyDictionary()
_parties: weakref.WeakKeyDictionary[threading.Thread, _Threads] = weakref.WeakKeyDictionary()
_plain_start = threading.Thread.start
_installed = False


def _audit(event: str, _arguments: object) -> None:
    if event in _BLOCKED:
        _check(event)


def _why() -> str | None:
    """Return why the thread that asks is guarded, None if it is not."""
    if _here.is_lowered:
        return None
    party = _party()
    why = _here.why or _process.why or (party.why if party else None)
    return why or (_inherited.get(threading.current_thread()) if _inherited else None)


def _party() -> _Threads | None:
    """Return which threads the one that asks belongs to."""
    return _here.party or (_parties.get(threading.current_thread()) if _parties else None)


def _check(event: str) -> None:
    why = _why()
    if why is None:
        return
    error = Blocked(f"{event} is not allowed {why}")
    if _here.why is None:
        # The code that started that thread may never learn of it.
        threads = _party() or _process
        threads.met = threads.met or error
    raise error


def _start(thread: threading.Thread) -> None:
    """Start a thread; one that is started under the guard stays under it, and it belongs to who started it."""
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
    """Raise Blocked where this thread, or one that it starts, tries to open a connection or start a process.

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
    """Do the same for every thread of the process, no matter what started it, or when.

    Within ``among_others`` for every thread of the run. What is kept from a thread that nobody waits for is raised at
    the end of the block, if nothing else was.
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
    """Let ``everywhere`` mean this thread, and those that are started by it meanwhile: the others do other things."""
    _install()
    before, _here.party = _here.party, _here.party or _Threads()
    try:
        yield
    finally:
        _here.party = before


@contextmanager
def lowered() -> Iterator[None]:
    """Let rpd's own work on this thread through."""
    before, _here.is_lowered = _here.is_lowered, True
    try:
        yield
    finally:
        _here.is_lowered = before
