"""Deadlines of a job: its timeout, its longest runtime, its budget, and the limits they put on commands.

All moments are seconds of ``uptime``, which goes on while this machine sleeps: the pod does, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum, auto

from rpd.errors import BudgetExceeded, CommandTimeout, Interrupted, JobTimeout
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from rpd.remote.telemetry import Silence
from rpd.stop import Stop, StopLevel
from rpd.uptime import uptime
from rpd.values.duration import format_duration, parse_duration
from rpd.values.frozen import frozen
from rpd.values.mutable import fresh, mutable
from rpd.values.node import Node

TEARDOWN_SECONDS = 60.0
"""How long the teardown of a fixture may go on once the run has to end: it may save something."""


@frozen
class Timeouts:
    """Seconds that a job may take, and that a command may show no sign of life; None: no limit."""

    job: float | None = None
    silent: float | None = None

    @classmethod
    def of(cls, node: Node) -> Timeouts:
        """Return the limits of the node's ``timeout`` marks; for each value the nearest mark wins."""
        limits: dict[str, float] = {}
        for mark in node.marks_named("timeout"):
            values = {"job": mark.args[0], **mark.kwargs} if mark.args else mark.kwargs
            limits = {**{name: parse_duration(value) for name, value in values.items()}, **limits}
        return cls(**limits) if limits else NO_TIMEOUTS


NO_TIMEOUTS = Timeouts()


@mutable
class Deadlines:
    """The moments at which one job has to end, and the clock that ends it."""

    timeouts: Timeouts = NO_TIMEOUTS
    timeout_at: float | None = None
    """When the timeout of its mark is reached."""
    runtime_at: float | None = None
    """When its ``max_runtime`` is reached."""
    money_at: float | None = None
    """When the pods it holds will have used up its budget."""
    caps: Mapping[str, str] = fresh(factory=dict)
    """The cap reached at ``runtime_at`` (key ``runtime``) and at ``money_at`` (key ``money``), in words."""
    clock: JobClock | None = None
    """Ends the job when its time is up; None while no job runs, or if it has no limit."""
    silence: Silence | None = None
    """Watches the running command for signs of life, if the job asks for that."""
    recalled_seconds: float = 0.0
    """Seconds that recalled steps took in an earlier process, including the elapsed part of a resumed step."""

    @property
    def deadline(self) -> float | None:
        """When the node reaches its cap of time or money, whichever comes first."""
        return min((at for at in (self.runtime_at, self.money_at) if at is not None), default=None)

    @property
    def cap(self) -> str:
        """The cap that is reached first, in words."""
        is_time = self.runtime_at is not None and self.runtime_at == self.deadline
        return self.caps.get("runtime" if is_time else "money", "its cap")

    @property
    def ends_at(self) -> float | None:
        """When the job has to end, for any reason."""
        return min((at for at in (self.timeout_at, self.deadline) if at is not None), default=None)

    def spend(self, seconds: float) -> None:
        """Charge ``seconds`` that an earlier process spent on a step to this job's limits."""
        self.recalled_seconds += seconds
        if self.timeout_at is not None:
            self.timeout_at -= seconds
        if self.runtime_at is not None:
            self.runtime_at -= seconds
        if self.clock is not None and self.ends_at is not None:
            self.clock.move(self.ends_at)

    def check(self) -> None:
        """Raise the error that ends the job if its time is up."""
        if self.clock is not None:
            self.clock.check()

    def shielded(self) -> AbstractContextManager[None]:
        """Return a context in which no deadline ends the work."""
        return nullcontext() if self.clock is None else self.clock.shielded()

    def timed(self, end: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Return the context of a step that ``end`` interrupts at the deadline.

        It raises BudgetExceeded or JobTimeout then.
        """
        return nullcontext() if self.clock is None else self.clock.step(end)

    @contextmanager
    def stoppable(self, stop: Stop) -> Iterator[None]:
        """Interrupt the block, which runs code of a fixture, when the run has to end. Raise Interrupted then."""
        if self.clock is not None:
            yield
            return
        self.clock = JobClock(lambda: Interrupted(stop.reason))
        try:
            with self.clock.heeding(stop, Alarms(), None):
                yield
        finally:
            self.clock = None

    @contextmanager
    def unwinding(self, stop: Stop, name: str, stuck: Callable[[], None]) -> Iterator[None]:
        """End the block, the teardown of the fixture ``name``, a while after the run has to end. Raise Interrupted.

        ``stuck`` is called where it does not return then.
        """
        if self.clock is not None:
            yield
            return
        wait = format_duration(TEARDOWN_SECONDS)
        clock = JobClock(
            lambda: Interrupted(f"the teardown of {name} went on for {wait} after the stop"), stuck
        )

        def hurry(level: StopLevel) -> None:
            if level >= StopLevel.END:
                clock.move(uptime() + TEARDOWN_SECONDS)

        self.clock = clock
        try:
            with clock.running(Alarms(), None):
                forget = stop.listen(hurry)
                try:
                    yield
                finally:
                    forget()
        finally:
            self.clock = None


# --- limits of commands ---------------------------------------------------------------------------------------------


class Whose(Enum):
    """The owner of a command's time limit."""

    COMMAND = auto()
    JOB = auto()
    CAP = auto()


@frozen
class Limit:
    """The time limit of a command in seconds (None: no limit), and its owner.

    ``job_seconds`` is the timeout of the command's job.
    """

    seconds: float | None = None
    whose: Whose = Whose.COMMAND
    job_seconds: float = 0.0
    cap: str = ""
    """The cap of the node, in words."""

    @contextmanager
    def telling(self, doing: str) -> Iterator[None]:
        """Turn a CommandTimeout into the error of the limit's owner: BudgetExceeded, JobTimeout or CommandTimeout."""
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
        """Return the error that names the limit and the place where it was reached."""
        if self.whose is Whose.JOB:
            return JobTimeout(f"the job exceeded its timeout of {format_duration(self.job_seconds)} {where}")
        return BudgetExceeded(f"the node reached {self.cap} {where}")


def limit_of(deadlines: Deadlines, own: float | None, *, spare: float = 0.0) -> Limit:
    """Return the strictest of the command's own timeout, the timeout of its job and the cap of the node.

    ``spare`` seconds of the cap are kept for the command to save its progress. Raise BudgetExceeded or
    JobTimeout if no time is left.
    """
    limit = _strictest(deadlines, own, spare)
    limit.check()
    return limit


def overdue(deadlines: Deadlines) -> BudgetExceeded | JobTimeout:
    """Return the error of a job that ran out of time in code without a separate limit."""
    return _strictest(deadlines, None).reached("before it ended")


def _strictest(deadlines: Deadlines, own: float | None, spare: float = 0.0) -> Limit:
    now = uptime()
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
