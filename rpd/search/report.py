"""The report of a study, from past runs: trials, the best one, history, and importance of the arguments. Pure."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rpd.errors import Cause
from rpd.search import optuna
from rpd.search.record import Line, Recorded, name_of
from rpd.search.source import score_of
from rpd.search.space import GPU
from rpd.search.trials import State, Trial, front, ranked
from rpd.terminal.styles import money
from rpd.values.duration import format_duration
from rpd.values.printable import tellable
from rpd.values.report import NodeReport, Outcome
from rpd.values.safe_text import plain

_MOST_VALUES = 6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial with the report of its node; ``trial`` is what the sampler received."""

    trial: Trial
    name: str
    report: NodeReport
    confirms: bool = False

    @property
    def gpu(self) -> str:
        """The GPUs it ran on."""
        return self.report.pod.gpu if self.report.pod else ""

    @property
    def usd(self) -> float:
        """Its cost."""
        return self.report.cost.estimated_usd


@dataclass(frozen=True, kw_only=True)
class Better:
    """An improvement of the best value: the trials and dollars until then, and the trial."""

    trials: int
    usd: float
    row: Row


class StudyReport:
    """The report of one study of a run."""

    def __init__(self, run: str, study: Recorded, reports: Mapping[str, NodeReport]) -> None:
        self.run = run
        self.study = study
        rows = [_row(study, line, reports[line["id"]]) for line in study.lines if line["id"] in reports]
        self.rows = sorted(rows, key=lambda row: row.report.result.finished)
        """In the order in which they ended."""

    @property
    def usd(self) -> float:
        """The cost of all trials."""
        return math.fsum(row.usd for row in self.rows)

    @property
    def best(self) -> Row | None:
        """The winner; if some trials were confirmed, the best of those."""
        confirmed = [row for row in self.rows if row.confirms and row.trial.state is State.COMPLETE]
        rows = confirmed or [row for row in self.rows if not row.confirms]
        first = next(iter(ranked([row.trial for row in rows], self.study.objectives)), None)
        return next((row for row in rows if row.trial is first), None)

    @property
    def front(self) -> list[Row]:
        """The trials that none beats in every objective."""
        rows = [row for row in self.rows if not row.confirms]
        kept = front([row.trial for row in rows], self.study.objectives)
        return [row for trial in kept for row in rows if row.trial is trial]

    @property
    def history(self) -> list[Better]:
        """The improvements of the first objective's best value, over trials and dollars."""
        steps: list[Better] = []
        usd, count, objective = 0.0, 0, self.study.objectives[0]
        best = math.inf
        for row in (row for row in self.rows if not row.confirms):
            usd, count = usd + row.usd, count + 1
            if row.trial.state is State.COMPLETE and objective.loss(row.trial.scores[0]) < best:
                best = objective.loss(row.trial.scores[0])
                steps.append(Better(trials=count, usd=usd, row=row))
        return steps

    def importances(self) -> dict[str, float]:
        """Return the importance of each argument, as Optuna computes it; empty if Optuna is not installed."""
        if not optuna.is_installed() or len(self.study.space.dimensions) < 2:
            return {}
        sampler = optuna.OptunaSampler(self.study.space, self.study.objectives, "tpe", 0)
        for row in self.rows:
            if not row.confirms and row.trial.state is State.COMPLETE:
                sampler.tell(row.trial)
        return sampler.importances()

    @property
    def command(self) -> str:
        """The command that runs the winner again; empty if there is none."""
        best = self.best
        if best is None:
            return ""
        return f"rpd run {shlex.quote(self.study.id)} --trial {self.run}:{best.name.removeprefix('trial')}"

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        best = self.best
        return {
            "study": self.study.id,
            **{
                key: self.study.document.get(key)
                for key in ("objectives", "space", "sampler", "seed", "prune")
            },
            "usd": round(self.usd, 6),
            "best": None if best is None else best.report.node.id,
            "command": self.command,
            "importances": {name: round(part, 4) for name, part in self.importances().items()},
            "history": [
                {
                    "trials": each.trials,
                    "usd": round(each.usd, 6),
                    "value": each.row.trial.scores[0],
                    "trial": each.row.name,
                }
                for each in self.history
            ],
            "trials": [_trial_document(row) for row in self.rows],
        }


