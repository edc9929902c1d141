"""The source of a study: hands out its trials as nodes, and takes their results."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rpd.collect.parametrize import ParamKey
from rpd.errors import Cause, RpdError, UsageError
from rpd.plan import single_lane
from rpd.search.samplers import CheckedSampler
from rpd.search.space import GPU, Values
from rpd.search.study import Study
from rpd.search.trials import State, Trial, ranked
from rpd.values.frozen import replace
from rpd.values.job import Gpu, Job
from rpd.values.node import FixtureParam, Node
from rpd.values.plan import Ahead, Lane, Source
from rpd.values.report import NodeReport, Outcome

_TRIES = 50
"""How often to ask a sampler for values that were not tried yet."""
_AGAIN = (Cause.INFRA, Cause.LOST, Cause.STOCK)
"""Causes that say nothing about a trial's values: it is handed out again with the same ones."""
_MOST_STOCK_OUTS = 3
"""Trials in a row without a pod after which a study proposes no more."""
OWN_METRICS = ("usd", "seconds")
"""Metrics that a study may optimize although no job records them."""


@dataclass(eq=False)
class Handed:
    """A trial that was handed out: its number, values and node; ``confirms`` if it runs on the expensive GPU."""

    number: int
    values: Values
    node: Node
    confirms: bool = False
    tries: int = 1


