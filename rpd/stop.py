"""Stopping: how far a run is asked to end, and who must be told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import IntEnum

from rpd.errors import Interrupted

INTERRUPTED = "interrupted by "
"""How the reason begins where a signal is the reason."""


class StopLevel(IntEnum):
    """What a run still does; a level is never lowered."""

    NONE = 0
    DRAIN = 1
    """Start nothing new; what runs may finish."""
    END = 2
    """End running commands (SIGTERM, grace, SIGKILL), pull, verify, release."""
    ABANDON = 3
    """Release every pod now, unpulled."""


class Stop:
    """The level a run has come to, with the reason. Thread-safe; listeners run on the thread that raises the level."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._level = StopLevel.NONE
        self._ending = threading.Event()
        self._listeners: dict[int, Callable[[StopLevel], None]] = {}
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
            listeners = list(self._listeners.values())
        if level >= StopLevel.END:
            self._ending.set()
        for listener in listeners:
            listener(level)

    def listen(self, listener: Callable[[StopLevel], None]) -> Callable[[], None]:
        """Call ``listener`` at every later change of level; return a function that ends this."""
        with self._lock:
            self._listeners[id(listener)] = listener
        return lambda: self._forget(listener)

    def _forget(self, listener: Callable[[StopLevel], None]) -> None:
        with self._lock:
            self._listeners.pop(id(listener), None)

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds`` or until running work has to end; return whether it has to."""
        return self._ending.wait(seconds)

    def check(self) -> None:
        """Raise Interrupted if running work has to end."""
        if self._level >= StopLevel.END:
            raise Interrupted(self.reason)
