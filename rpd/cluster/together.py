"""Acts on all members of a cluster at once, with one thread for each."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from rpd.errors import Interrupted
from rpd.remote.protocol import Command, Output, Remote
from rpd.threads import thread
from rpd.values.frozen import frozen
from rpd.values.step import Completed

T = TypeVar("T")
Outcome = tuple[int, object]


def side_by_side(acts: Sequence[Callable[[], T]], *, name: str) -> list[T]:
    """Call all of ``acts`` at once and return their results; raise the first exception.

    The other calls then run to their own end.
    """
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    _start(acts, outcomes, name)
    results: dict[int, T] = {}
    while len(results) < len(acts):
        place, outcome = outcomes.get()
        if isinstance(outcome, BaseException):
            raise outcome
        results[place] = outcome  # type: ignore[assignment]
    return [results[place] for place in range(len(acts))]


def _start(acts: Sequence[Callable[[], object]], outcomes: queue.SimpleQueue[Outcome], name: str) -> None:
    def call(place: int, act: Callable[[], object]) -> None:
        try:
            outcome: object = act()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            outcome = error
        outcomes.put((place, outcome))

    for place, act in enumerate(acts):
        thread(partial(call, place, act), name=f"{name}-{place}").start()


@dataclass(slots=True)
class Part:
    """The part of one member in a command: connection, command, and the receivers of output and metrics."""

    remote: Remote
    command: Command
    output: Output
    metrics: Output | None = None
    is_over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Completed:
        """Run it to its end. Raise the errors of ``Remote.run``."""
        try:
            return self.remote.run(self.command, self.output, self.metrics)
        finally:
            with self.lock:
                self.is_over = True
                self.remote.forget_interrupt()  # one that came when its command had ended just then

    def interrupt(self) -> None:
        """End it, unless it is over."""
        with self.lock:
            if not self.is_over:
                self.remote.interrupt()


@frozen
class Ended:
    """The end of a command on all members: results by rank, None if it was ended because the ``first`` failed.

    ``first`` is the rank that failed before all others, None if none did; ``error`` is the exception it
    raised, if any.
    """

    completed: tuple[Completed | None, ...]
    first: int | None = None
    error: BaseException | None = None


def run_together(parts: Sequence[Part], *, end_others: bool = True) -> Ended:
    """Run all ``parts``; as soon as one fails, end the others. Return when all have ended.

    With ``end_others=False`` they continue after an exit code other than 0; an error (a lost pod) still ends
    them.
    """
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    _start([part.run for part in parts], outcomes, "rpd-rank")
    completed: list[Completed | None] = [None] * len(parts)
    first: int | None = None
    error: BaseException | None = None
    for _ in parts:
        place, outcome = outcomes.get()
        if isinstance(outcome, Completed):
            completed[place] = outcome
        failed = outcome if isinstance(outcome, BaseException) else None
        if first is not None or (isinstance(outcome, Completed) and outcome.ok):
            # Errors of commands ended because of the first do not count, except for a lost member.
            if failed is not None and not isinstance(failed, Interrupted) and error is None:
                error = failed
                for part in parts:
                    part.interrupt()
            continue
        first, error = place, failed
        if end_others or failed is not None:
            for part in parts:
                part.interrupt()
    return Ended(completed=tuple(completed), first=first, error=error)
