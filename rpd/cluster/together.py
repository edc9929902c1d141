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
    """Return what each of ``acts`` returns, all called at once; raise what the first of them raises.

    Those that go on then are left to their own end.
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
    """The part of one member in a command: where it runs, what it is, who takes its output and what it measures."""

    remote: Remote
    command: Command
    output: Output
    metrics: Output | None = None
    is_over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Completed:
        """Run it to its end. Raises what ``Remote.run`` does."""
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
    """How a command ended on all members: by rank, None where it was ended because of the ``first`` that failed.

    ``first`` is the rank that failed before all others, None where none did; ``error`` is what it raised, if it did.
    """

    completed: tuple[Completed | None, ...]
    first: int | None = None
    error: BaseException | None = None


def run_together(parts: Sequence[Part], *, end_others: bool = True) -> Ended:
    """Run all ``parts``; as soon as one fails, end the others. Returns when none runs any more.

    With ``end_others=False`` they go on after an exit code other than 0; an error (a lost pod) ends them all the same.
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
            # What was ended because of the first has no word of its own; a lost member has the last one.
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
