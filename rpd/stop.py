"""Stopping: how far a run is asked to end, and who must know."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

from rpd.errors import Interrupted
from rpd.threads import Overdue, bounded

T = TypeVar("T")

INTERRUPTED = "interrupted by "
"""How the reason begins where a signal is the reason."""


class StopLevel(IntEnum):
    """The work that a run still does; a level is never lowered."""

    NONE = 0
    DRAIN = 1
    """Start nothing new; let running work finish."""
    END = 2
    """End running commands (SIGTERM, grace, SIGKILL), pull, verify, release."""
    ABANDON = 3
    """Release every pod now, unpulled."""


class Latch:
    """Something that happens once, and that threads wait for which a stop lets go."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether it has happened."""
        return self._is_set

    def set(self) -> None:
        """Wake all threads that wait for it."""
        self._is_set = True
        self.wake()

    def wake(self) -> None:
        """Let all that wait look whether they still have to."""
        with self._changed:
            self._changed.notify_all()

    def wait_or(self, is_over: Callable[[], bool], seconds: float | None) -> bool:
        """Wait until it has happened, or ``is_over`` when it is woken, ``seconds`` at most; return if it has."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_set or is_over(), seconds)
            return self._is_set


class Stop:
    """The stop level of a run, with the reason. Thread-safe; listeners run on the thread that raises the level.

    The newest listener is called first: work is ended before anybody reads that it will be.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._level = StopLevel.NONE
        self._ending = threading.Event()
        self._listeners: dict[int, Callable[[StopLevel], None]] = {}
        self._numbers = itertools.count()
        self.reason = ""

    @property
    def is_interrupted(self) -> bool:
        """Whether a person or the system asked for it."""
        return INTERRUPTED in self.reason

    @property
    def level(self) -> StopLevel:
        """The level now."""
        return self._level

    def request(self, level: StopLevel, reason: str) -> None:
        """Raise the level to at least ``level`` and tell the listeners."""
        with self._lock:
            if level <= self._level:
                return
            self._level = level
            if reason not in self.reason:
                self.reason = f"{self.reason}; {reason}" if self.reason else reason
            listeners = list(reversed(self._listeners.values()))
        if level >= StopLevel.END:
            self._ending.set()
        for listener in listeners:
            listener(level)

    def listen(self, listener: Callable[[StopLevel], None]) -> Callable[[], None]:
        """Call ``listener`` at every change of level, at once if there was one.

        Return a function that unregisters it.

        It may be called twice with one level, if that is raised at the same moment.
        """
        with self._lock:
            number = next(self._numbers)
            self._listeners[number] = listener
            level = self._level
        if level is not StopLevel.NONE:
            listener(level)
        return lambda: self._forget(number)

    def _forget(self, number: int) -> None:
        with self._lock:
            self._listeners.pop(number, None)

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds`` or until running work has to end; return whether it has to."""
        return self._ending.wait(seconds)

    def asked(self, act: Callable[[], T], *, seconds: float) -> T:
        """Return the result of ``act``, a call that may stay unanswered: it is abandoned when running work must end.

        Raise Interrupted, and Overdue after ``seconds``.
        """
        wake = threading.Event()
        forget = self.listen(lambda level: wake.set() if level >= StopLevel.END else None)
        try:
            return bounded(act, seconds=seconds, wake=wake)
        except Overdue:
            self.check()
            raise
        finally:
            forget()

    def hold(self, latch: Latch, *, grace: float) -> bool:
        """Wait for a latch, and for ``grace`` seconds more at most once running work has to end; return if it came."""
        forget = self.listen(lambda _level: latch.wake())
        try:
            if latch.wait_or(lambda: self._level >= StopLevel.END, None):
                return True
            return latch.wait_or(lambda: self._level >= StopLevel.ABANDON, grace)
        finally:
            forget()

    def check(self) -> None:
        """Raise Interrupted if running work has to end."""
        if self._level >= StopLevel.END:
            raise Interrupted(self.reason)
