"""Limits: when a command of a node has to end, and for whose reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from rpd.errors import BudgetExceeded, CommandTimeout, Interrupted, JobTimeout
from rpd.execute.node.run import NodeRun
from rpd.remote.protocol import Output
from rpd.remote.telemetry import Silence
from rpd.values.duration import format_duration


class Whose(Enum):
    """Who says how long a command may take."""

    COMMAND = auto()
    JOB = auto()
    CAP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
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
        if self.whose is Whose.JOB:
            return JobTimeout(f"the job reached its timeout of {format_duration(self.job_seconds)} {where}")
        return BudgetExceeded(f"the node reached {self.cap} {where}")


def limit_of(run: NodeRun, own: float | None) -> Limit:
    """Return the strictest of a command's own timeout, its job's and the node's cap.

    Raises BudgetExceeded, JobTimeout where no time is left.
    """
    limit = _strictest(run, own)
    limit.check()
    return limit


def overdue(run: NodeRun) -> BudgetExceeded | JobTimeout:
    """Return what is wrong with a job that has reached its time in something that has no limit of its own."""
    return _strictest(run, None).reached("before it had ended")


def _strictest(run: NodeRun, own: float | None) -> Limit:
    now = time.monotonic()
    limits = [(own, Whose.COMMAND)] if own is not None else []
    if run.timeout_at is not None:
        limits.append((run.timeout_at - now, Whose.JOB))
    if run.deadline is not None:
        limits.append((run.deadline - now, Whose.CAP))
    if not limits:
        return Limit()
    seconds, whose = min(limits, key=lambda held: held[0])
    return Limit(seconds=seconds, whose=whose, job_seconds=run.timeouts.job or 0.0, cap=run.cap)


LONGEST_LINE = 300
"""Characters of a line of a diagnosis that are shown: command lines can be very long."""


@contextmanager
def listened_for_life(run: NodeRun) -> Iterator[Output]:
    """Watch a command for signs of life, if its job wants that; yields who takes its output.

    Where there was none, what was found out is kept in a file of its own: the log ends with the job's words. Raises
    JobTimeout.
    """
    if run.timeouts.silent is None or run.files is None:
        yield run.output
        return
    silence = run.silence = Silence(run.timeouts.silent)

    def hear(data: bytes) -> None:
        silence.output()
        run.output(data)

    try:
        yield hear
    except Interrupted:
        silence.over()
        if silence.diagnosis is None:
            raise
    finally:
        silence.over()
        run.silence = None
    if silence.diagnosis is not None:
        where = run.keep_diagnosis(_legible(silence.diagnosis, run.mask))
        raise JobTimeout(
            f"no output and idle GPUs for {format_duration(silence.seconds)}: the command was ended "
            f"(what ran on the pod then: {where})"
        )


def _legible(diagnosis: bytes, mask: Callable[[str], str]) -> bytes:
    """Return a diagnosis with its lines cut to what a person reads, and secrets masked while they are whole."""
    lines = mask(diagnosis.decode(errors="replace")).split("\n")
    return "\n".join(line[:LONGEST_LINE] for line in lines).encode()
