"""Slots: the threads that run lanes, or the only thread of a dry run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rpd.errors import Interrupted
from rpd.stop import Stop, StopLevel
from rpd.threads import started

JOIN_SECONDS = 0.2
"""Seconds between wake-ups of the waiting main thread, so that Python can run its signal handlers."""


class Slots:
    """Runs tasks in parallel, one thread per task; raises Interrupted when a stop does not wait for them."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._threads: list[threading.Thread] = []

    def most(self, count: int) -> int:
        """Return how many of ``count`` tasks run at once."""
        return count

    def run(self, *tasks: Callable[[], None]) -> None:
        """Run all tasks and return when they are done; raise Interrupted.

        If there are fewer threads than tasks, run as many as there are, at least one: tasks share their work.
        """
        # Daemons, so that a second Ctrl-C can exit without waiting for a job function that hangs in the
        # driver.
        threads: list[threading.Thread] = []
        for number, task in enumerate(tasks):
            try:
                threads.append(started(task, name=f"rpd-slot-{number}"))
            except (
                RuntimeError
            ):  # the system has no thread left for this process: the slots before do the work
                if not threads:
                    task()
                break
        self._threads += threads
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
    """Runs tasks one after the other on the calling thread: nothing in a dry run takes time."""

    def most(self, count: int) -> int:  # noqa: ARG002
        return 1

    def run(self, *tasks: Callable[[], None]) -> None:
        for task in tasks:
            task()
