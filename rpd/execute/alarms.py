"""Alarms: functions called at their time, all of them from one thread."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from rpd.threads import guarded


class Alarms:
    """Thread-safe. The thread begins with the first alarm and does not outlive the process.

    ``failed`` hears what an alarm raised.
    """

    def __init__(self, failed: Callable[[Exception], object] = lambda _error: None) -> None:
        self._failed = failed
        self._changed = threading.Condition()
        self._set: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def set(self, at: float, ring: Callable[[], None]) -> Callable[[], None]:
        """Call ``ring`` at ``at`` (monotonic seconds); return a function that takes this back.

        ``ring`` must be short. Should it raise, the other alarms are rung all the same.
        """
        with self._changed:
            number = next(self._numbers)
            heapq.heappush(self._set, (at, number, ring))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="rpd-alarms")
                self._thread.start()
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
                while not self._set or (left := self._set[0][0] - time.monotonic()) > 0:
                    self._changed.wait(left if self._set else None)
                _, _, ring = heapq.heappop(self._set)
            guarded(ring, self._failed)
