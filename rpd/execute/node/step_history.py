"""The steps of a node: recorded as they run, and replayed if an earlier process already ran them."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from rpd.errors import UsageError
from rpd.events import Events
from rpd.execute.deadlines import Deadlines
from rpd.execute.node.log import NodeLog
from rpd.execute.node.series import NodeSeries
from rpd.journal.journal import Journal
from rpd.journal.replay import PastStep
from rpd.redaction import Redactor
from rpd.values.node import Node
from rpd.values.step import Step, StepKind, StepMark

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest(Generic[T]):
    """A step as a job asks for it. ``about`` is what else tells it from another.

    ``keep`` turns its answer into what the journal holds, ``recall`` turns that back; ``salvaged`` answers in its place
    where a failed job is only called again for its pulls.
    """

    kind: StepKind
    name: str
    command: str
    salvaged: Callable[[], T]
    keep: Callable[[T], Mapping[str, Any]]
    recall: Callable[[Mapping[str, Any]], T]
    about: object = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the journal keeps besides: a shell on the pod is to stand where the command stood."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal steps, in another process too."""
        return hashlib.sha256(repr((str(self.kind), self.command, self.about)).encode()).hexdigest()[:16]

    def can_recall(self, result: Mapping[str, Any]) -> bool:
        """Whether the answer can be made of what a journal holds of it."""
        try:
            self.recall(result)
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        return True


class StepsChanged(UsageError):
    """A job that is resumed takes other steps than it took before."""


MOST_MARKS = 1000
"""A pod is not trusted with the journal of this machine."""


@dataclass(slots=True)
class StepEnd:
    """How a step ended: its exit code if it has one, and what makes its answer JSON for the journal.

    ``seconds`` is how long it took, where that is known better than by watching it.
    """

    exit_code: int | None = None
    seconds: float | None = None
    result: Callable[[], Mapping[str, Any]] | None = None