def _trial_document(row: Row) -> dict[str, Any]:
    return {
        "trial": row.name,
        "node": row.report.node.id,
        "state": row.trial.state,
        "values": {name: _json(value) for name, value in row.trial.values.items()},
        "scores": list(row.trial.scores),
        "gpu": row.gpu,
        "seconds": row.report.result.seconds,
        "usd": row.usd,
        "folder": row.report.folder,
    }


def _json(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(tellable(value))


def _row(study: Recorded, line: Line, report: NodeReport) -> Row:
    scores = tuple(score_of(report, objective.metric) for objective in study.objectives)
    is_scored = all(isinstance(score, int | float) and not isinstance(score, bool) for score in scores)
    outcome = report.result.outcome
    state = State.FAILED
    if outcome.value == "pruned":
        state = State.PRUNED
    elif is_scored and outcome in (Outcome.PASSED, Outcome.XPASSED):
        state = State.COMPLETE
    try:
        values = study.space.decode(line["values"])
    except ValueError:  # the line is damaged; the manifest has them as text
        values = dict(report.node.parameters)
    trial = Trial(
        number=int(line["trial"]),
        values=values,
        state=state,
        scores=tuple(map(float, scores)) if is_scored else (),
        usd=report.cost.estimated_usd,
    )
    return Row(trial=trial, name=name_of(line), report=report, confirms=line.get("confirms") is True)


# --- for people -----------------------------------------------------------------------------------------------------


def summary_lines(report: StudyReport) -> Iterator[str]:
    """Yield the lines about a study at the end of its run."""
    name = report.study.id.rpartition("::")[2]
    tried = [row for row in report.rows if not row.confirms]
    states = Counter(
        "interrupted" if row.report.result.cause is Cause.INTERRUPTED else row.trial.state for row in tried
    )
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    confirmed = len(report.rows) - len(tried)
    more = f", {confirmed} confirmed" if confirmed else ""
    count = f"{len(tried)} trial{'' if len(tried) == 1 else 's'}"
    yield f"study {name}: {count} ({counts or 'none is over'}){more}, {money(report.usd)}"
    best = report.best
    if best is None:
        return
    if len(report.study.objectives) > 1:
        for row in report.front[:_MOST_VALUES]:
            yield f"  none beats {row.name}: {scores_text(report, row)} with {values_text(row.trial.values)}"
        return
    values = {name: value for name, value in best.trial.values.items() if not (best.confirms and name == GPU)}
    yield (
        f"  best {best.name}: {scores_text(report, best)} with {values_text(values)}, "
        f"{best.gpu or 'no pod'}, {format_duration(best.report.result.seconds)}, {money(best.usd)}"
    )
    yield f"  again: {report.command}"


def report_lines(report: StudyReport) -> Iterator[str]:
    """Yield everything that ``rpd report`` prints about a study except the table of its nodes."""
    yield from summary_lines(report)
    best = report.best
    if best is not None and best.report.folder:
        yield f"  its files: {best.report.folder}"
    if len(report.study.objectives) == 1:
        metric = report.study.objectives[0].metric
        for each in report.history:
            value = f"{each.row.trial.scores[0]:.6g}"
            yield f"  after {each.trials:>4} trials and {money(each.usd):>7}: {metric} {value} ({each.row.name})"
    parts = report.importances()
    if parts:
        yield "  what mattered: " + ", ".join(f"{plain(name)} {part:.0%}" for name, part in parts.items())


def scores_text(report: StudyReport, row: Row) -> str:
    """Return ``loss 0.0321, usd 0.5``."""
    pairs = zip(report.study.objectives, row.trial.scores, strict=False)
    return ", ".join(f"{plain(objective.metric)} {score:.6g}" for objective, score in pairs)


def values_text(values: Mapping[str, Any]) -> str:
    """Return ``lr=0.0031, batch=16``."""
    return ", ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(str(tellable(value)))


def reports_of(run: str, studies: Sequence[Recorded], reports: Mapping[str, NodeReport]) -> list[StudyReport]:
    """Return the reports of the studies of a run."""
    return [StudyReport(run, study, reports) for study in studies]
