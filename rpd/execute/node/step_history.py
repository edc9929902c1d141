"""The steps of a node: recorded as they run, and replayed if an earlier process already ran them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rpd.errors import UsageError
from rpd.events import Events
from rpd.execute.deadlines import Deadlines
from rpd.execute.node.log import NodeLog
from rpd.execute.node.series import NodeSeries
from rpd.journal.journal import Journal
from rpd.redaction import Redactor
from rpd.uptime import uptime
from rpd.values.frozen import EMPTY, frozen, replace
from rpd.values.mutable import mutable
from rpd.values.node import Node
from rpd.values.step import Step, StepKind, StepMark

if TYPE_CHECKING:
    from rpd.journal.replay import PastStep  # a run that continues none has no past

T = TypeVar("T")

_BEFORE, _AFTER = 40, 120
"""Characters shown of a command that changed: before the first one that differs, and from there on."""


@frozen
class StepRequest(Generic[T]):
    """A step as a job requests it. ``about`` is whatever distinguishes it beyond kind and command.

    ``keep`` turns its answer into JSON for the journal and ``recall`` turns that back; ``salvaged`` gives the
    answer when a failed job is called again only for its pulls.
    """

    kind: StepKind
    name: str
    command: str
    salvaged: Callable[[], T]
    keep: Callable[[T], Mapping[str, Any]]
    recall: Callable[[Mapping[str, Any]], T]
    about: object = None
    detail: Mapping[str, Any] = EMPTY
    """Further fields for the journal, so that ``rpd ssh`` can open a shell in the same directory and environment."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal steps, also across processes."""
        import hashlib

        return hashlib.sha256(repr((str(self.kind), self.command, self.about)).encode()).hexdigest()[:16]

    def can_recall(self, result: Mapping[str, Any]) -> bool:
        """Return whether the answer can be rebuilt from the journal."""
        try:
            self.recall(result)
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        return True


class StepsChanged(UsageError):
    """A resumed job takes other steps than it took before."""


MOST_MARKS = 1000
"""Most marks kept per node: a pod must not be able to fill the journal."""


@mutable
class StepEnd:
    """The end of a step: its exit code, if it has one, and a function that makes its answer JSON for the journal.

    ``seconds`` is its duration, if that is known better than by watching it.
    """

    exit_code: int | None = None
    seconds: float | None = None
    result: Callable[[], Mapping[str, Any]] | None = None


