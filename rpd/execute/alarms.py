"""Alarms: functions called at their time, all of them from one thread."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from rpd.threads import guarded, started
from rpd.uptime import uptime

LONGEST_WAIT = 30.0
"""An alarm that came due while the machine slept rings within so many seconds after."""


class Alarms:
    """A set of alarms, rung in order of time by one thread. Thread-safe.

    The thread starts with the first alarm and does not outlive the process. ``failed`` is called with
    whatever an alarm raises.
    """

    def __init__(self, failed: Callable[[Exception], object] = lambda _error: None) -> None:
        self._failed = failed
        self._changed = threading.Condition()
        self._set: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def set(self, at: float, ring: Callable[[], None]) -> Callable[[], None]:
        """Call ``ring`` at ``at`` (as ``uptime`` has it); return a function that cancels it.

        ``ring`` must be short: all alarms share one thread. If it raises, the other alarms still ring.
        """
        with self._changed:
            if self._thread is None:
                self._thread = started(self._run, name="rpd-alarms")
            number = next(self._numbers)
            heapq.heappush(self._set, (at, number, ring))
            self._changed.notify()
        return lambda: self._cancel(number)

    def _cancel(self, number: int) -> None:
        with self._changed:
            kept = [alarm for alarm in self._set if alarm[1] != number]
            if len(kept) < len(self._set):
                heapq.heapify(kept)
                self._set = kept

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._set or (left := self._set[0][0] - uptime()) > 0:
                    # A wait stands still while the machine sleeps.
                    self._changed.wait(min(left, LONGEST_WAIT) if self._set else None)
                _, _, ring = heapq.heappop(self._set)
            # Outside the lock: an alarm may set or cancel other alarms.
            guarded(ring, self._failed)
