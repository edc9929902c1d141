"""Slots: the threads that carry out lanes, or in a dry run the one thread there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rpd.errors import Interrupted
from rpd.stop import Stop, StopLevel
from rpd.threads import thread

JOIN_SECONDS = 0.2
"""How often the thread that waits wakes while slots work, so that Python can run its signal handlers."""


class Slots:
    """Runs tasks side by side, each on a thread; raises Interrupted when a stop does not wait for them."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._threads: list[threading.Thread] = []

    def most(self, wanted: int) -> int:
        """Return how many of ``wanted`` tasks work at once."""
        return wanted

    def run(self, *tasks: Callable[[], None]) -> None:
        """Return when all tasks are done. Raises Interrupted."""
        # Daemons, so that a second Ctrl-C can leave without waiting for a job function that hangs in the driver.
        threads = [thread(task, name=f"rpd-slot-{number}") for number, task in enumerate(tasks)]
        self._threads += threads
        for each in threads:
            each.start()
        for each in threads:
            while each.is_alive():
                each.join(JOIN_SECONDS)
                if self._stop.level >= StopLevel.ABANDON:
                    raise Interrupted(self._stop.reason)

    def join(self, deadline: float) -> None:
        """Wait for the threads until ``deadline`` (monotonic)."""
        for each in self._threads:
            each.join(max(0.0, deadline - time.monotonic()))


class OneSlot(Slots):
    """Runs tasks one after the other, on the thread that asks: nothing in a dry run takes time."""

    def most(self, wanted: int) -> int:  # noqa: ARG002
        return 1

    def run(self, *tasks: Callable[[], None]) -> None:
        for task in tasks:
            task()