class StepHistory:
    """The steps of one node.

    Two memories answer steps without taking them: what an earlier process did (``remembered``, when a run is resumed),
    and what this process did (``answers``, when a failed job is called again to learn what it would still have pulled).
    """

    def __init__(
        self,
        node: Node,
        journal: Journal,
        events: Events,
        log: NodeLog,
        series: NodeSeries,
        deadlines: Deadlines,
        redactor: Redactor,
    ) -> None:
        self._node = node
        self._journal = journal
        self._events = events
        self._log = log
        self._series = series
        self._deadlines = deadlines
        self._redactor = redactor
        self.taken: list[Step] = []
        self.remembered: deque[PastStep] = deque()
        """Steps an earlier process did or began; answered from the journal instead of done again."""
        self._answers: list[Callable[[], Any]] = []
        """The answer of each step, so that a second call of the job gets the same ones."""
        self.salvaging = False
        """Whether the job is only called again to learn which pulls were still to come."""
        self._replayed = 0
        self._carried = 0.0
        self.marks: list[StepMark] = []
        self._open: Step | None = None
        """The command that runs now."""
        self._marked_at = 0.0
        """Since when the last mark holds; 0: none does."""
        self._heard_before: deque[tuple[str, str]] = deque()
        """Marks of a command that goes on which an earlier process heard, each with when; the log tells them again."""
        self._listen(log)

    def _listen(self, log: NodeLog) -> None:
        """Hear of the parts of commands that their output announces."""
        log.hear_mark = self.mark

    # --- steps of an earlier process --------------------------------------------------------------------------------

    def recall(self, request: StepRequest[Any], pod: str) -> Mapping[str, Any] | None:
        """Return the result the next step had in an earlier process, None if it has to be done (again).

        What was done on another pod than ``pod`` has to be, and what left a result of which no answer can be made.
        Raises StepsChanged if the job does something else now.
        """
        if self.remembered and self.remembered[0].pod != pod:
            self.forget_past()
        if not self.remembered:
            return None
        past = self.remembered.popleft()
        if past.kind != request.kind or past.fingerprint != request.fingerprint:
            self.remembered.clear()
            raise StepsChanged(
                f"step {past.index + 1} of {self._node.id} changed since the run was interrupted (was {past.kind}, now "
                f"{request.kind}: {self._redactor.text(request.command)}), so it can't be resumed; start a new run"
            )
        if past.result is None or not request.can_recall(past.result):
            self._log.cut(past.log_bytes)
            self._series.cut(past.series_bytes)
            # A command went on without us; what is sent or fetched begins anew.
            self._carried = _seconds_since(past.began) if request.kind is StepKind.RUN else 0.0
            self._heard_before = deque(past.marks)
            self._deadlines.spend(self._carried)
            return None
        self._enter(request, exit_code=past.exit_code, seconds=past.seconds)
        self._deadlines.spend(past.seconds)
        self.marks += _past_marks(past)
        return past.result

    def forget_past(self) -> None:
        """Do every step anew: the pod on which they were done is gone."""
        if self.remembered:
            self.remembered.clear()
            self._journal.write("steps_forgotten", sync=True)
            self._log.cut(0)
            self._series.restart()

    # --- steps of this process --------------------------------------------------------------------------------------

    def _enter(self, request: StepRequest[Any], **how: Any) -> Step:
        """Add a step to those that were taken, with secrets masked."""
        step = Step(
            index=len(self.taken),
            kind=request.kind,
            name=self._redactor.text(request.name),
            command=self._redactor.text(request.command),
            **how,
        )
        self.taken.append(step)
        return step

    @contextmanager
    def step(self, request: StepRequest[Any], pod: str) -> Iterator[StepEnd]:
        """Record one step around its work; the work notes its exit code and result on what is yielded."""
        end = StepEnd()
        step = self._enter(request)
        self._journal.write(
            "step_started",
            sync=True,
            index=step.index,
            kind=step.kind,
            command=step.command,
            fingerprint=request.fingerprint,
            pod=pod,
            **request.detail,
            log_bytes=self._log.size,
            series_bytes=self._series.size,
        )
        self._events.step_started(node=self._node, step=step)
        started, self._carried = time.monotonic() - self._carried, 0.0
        self._open = step if step.kind is StepKind.RUN else None
        try:
            yield end
        finally:
            self._end_mark(time.monotonic())
            self._open = None
            self._heard_before.clear()
            seconds = time.monotonic() - started if end.seconds is None else end.seconds
            step = replace(step, seconds=round(seconds, 3), exit_code=end.exit_code)
            self.taken[step.index] = step
            self._journal.write(
                "step_finished",
                sync=True,
                index=step.index,
                exit_code=step.exit_code,
                seconds=step.seconds,
                result=end.result() if end.result else None,
            )
            self._events.step_finished(node=self._node, step=step)

    # --- parts of a step ----------------------------------------------------------------------------------------------

    def mark(self, name: str) -> None:
        """Note that the running command says it begins ``name`` now, or that it is over with that (empty)."""
        now, is_known = time.monotonic(), False
        if self._heard_before and self._heard_before[0][0] == name:
            now, is_known = now - _seconds_since(self._heard_before.popleft()[1]), True
        self._end_mark(now)
        if self._open is None or len(self.marks) >= MOST_MARKS:
            return
        if not is_known:
            self._journal.write("step_mark", index=self._open.index, name=name)
        self._events.step_mark(node=self._node, name=name)
        if name:
            self.marks.append(StepMark(step=self._open.index, name=name))
            self._marked_at = now

    def _end_mark(self, now: float) -> None:
        if self._marked_at:
            seconds = max(0.0, round(now - self._marked_at, 3))
            self.marks[-1] = replace(self.marks[-1], seconds=seconds)
            self._marked_at = 0.0

    # --- a second call of the job -----------------------------------------------------------------------------------

    def keep_answer(self, answer: Callable[[], Any]) -> None:
        """Remember what makes the answer of a step, so that a second call of the job gets the same one."""
        self._answers.append(answer)

    def forget_answers(self) -> None:
        """Begin anew: what fixtures did is not done again by a second call of the job."""
        self._answers.clear()

    @property
    def can_replay(self) -> bool:
        """Whether there is anything that a second call of the job could go past."""
        return bool(self._answers)

    def replay(self, otherwise: Callable[[], T]) -> T:
        """Return the answer the next step got in the first call of the job, past the last one ``otherwise()``."""
        self._replayed += 1
        if self._replayed <= len(self._answers):
            answer: T = self._answers[self._replayed - 1]()
            return answer
        return otherwise()

    @property
    def is_past_failure(self) -> bool:
        """Whether the job is called again and has come past the step that failed."""
        return self.salvaging and self._replayed >= len(self._answers)


class DryStepHistory(StepHistory):
    """The steps of a dry run: each is over as it begins, and the job is called once."""

    def _listen(self, log: NodeLog) -> None:
        pass

    def recall(self, request: StepRequest[Any], pod: str) -> None:
        """Know no earlier process."""

    @contextmanager
    def step(self, request: StepRequest[Any], pod: str) -> Iterator[StepEnd]:  # noqa: ARG002
        self._enter(request)
        yield StepEnd()

    def keep_answer(self, answer: Callable[[], Any]) -> None:
        pass


def _past_marks(past: PastStep) -> Iterator[StepMark]:
    """Yield the marks of a step that an earlier process finished, by the times in its journal."""
    if not past.marks:
        return
    began = _moment(past.began)
    times = [_moment(at) or began for _, at in past.marks]
    for (name, _), at, until in zip(past.marks, times, [*times[1:], began + past.seconds], strict=True):
        if name:
            yield StepMark(step=past.index, name=name, seconds=max(0.0, round(until - at, 3)))


def _moment(at: str) -> float:
    """Return a moment (UTC, ISO 8601) in seconds since 1970; 0 for what is none."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0


def _seconds_since(at: str) -> float:
    """Return the seconds that passed since a moment (UTC, ISO 8601) by this machine's clock; 0 if it is not known."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()) if at else 0.0