class StudySource(Source):
    """One study. Its template is the collected node; each trial is a copy of that.

    ``tell`` shows a sentence to the user. ``curve_of`` reads the points of a finished node.
    """

    def __init__(
        self,
        template: Node,
        study: Study,
        *,
        tell: Callable[[str], object],
        curve_of: Callable[[NodeReport], Sequence[tuple[float, float]]],
        earlier: Sequence[Trial] = (),
        is_dry: bool = False,
    ) -> None:
        """Start after the ``earlier`` trials of another run. Raise UsageError for an unknown sampler.

        ``is_dry``: nothing is measured.
        """
        self._is_dry = is_dry
        self.template = template
        self.study = study
        self._tell = tell
        self._curve_of = curve_of
        self._lock = threading.Lock()
        self.earlier = tuple(earlier)
        self._base = max((trial.number for trial in earlier), default=0)
        self.trials: list[Trial] = []
        """Finished trials, without ``earlier`` ones and without confirmations."""
        self.confirmed: list[Trial] = []
        self.handed: dict[str, Handed] = {}
        """Every trial of this run, by the id of its node."""
        self._running: set[str] = set()
        self._waiting: list[Handed] = []
        """Trials to hand out (again) before new ones are proposed."""
        self._asked = 0
        """The number of trials proposed in this run."""
        self._to_confirm: list[Trial] | None = None
        """Trials still to be confirmed; None until all others are over."""
        self._stock_outs = 0
        self._ended = ""
        """Why no more trials are proposed; empty if more may be."""
        self._error: RpdError | None = None
        self._seen: set[str] = set()
        self._jobs: dict[tuple[int, Gpu], tuple[Job, Job]] = {}
        self._is_shared = bool(single_lane(template).shares)
        """Whether all trials use one pod."""
        self._needed = set(getattr(template, "needs", ()))
        """Ids of nodes that must end before the first trial starts."""
        self._pruner = study.prune.start(study.objective) if study.prune else None
        self._sampler = self._made_sampler(len(earlier))
        for trial in earlier:
            self._seen.add(self._key(trial.values))
            self._sampler.tell(trial)
        self._screening = Ahead(nodes=tuple(self._kinds(template)), most=study.trials)
        self._confirming = Ahead(
            nodes=(self._confirming_node(template),) if study.confirm else (),
            most=study.top if study.confirm else 0,
            is_set_aside=True,
        )
        self._cover()

    def _made_sampler(self, seed_offset: int) -> CheckedSampler:
        return CheckedSampler(self.study.make_sampler(seed_offset), self.study.space, self.template.id)

    def _cover(self) -> None:
        self.ahead = tuple(ahead for ahead in (self._screening, self._confirming) if ahead.most)

    # --- an earlier process -------------------------------------------------------------------------------------------

    def restore(self, added: Sequence[Mapping[str, Any]], reports: Mapping[str, NodeReport]) -> None:
        """Restore the trials of a resumed run: tell the sampler the finished ones, hand out the rest again.

        Raise UsageError if the space has changed.
        """
        self._needed -= reports.keys()
        over = []
        for line in added:
            handed = self.handed_before(line)
            self.handed[handed.node.id] = handed
            if not handed.confirms:
                self._asked = max(self._asked, handed.number - self._base)
                self._seen.add(self._key(handed.values))
            report = reports.get(handed.node.id)
            if report is None:
                self._waiting.append(handed)
            else:
                over.append((report, handed))
        # The random state must be as far along as in the earlier process, or the sampler would repeat its
        # proposals.
        self._sampler = self._made_sampler(len(self.earlier) + len(self.handed))
        for trial in self.earlier:
            self._sampler.tell(trial)
        # In the order in which they ended: the sampler and the pruning rule depend on it.
        for report, handed in sorted(over, key=lambda pair: pair[0].result.finished):
            self._over(handed, report, is_past=True)
        confirms = sum(handed.confirms for _, handed in over)
        self._screening = replace(self._screening, most=self._screening.most - (len(over) - confirms))
        self._confirming = replace(self._confirming, most=max(0, self._confirming.most - confirms))
        self._cover()

    def take_up(self, lines: Sequence[Mapping[str, Any]], reports: Mapping[str, NodeReport]) -> None:
        """Hand out trials of an earlier run again, except those that this run has finished, and propose no others.

        The study consists of these trials. Raise UsageError if the space has changed.
        """
        self.restore(lines, reports)
        self._to_confirm = []
        self.is_part = True

    def handed_before(self, line: Mapping[str, Any]) -> Handed:
        """Return the trial of a journal line. Raise UsageError if the space has changed."""
        try:
            values = self.study.space.decode(line["values"])
            number, tries, confirms = (
                int(line["trial"]),
                int(line.get("tries", 1)),
                line.get("confirms") is True,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{line['id']} can't be resumed: its study has a different space now ({error}). Undo the change, or "
                "start a new run"
            ) from None
        return Handed(number, values, self._node(number, values, tries, confirms=confirms), confirms, tries)

    # --- for the scheduler ------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return not self._running and not self._waiting and self._error is None and not self._more()

    @property
    def results(self) -> Mapping[str, Sequence[str]]:
        ids = {(handed.number, handed.confirms): node_id for node_id, handed in self.handed.items()}
        if self._is_dry:
            return {self.template.id: tuple(ids.values())}
        best = [
            ids[trial.number, confirms]
            for trials, confirms in ((self.confirmed, True), (self.trials, False))
            for trial in ranked(trials, self.study.objectives)
        ]
        return {self.template.id: best}

    def next(self) -> Lane | None:
        if self._error is not None:
            raise self._error
        if self._needed or (self._running and self._is_shared):
            return None
        handed = self._waiting.pop(0) if self._waiting else self._proposed() or self._confirmation()
        if handed is None:
            if self._error is not None:
                raise self._error
            return None
        self.handed[handed.node.id] = handed
        self._running.add(handed.node.id)
        return single_lane(handed.node)

    def ended(self, node: Node, report: NodeReport) -> None:
        self._needed.discard(node.id)
        if node.id not in self._running:
            return
        self._running.discard(node.id)
        self._over(self.handed[node.id], report)

    def refused(self, node: Node, reason: str) -> bool:
        handed = self.handed.pop(node.id)
        self._running.discard(node.id)
        if handed.confirms:
            return False
        self._end(reason)
        return True

    def ahead_of(self, node: Node) -> Ahead:
        return self._confirming if self.handed[node.id].confirms else self._screening

    def note(self, node: Node) -> Mapping[str, Any]:
        handed = self.handed[node.id]
        return {
            "study": self.template.id,
            "trial": handed.number,
            "values": self.study.space.encode(handed.values),
            **({"confirms": True} if handed.confirms else {}),
            **({"tries": handed.tries} if handed.tries > 1 else {}),
        }

    # --- choice of trials -------------------------------------------------------------------------------------------

    def _more(self) -> bool:
        """Return whether there may be another trial once nothing is running."""
        if self._is_open:
            return True
        return bool(
            self._confirming.most and (self._best() if self._to_confirm is None else self._to_confirm)
        )

    @property
    def _is_open(self) -> bool:
        """Whether new trials are proposed."""
        return (
            not self._ended
            and self._asked < self.study.trials
            and len(self._nodes_used()) < self.study.trials
        )

    def _nodes_used(self) -> list[Handed]:
        return [handed for handed in self.handed.values() if not handed.confirms]

    def _proposed(self) -> Handed | None:
        if not self._is_open:
            return None
        number = self._base + self._asked + 1
        values = self._new_values(number)
        if values is None:
            self._end(self._why_none())
            return None
        self._asked += 1
        self._seen.add(self._key(values))
        return Handed(number, values, self._node(number, values, 1, confirms=False))

    def _new_values(self, number: int) -> Values | None:
        """Return values that were not tried yet; None if there are none."""
        for _ in range(_TRIES):
            values = self._sampler.ask(number)
            if values is None:
                return None
            if self._key(values) not in self._seen:
                return values
        # A sampler that repeats itself: look for the rest of a finite space ourselves.
        size = self.study.space.size
        if size is None or size <= len(self._seen):
            return None
        return next(point for point in self.study.space.points() if self._key(point) not in self._seen)

    def _why_none(self) -> str:
        size = self.study.space.size
        if size is not None and size <= len(self._seen):
            return "every point of its space has been tried"
        return "its sampler proposes nothing more"

    def _key(self, values: Values) -> str:
        return repr(sorted(self.study.space.encode(values).items()))

    def _best(self) -> list[Trial]:
        return ranked([*self.earlier, *self.trials], self.study.objectives)[: self.study.top]

    def _confirmation(self) -> Handed | None:
        """Return the next of the best trials for the expensive GPU, once all others are over."""
        if not self._confirming.most or (self._to_confirm is None and self._running):
            return None
        if self._to_confirm is None:
            confirmed = {handed.number for handed in self.handed.values() if handed.confirms}
            best = [trial for trial in self._best() if trial.number not in confirmed]
            self._to_confirm = best[: self._confirming.most]
        if not self._to_confirm:
            return None
        trial = self._to_confirm.pop(0)
        return Handed(
            trial.number,
            trial.values,
            self._node(trial.number, trial.values, 1, confirms=True),
            confirms=True,
        )

    def _end(self, why: str) -> None:
        """Propose nothing more. A study that tried nothing is an error: a run without any trial must not pass."""
        if not self._ended:
            self._ended = why
            if not self.handed and not self.earlier:
                self._error = RpdError(f"{self.template.id}: no trial: {why}")
                return
            self._tell(f"{self.template.id}: no more trials after {len(self._nodes_used())}: {why}")

    # --- results ----------------------------------------------------------------------------------------------------

    def _over(self, handed: Handed, report: NodeReport, *, is_past: bool = False) -> None:
        result = report.result
        if result.outcome is Outcome.SKIPPED:
            self._end(f"{report.node.id} was skipped: {result.reason}")
            return
        if result.cause is Cause.INTERRUPTED:
            return
        if result.cause in _AGAIN and not result.outcome.is_ok:
            self._try_again(handed, report, is_past=is_past)
            return
        self._stock_outs = 0
        trial = self._trial(handed, report, is_past=is_past)
        (self.confirmed if handed.confirms else self.trials).append(trial)
        if not handed.confirms:
            self._sampler.tell(trial)
            if is_past:
                self._recall(trial, report)

    def _try_again(self, handed: Handed, report: NodeReport, *, is_past: bool) -> None:
        """Hand a trial out again, once, if its pod was lost or it got none: its values are not to blame."""
        self._stock_outs = self._stock_outs + 1 if report.result.cause is Cause.STOCK else 0
        if self._stock_outs >= _MOST_STOCK_OUTS:
            self._end(f"{_MOST_STOCK_OUTS} trials in a row got no pod ({report.result.reason})")
        is_known = any(
            later.number == handed.number and later.confirms is handed.confirms and later.tries > handed.tries
            for later in self.handed.values()
        )
        has_room = handed.confirms or len(self._nodes_used()) < self.study.trials
        if is_known or handed.tries > 1 or self._ended or handed.confirms or not has_room:
            return
        tries = handed.tries + 1
        node = self._node(handed.number, handed.values, tries, confirms=False)
        self._waiting.append(Handed(handed.number, handed.values, node, tries=tries))
        if not is_past:
            self._tell(f"{report.node.id}: {report.result.cause}; its values are tried again as {node.name}")

    def _trial(self, handed: Handed, report: NodeReport, *, is_past: bool) -> Trial:
        scores = self._scores(report)
        outcome = report.result.outcome
        is_pruned = outcome.value == "pruned"
        if outcome in (Outcome.PASSED, Outcome.XPASSED) and scores is None and not (is_past or self._is_dry):
            self._refuse(report)
        if is_pruned:
            state = State.PRUNED
        elif outcome in (Outcome.PASSED, Outcome.XPASSED) and scores is not None:
            state = State.COMPLETE
        else:
            state = State.FAILED
        return Trial(
            number=handed.number,
            values=handed.values,
            state=state,
            scores=scores or (),
            curve=tuple(self._curve_of(report)) if len(self.study.objectives) == 1 else (),
            usd=report.cost.estimated_usd,
        )

    def _scores(self, report: NodeReport) -> tuple[float, ...] | None:
        scores = [score_of(report, objective.metric) for objective in self.study.objectives]
        numbers = [
            value for value in scores if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        is_scored = len(numbers) == len(scores) and not any(map(math.isnan, numbers))
        return tuple(map(float, numbers)) if is_scored else None

    def _refuse(self, report: NodeReport) -> None:
        """End a study whose metric is missing: the first trial shows it."""
        metric = next(
            objective.metric
            for objective in self.study.objectives
            if not isinstance(score_of(report, objective.metric), int | float)
            or math.isnan(score_of(report, objective.metric))
        )
        got = score_of(report, metric)
        others = ", ".join(report.metrics) or "none"
        if got is None:
            what = f"it recorded no metric {metric!r} (those it recorded: {others})"
        else:
            what = f"its metric {metric!r} is not a number ({got!r})"
        text = (
            f"{report.node.id} passed, but {what}: the study has nothing to compare. "
            f'Call record_metric("{metric}", …), pull a metrics.json, or write it to $RPD_METRICS'
        )
        if any(trial.state is State.COMPLETE for trial in self.trials):
            self._tell(f"{text}; it counts as failed")  # others recorded it: this one is an exception
        elif self._error is None:
            self._error = UsageError(text)

    def _recall(self, trial: Trial, report: NodeReport) -> None:
        """Pass a trial of an earlier process to the pruning rule, with its steps spread evenly over its time."""
        if self._pruner is None or self.study.prune is None or not trial.curve:
            return
        last = max(trial.curve[-1][0], 1e-9)
        whole = {
            "steps": last,
            "seconds": report.result.phases.get("job", 0.0),
            "dollars": report.result.phases.get("job", 0.0) * report.cost.rate_usd_per_hr / 3600,
        }[self.study.prune.unit]
        for step, value in trial.curve:
            self._pruner.report(trial.number, step / last * whole, value)

    # --- pruning ------------------------------------------------------------------------------------------------------

    def judge(self, node_id: str, name: str, at: float, value: float) -> str | None:
        """Return why a trial should end after a point of its curve, None if it may continue.

        Called on the thread of its slot.
        """
        handed = self.handed.get(node_id)
        if self._pruner is None or handed is None or handed.confirms or name != self.study.objective.metric:
            return None
        # Trials run on several slots at once, and the rule compares them.
        with self._lock:
            if not math.isfinite(value):
                return f"{name} is {value}"
            return self._pruner.report(handed.number, at, value)

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _node(self, number: int, values: Values, tries: int, *, confirms: bool) -> Node:
        name = (
            f"trial{number}" + ("-confirm" if confirms else "") + (f"-again{tries - 1}" if tries > 1 else "")
        )
        node = self._with(values, name)
        return self._confirming_node(node) if confirms else node

    def _with(self, values: Values, name: str) -> Node:
        template = self.template
        case = f"{template.case}-{name}" if template.case else name
        prefix = template.id.removesuffix(f"[{template.case}]") if template.case else template.id
        made = _valued(replace(template, id=f"{prefix}[{case}]", case=case), values)
        gpu = values.get(GPU)
        return self._on(made, gpu) if isinstance(gpu, Gpu) else made

    def _confirming_node(self, node: Node) -> Node:
        assert self.study.confirm is not None
        return self._on(_valued(node, {GPU: self.study.confirm}, only_there=True), self.study.confirm)

    def _kinds(self, template: Node) -> Iterator[Node]:
        """Yield a node for each GPU that trials may have."""
        gpus = self.study.space.dimensions.get(GPU)
        if gpus is None:
            yield template
            return
        for gpu in gpus.every():
            yield self._on(_valued(template, {GPU: gpu}), gpu)

    def _on(self, node: Node, gpu: Gpu) -> Node:
        """Return a node whose job requests another GPU; nodes with the same request share one job."""
        key = (id(node.job), gpu)
        pair = self._jobs.get(key)
        if pair is None:  # the job is kept too: an id means nothing once its object is gone
            pair = self._jobs[key] = (node.job, node.job.derive(gpu=gpu))
        return replace(node, own_job=pair[1])


def _valued(node: Node, values: Values, *, only_there: bool = False) -> Node:
    """Return a node with these parameters, direct or through fixtures, like those it has."""
    through = {name: value for name, value in values.items() if name in node.fixture_params}
    direct = {
        name: value
        for name, value in values.items()
        if name not in through and (not only_there or name in node.params)
    }
    indirect = {name: FixtureParam(key=ParamKey(value), value=value) for name, value in through.items()}
    return replace(node, params={**node.params, **direct}, fixture_params={**node.fixture_params, **indirect})


def score_of(report: NodeReport, metric: str) -> Any:
    """Return a node's value of a metric; None if it did not record it."""
    value = report.metrics.get(metric)
    if value is None and metric in OWN_METRICS:
        return report.cost.estimated_usd if metric == "usd" else report.result.seconds
    return value