class StepHistory:
    """The steps of one node.

    Two memories answer steps without taking them: the steps of an earlier process (``remembered``, when a run
    is resumed), and those of this process (``answers``, when a failed job is called again to find its
    remaining pulls).
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
        """Steps that an earlier process finished or began; answered from the journal instead of repeated."""
        self._answers: list[Callable[[], Any]] = []
        """The answer of each step, for a second call of the job."""
        self.salvaging = False
        """Whether the job is called again only to find its remaining pulls."""
        self._replayed = 0
        self._carried = 0.0
        self.marks: list[StepMark] = []
        self._open: Step | None = None
        """The running command."""
        self._marked_at = 0.0
        """When the current mark began (seconds of ``uptime``); 0: there is none."""
        self._heard_before: deque[tuple[str, str]] = deque()
        """Marks of a resumed command that an earlier process saw, each with its time; the log repeats them."""
        self._listen(log)

    def _listen(self, log: NodeLog) -> None:
        """Receive the parts of commands that their output announces."""
        log.hear_mark = self.mark

    # --- steps of an earlier process --------------------------------------------------------------------------------

    def recall(self, request: StepRequest[Any], pod: str) -> Mapping[str, Any] | None:
        """Return the result of the next step in an earlier process, None if it has to be done (again).

        A step done on another pod than ``pod`` has to be repeated, and so does one whose answer cannot be
        rebuilt. Raise StepsChanged if the job does something else now.
        """
        if self.remembered and self.remembered[0].pod != pod:
            self.forget_past()
        if not self.remembered:
            return None
        past = self.remembered.popleft()
        if past.kind != request.kind or past.fingerprint != request.fingerprint:
            self.remembered.clear()
            was, now = _told_apart(
                past.kind, past.command, request.kind, self._redactor.text(request.command)
            )
            raise StepsChanged(
                f"step {past.index + 1} of {self._node.id} changed since the run was interrupted (was {was}, "
                f"now {now}), so it can't be resumed; start a new run"
            )
        if past.result is None or not request.can_recall(past.result):
            self._log.cut(past.log_bytes)
            self._series.cut(past.series_bytes)
            # A command kept running without us; a transfer starts again.
            self._carried = _seconds_since(past.began) if request.kind is StepKind.RUN else 0.0
            self._heard_before = deque(past.marks)
            self._deadlines.spend(self._carried)
            return None
        self._enter(request, exit_code=past.exit_code, seconds=past.seconds)
        self._deadlines.spend(past.seconds)
        self.marks += _past_marks(past)
        return past.result

    def forget_past(self) -> None:
        """Repeat every step: the pod on which they were done is gone."""
        if self.remembered:
            self.remembered.clear()
            self._journal.write("steps_forgotten", sync=True)
            self._log.cut(0)
            self._series.restart()

    # --- steps of this process --------------------------------------------------------------------------------------

    def _enter(self, request: StepRequest[Any], **how: Any) -> Step:
        """Add a step to those taken, with secrets masked."""
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
        """Record one step around its work; the work sets its exit code and result on the yielded StepEnd."""
        end = StepEnd()
        step = self._enter(request)
        # On disk before the work starts: after a kill, a resumed run has to know that the command may be
        # running.
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
        started, self._carried = uptime() - self._carried, 0.0
        self._open = step if step.kind is StepKind.RUN else None
        try:
            yield end
        finally:
            self._end_mark(uptime())
            self._open = None
            self._heard_before.clear()
            seconds = uptime() - started if end.seconds is None else end.seconds
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
        """Note that the running command announces part ``name``; an empty name ends the current part."""
        now, is_known = uptime(), False
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
        """Remember how to answer a step, for a second call of the job."""
        self._answers.append(answer)

    def forget_answers(self) -> None:
        """Drop the answers so far: a second call of the job does not repeat the steps of fixtures."""
        self._answers.clear()

    @property
    def can_replay(self) -> bool:
        """Whether a second call of the job could get past any step."""
        return bool(self._answers)

    def replay(self, otherwise: Callable[[], T]) -> T:
        """Return the answer of the next step in the first call of the job; after the last one, call ``otherwise``."""
        self._replayed += 1
        if self._replayed <= len(self._answers):
            answer: T = self._answers[self._replayed - 1]()
            return answer
        return otherwise()

    @property
    def is_past_failure(self) -> bool:
        """Whether the job is called again and has passed the step that failed."""
        return self.salvaging and self._replayed >= len(self._answers)


class DryStepHistory(StepHistory):
    """The steps of a dry run: each is over as it begins, and the job is called once."""

    def _listen(self, log: NodeLog) -> None:
        pass

    def recall(self, request: StepRequest[Any], pod: str) -> None:
        """Return None: a dry run has no earlier process."""

    @contextmanager
    def step(self, request: StepRequest[Any], pod: str) -> Iterator[StepEnd]:  # noqa: ARG002
        self._enter(request)
        yield StepEnd()

    def keep_answer(self, answer: Callable[[], Any]) -> None:
        pass


def _past_marks(past: PastStep) -> Iterator[StepMark]:
    """Yield the marks of a step that an earlier process finished, with the times from its journal."""
    if not past.marks:
        return
    began = _moment(past.began)
    times = [_moment(at) or began for _, at in past.marks]
    for (name, _), at, until in zip(past.marks, times, [*times[1:], began + past.seconds], strict=True):
        if name:
            yield StepMark(step=past.index, name=name, seconds=max(0.0, round(until - at, 3)))


def _moment(at: str) -> float:
    """Return a moment (UTC, ISO 8601) in seconds since 1970; 0 if it cannot be parsed."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0


def _seconds_since(at: str) -> float:
    """Return the seconds since a moment (UTC, ISO 8601) by this machine's clock; 0 if it is empty."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()) if at else 0.0


def _told_apart(past_kind: str, past: str, kind: str, command: str) -> tuple[str, str]:
    """Return two steps in words, long commands cut to where they differ."""
    if (past_kind, past) == (kind, command):
        return f"{kind}: {_cut(past, 0)}", "the same with other arguments"
    differ = (at for at, pair in enumerate(zip(past, command, strict=False)) if len(set(pair)) > 1)
    same = next(differ, min(len(past), len(command))) if past_kind == kind else 0
    return f"{past_kind}: {_cut(past, same)}", f"{kind}: {_cut(command, same)}"


def _cut(command: str, same: int) -> str:
    start = same - _BEFORE if same > _BEFORE else 0
    end = start + _BEFORE + _AFTER
    return f"{'…' if start else ''}{command[start:end]}{'…' if command[end:] else ''}"
