"""Deadlines of a job: its timeout, its longest runtime, its money, and when a command has to end because of them.

All moments are on the monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import Enum, auto

from rpd.errors import BudgetExceeded, CommandTimeout, Interrupted, JobTimeout
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from rpd.remote.telemetry import Silence
from rpd.stop import Stop
from rpd.values.duration import format_duration, parse_duration
from rpd.values.frozen import frozen
from rpd.values.node import Node


@frozen
class Timeouts:
    """How long a job may take, and how long a command of it may show no sign of life, in seconds; None: for ever."""

    job: float | None = None
    silent: float | None = None

    @classmethod
    def of(cls, node: Node) -> Timeouts:
        """Return what the ``timeout`` marks of a node say; of each value the nearest mark counts."""
        limits: dict[str, float] = {}
        for mark in node.marks_named("timeout"):
            values = {"job": mark.args[0], **mark.kwargs} if mark.args else mark.kwargs
            limits = {**{name: parse_duration(value) for name, value in values.items()}, **limits}
        return cls(**limits) if limits else NO_TIMEOUTS


NO_TIMEOUTS = Timeouts()


@dataclass(slots=True, kw_only=True)
class Deadlines:
    """When one job has to end, and the clock that ends it."""

    timeouts: Timeouts = NO_TIMEOUTS
    timeout_at: float | None = None
    """When the job has taken as long as its mark allows."""
    runtime_at: float | None = None
    """When the job has taken its ``max_runtime``."""
    money_at: float | None = None
    """When the pods the node has will have cost what it may cost."""
    caps: Mapping[str, str] = field(default_factory=dict)
    """In words: what the job reaches at ``runtime_at`` (``runtime``) and at ``money_at`` (``money``)."""
    clock: JobClock | None = None
    """Ends the job when its time is up; None while no job runs, or none that has to end."""
    silence: Silence | None = None
    """Watches the command that runs now, if the job wants that."""
    recalled_seconds: float = 0.0
    """What the recalled steps took when they were done, and one that is resumed had taken."""

    @property
    def deadline(self) -> float | None:
        """When the node reaches its cap of time or money."""
        return min((at for at in (self.runtime_at, self.money_at) if at is not None), default=None)

    @property
    def cap(self) -> str:
        """Which cap that is, and of how much."""
        is_time = self.runtime_at is not None and self.runtime_at == self.deadline
        return self.caps.get("runtime" if is_time else "money", "its cap")

    @property
    def ends_at(self) -> float | None:
        """When the job has to end, for whatever reason."""
        return min((at for at in (self.timeout_at, self.deadline) if at is not None), default=None)

    def spend(self, seconds: float) -> None:
        """Count what an earlier process took for a step as time of this job."""
        self.recalled_seconds += seconds
        if self.timeout_at is not None:
            self.timeout_at -= seconds
        if self.runtime_at is not None:
            self.runtime_at -= seconds
        if self.clock is not None and self.ends_at is not None:
            self.clock.move(self.ends_at)

    def shielded(self) -> AbstractContextManager[None]:
        """Return a context in which no limit of time ends what is done."""
        return nullcontext() if self.clock is None else self.clock.shielded()

    def timed(self, end: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Return the context of a step that ``end`` ends when the job has to; it raises BudgetExceeded, JobTimeout."""
        return nullcontext() if self.clock is None else self.clock.step(end)

    @contextmanager
    def stoppable(self, stop: Stop) -> Iterator[None]:
        """End the block, which is code of a fixture, when the run has to end. Raises Interrupted."""
        if self.clock is not None:
            yield
            return
        self.clock = JobClock(lambda: Interrupted(stop.reason))
        try:
            with self.clock.heeding(stop, Alarms(), None):
                yield
        finally:
            self.clock = None


# --- what a command may take ------------------------------------------------------------------------------------------


class Whose(Enum):
    """Who says how long a command may take."""

    COMMAND = auto()
    JOB = auto()
    CAP = auto()


@frozen
class Limit:
    """How long a command may take (s; None: for ever), and who says so. ``job_seconds`` is the timeout of its job."""

    seconds: float | None = None
    whose: Whose = Whose.COMMAND
    job_seconds: float = 0.0
    cap: str = ""
    """Which cap of the node it is, in words."""

    @contextmanager
    def telling(self, doing: str) -> Iterator[None]:
        """Let a CommandTimeout tell who set the limit. Raises BudgetExceeded, JobTimeout, CommandTimeout."""
        try:
            yield
        except CommandTimeout as error:
            if self.whose is Whose.COMMAND:
                raise
            raise self.reached(f"after {error.seconds:.0f} s in: {doing}") from error

    def check(self) -> None:
        """Raise BudgetExceeded or JobTimeout if no time is left."""
        if self.seconds is not None and self.seconds <= 0:
            raise self.reached("before its next command")

    def reached(self, where: str) -> BudgetExceeded | JobTimeout:
        """Return the error that says which limit was reached, and where."""
        if self.whose is Whose.JOB:
            return JobTimeout(f"the job reached its timeout of {format_duration(self.job_seconds)} {where}")
        return BudgetExceeded(f"the node reached {self.cap} {where}")


def limit_of(deadlines: Deadlines, own: float | None, *, spare: float = 0.0) -> Limit:
    """Return the strictest of a command's own timeout, its job's and the node's cap.

    Of the cap, ``spare`` seconds are left for the command to save its progress. Raises BudgetExceeded, JobTimeout
    where no time is left.
    """
    limit = _strictest(deadlines, own, spare)
    limit.check()
    return limit


def overdue(deadlines: Deadlines) -> BudgetExceeded | JobTimeout:
    """Return what is wrong with a job that has reached its time in something that has no limit of its own."""
    return _strictest(deadlines, None).reached("before it had ended")


def _strictest(deadlines: Deadlines, own: float | None, spare: float = 0.0) -> Limit:
    now = time.monotonic()
    limits = [(own, Whose.COMMAND)] if own is not None else []
    if deadlines.timeout_at is not None:
        limits.append((deadlines.timeout_at - now, Whose.JOB))
    if deadlines.deadline is not None:
        limits.append((deadlines.deadline - now - spare, Whose.CAP))
    if not limits:
        return Limit()
    seconds, whose = min(limits, key=lambda limit: limit[0])
    cap = f"{deadlines.cap}, less {format_duration(spare)} to save its progress," if spare else deadlines.cap
    return Limit(seconds=seconds, whose=whose, job_seconds=deadlines.timeouts.job or 0.0, cap=cap)
