"""``rpd report --html``: one page of one run, several runs, or the nodes that fit an expression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rpd.cli.output import note, say
from rpd.config import Config
from rpd.errors import ExitCode, RpdError, UsageError
from rpd.pipeline.past_runs import PastRun, run_named
from rpd.query.expression import Expression, names_in
from rpd.query.rows import Rows, Scope, is_event, read_rows
from rpd.record import history
from rpd.record.report_output import report_path, write_report
from rpd.values.frozen import replace
from rpd.values.sort_order import Ranking, missing
from rpd.web.html_report import dumps
from rpd.web.run_folders import read_run


def write_page(config: Config) -> int:
    """Write the page that ``--html`` asks for. Raise UsageError."""
    assert config.output.html is not None
    path = report_path("--html", config.output.html, config.invocation_dir)
    notes: list[str] = []
    runs = (
        _fitting(config.own.where, Scope(runs_path=config.runs_path, runs=config.args), notes)
        if config.own.where
        else _named(config.args, config.invocation_dir, config.runs_path, notes)
    )
    ranking = Ranking.parse(config.output.sort) if config.output.sort else None
    if ranking and (wrong := missing([report for run in runs for report in run.reports], ranking)):
        raise UsageError(f"--sort {config.output.sort}: {wrong}")
    made = dumps(runs, path=path, notes=notes, ranking=ranking, whole=not config.own.where)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_file = write_report(path, made)
    except OSError as error:
        raise UsageError(
            f"--html {config.output.html}: cannot be written: {error.strerror or error}"
        ) from error
    for text in notes:
        note(f"rpd: {text}")
    if is_file:
        say(f"wrote {path}")
    return ExitCode.OK


def _named(names: Sequence[str], here: Path, runs_path: Path, notes: list[str]) -> list[PastRun]:
    """Return the runs that are named, each once; the newest where none is."""
    infos = {info.id: info for info in (run_named(here, runs_path, name) for name in names or ("",))}
    return [read_run(Path(info.folder), notes) for info in infos.values()]


def _fitting(where: str, scope: Scope, notes: list[str]) -> list[PastRun]:
    """Return the runs with nodes that fit ``--where``, the newest first, and of their nodes only those."""
    damaged: list[RpdError] = []
    names = names_in(where)
    rows = Rows(read_rows(scope, events=any(map(is_event, names)), damaged=damaged.append), {"node", *names})
    notes += (f"left out: {error}" for error in damaged)
    expression = Expression(where, rows.columns)
    chosen: dict[str, set[str]] = {}
    for row in rows.rows:
        if expression.matches(row):
            chosen.setdefault(row["run"], set()).add(row["node"])
    if not chosen:
        raise UsageError(f"--where {where}: no node matches")
    runs = [info for info in history.runs(scope.runs_path) if info.id in chosen]
    return [_only(read_run(Path(info.folder), notes), sorted(chosen[info.id])) for info in runs]


def _only(run: PastRun, nodes: Sequence[str]) -> PastRun:
    node_ids = set(nodes)
    return replace(run, reports=tuple(report for report in run.reports if report.node.id in node_ids))
