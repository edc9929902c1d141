"""``rpd runs``, ``rpd report`` and ``rpd verify``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.cli.command_options import ReportOptions, RunsOptions
from rpd.cli.filters import Filters, is_same
from rpd.cli.json_document import say_document
from rpd.cli.output import hand_over, say
from rpd.cli.query import since, tell_damage, totals_document, totals_line
from rpd.cli.table import table
from rpd.config import Config
from rpd.disk.regular import is_regular
from rpd.errors import ExitCode, RpdError, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.past_runs import Overview, PastRun, RunState, overview, past_run, run_named
from rpd.query import answer
from rpd.query.rows import Damaged, Row, Rows, Scope, is_event, read_rows, resolve, value_of
from rpd.record import history, results_csv, summary
from rpd.record.run_info import RunInfo
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport
from rpd.values.sort_order import Ranking, missing, ranked
from rpd.values.suggestions import closest

if TYPE_CHECKING:
    from rpd.record.summary import Group, Spread
    from rpd.record.verify import Checked
    from rpd.search.report import StudyReport

STUDIES_FILE = "studies.json"
"""In the folder of a run that had studies."""
_HEAD = ("RUN", "STARTED (UTC)", "NODES", "OUTCOMES", "$", "TIME", "BACKEND", "STATE")


def main(config: Config, manager: PluginManager) -> int:
    """List past runs, newest first, with their totals; with ``--nodes`` their nodes."""
    own: RunsOptions = config.own
    del manager
    if config.args:
        raise UsageError("rpd runs takes no argument: rpd show RUN shows one run")
    damaged: list[RpdError] = []
    chosen, rows_by_run = _chosen(own, config.runs_path, damaged.append)
    shown = chosen[: own.most_runs] if own.most_runs else chosen
    if own.all_nodes:
        rows = [row for run in shown for row in (rows_by_run or {}).get(run.info.id, ())]
        _print_nodes(own, config.runs_path, rows, as_json=config.output.as_json)
    else:
        _print_runs(own, config.runs_path, shown, as_json=config.output.as_json)
    if len(shown) < len(chosen) and not config.output.as_json:
        say(f"… and {len(chosen) - len(shown)} older ones (-n 0 lists all)")
    tell_damage(damaged)
    return ExitCode.OK


_OF_RUNS = ("state", "backend")
"""Names that ``--filter`` compares with the run itself; all others are columns of its nodes."""
Wanted = Mapping[str, list[Row]]
"""Run to those of its nodes that were asked for."""


def _chosen(own: RunsOptions, runs_path: Path, damaged: Damaged) -> tuple[list[Overview], Wanted | None]:
    """Return the runs that were asked for, newest first, and their nodes where nodes decided."""
    earliest = since(own.since)
    infos = [info for info in history.runs(runs_path) if (info.started or history.stamp(info.id)) >= earliest]
    of_runs = [pair for pair in own.filters if pair[0] in _OF_RUNS]
    of_nodes = [pair for pair in own.filters if pair[0] not in _OF_RUNS]
    rows_by_run: dict[str, list[Row]] | None = None
    if of_nodes or own.all_nodes:
        rows_by_run = {}
        for row in _nodes(Scope(runs_path=runs_path, since=earliest), of_nodes, damaged):
            rows_by_run.setdefault(row["run"], []).append(row)
        infos = [info for info in infos if info.id in rows_by_run or not of_nodes]
    if not of_runs:
        # A run is only looked into where it is shown.
        most = own.most_runs or len(infos)
        return [overview(info) if at < most else _unread(info) for at, info in enumerate(infos)], rows_by_run
    overviews = [overview(info) for info in infos]
    return [
        run for run in overviews if all(is_same(_of_run(run, name), text) for name, text in of_runs)
    ], rows_by_run


def _unread(info: RunInfo) -> Overview:
    return Overview(info=info, state=RunState.FINISHED, outcomes={}, usd=0.0, not_run=0)


def _of_run(run: Overview, name: str) -> str:
    return str(run.state) if name == "state" else run.info.backend


def _nodes(scope: Scope, filters: Filters, damaged: Damaged) -> Sequence[Row]:
    """Return the nodes that have the wanted values. Raise UsageError for a name that is no column."""
    names = {*_NODE_COLUMNS, *(name for name, _ in filters)}
    rows = Rows(read_rows(scope, events=any(map(is_event, names)), damaged=damaged), names)
    if not rows.rows:
        return ()
    resolved = [(resolve(name, rows.columns, f"--filter {name}=…"), text) for name, text in filters]
    return [row for row in rows.rows if all(is_same(value_of(row, name), text) for name, text in resolved)]


def _print_runs(own: RunsOptions, runs_path: Path, shown: Sequence[Overview], *, as_json: bool) -> None:
    nodes = sum(sum(run.outcomes.values()) for run in shown)
    outcomes = sum((Counter(run.outcomes) for run in shown), Counter[str]())
    seconds, usd = math.fsum(run.info.seconds for run in shown), math.fsum(run.usd for run in shown)
    if as_json:
        totals = {
            "runs": len(shown),
            "nodes": nodes,
            "outcomes": outcomes,
            "seconds": round(seconds, 3),
            "usd": round(usd, 6),
        }
        say_document({"runs": [_as_json(run) for run in shown], "totals": totals})
        return
    if not shown:
        say(f"no runs in {runs_path}" + (" that match" if own.filters or own.since else ""))
        return
    rows = [_HEAD, *map(_row, shown)]
    say("\n".join(table(rows, right={2, 4, 5}, cut={3: 30, 6: 12}, leave_out=(1, 6, 5, 2, 7))))
    for run in shown:
        if run.state is RunState.UNFINISHED:
            say(f"unfinished: rpd resume {run.info.id}")
    if len(shown) > 1:
        words = sum((Counter(run.words) for run in shown), Counter[str]())
        counts = ", ".join(f"{number} {word}" for word, number in words.items())
        say(f"{len(shown)} runs, {nodes} nodes: {counts}, {format_duration(seconds)}, ${usd:.2f}")


def _print_nodes(own: RunsOptions, runs_path: Path, rows: Sequence[Row], *, as_json: bool) -> None:
    totals = answer.totals(rows)
    if as_json:
        say_document(
            {
                "nodes": [{name: row.get(name) for name in _NODE_COLUMNS} for row in rows],
                "totals": totals_document(totals),
            }
        )
        return
    if not rows:
        say(f"no nodes in {runs_path}" + (" that match" if own.filters or own.since else ""))
        return
    lines = [_node_row(row) for row in rows]
    say("\n".join(table([_NODE_HEAD, *lines], right={5, 6}, cut={0: 22, 1: 20, 3: 12}, leave_out=(4, 3))))
    say(totals_line(totals))


_NODE_COLUMNS = (
    "run",
    "node",
    "outcome",
    "cause",
    "gpu",
    "datacenter",
    "seconds",
    "usd",
    "started",
    "folder",
)
_NODE_HEAD = ("RUN", "NODE", "OUTCOME", "GPU", "PLACE", "TIME", "$")


def _node_row(row: Row) -> tuple[str, ...]:
    outcome = f"{row['outcome']} ({row['cause']})" if row["cause"] else row["outcome"]
    name = str(row["node"]).rpartition("::")[2]
    time, usd = format_duration(row["seconds"]), f"{row['usd']:.4f}"
    return row["run"], name, outcome, row["gpu"] or "CPU", row["datacenter"], time, usd


def _row(run: Overview) -> tuple[str, ...]:
    info = run.info
    return (
        info.id,
        info.started[:19].replace("T", " "),
        str(info.nodes or sum(run.outcomes.values())),
        _outcomes(run),
        f"{run.usd:.2f}",
        format_duration(info.seconds) if info.finished else "",
        info.backend,
        str(run.state),
    )


def _outcomes(run: Overview) -> str:
    parts = [f"{number} {word}" for word, number in run.words.items()]
    if run.not_run:
        parts.append(f"{run.not_run} not {'yet over' if run.state is RunState.RUNNING else 'run'}")
    return ", ".join(parts) or "none"


def _as_json(run: Overview) -> dict[str, Any]:
    return {**asdict(run.info), "state": run.state, "outcomes": dict(run.outcomes), "usd": round(run.usd, 6)}


def _one_run(config: Config) -> PastRun:
    if len(config.args) > 1:
        more = "; --html FILE makes a page of several" if config.command == "report" else ""
        raise UsageError(f"rpd {config.command} takes one run{more}")
    return past_run(run_named(config.invocation_dir, config.runs_path, *config.args))


def report(config: Config, manager: PluginManager) -> int:
    """Print the results of a run: tables, ``--csv``, ``--json``, a page of runs, or copy artifacts out."""
    own: ReportOptions = config.own
    del manager
    if config.output.html is not None:
        from rpd.cli.report_html import write_page  # most reports are text

        return write_page(config)
    if own.where:
        raise UsageError("--where needs --html FILE: rpd query prints such nodes as text, CSV or JSON")
    run = _one_run(config)
    tell_damage(run.damaged)
    reports = sorted_reports(config.output.sort, run.reports)
    if own.export is not None:
        target = config.invocation_dir / Path(own.export).expanduser()
        from rpd.record.export import export

        folders = export(reports, target)
        without = f" ({len(reports) - len(folders)} pulled nothing)" if len(folders) < len(reports) else ""
        say(f"copied the artifacts of {len(folders)} nodes of run {run.info.id} to {target}{without}")
        return ExitCode.OK
    if own.as_csv:
        hand_over(results_csv.dumps(reports))
    elif config.output.as_json:
        say_document(_report_document(run, reports, own.mean_over, config.output.sort))
    else:
        from rpd.terminal.stored_run import print_results

        # Before anything is printed: a wrong --over is an error.
        lines = list(_summary_lines(reports, own.mean_over, config.output.sort))
        print_results(reports, color=config.output.color)
        say("\n".join([*lines, *_study_lines(run)]))
        say(f"run {run.info.id} ({run.state}), {run.info.folder}")
    return ExitCode.OK


def sorted_reports(sort: str, reports: tuple[NodeReport, ...]) -> list[NodeReport]:
    """Return the reports as ``--sort`` says. Raise UsageError for a name that no report has."""
    if not sort:
        return list(reports)
    ranking = Ranking.parse(sort)
    if wrong := missing(reports, ranking):
        raise UsageError(f"--sort {sort}: {wrong}")
    return ranked(reports, ranking)


def _over(reports: Sequence[NodeReport], named: Sequence[str]) -> list[str]:
    """Return the parameters that means are over: those named, else the seeds. Raise UsageError for an unknown one."""
    there = dict.fromkeys(name for report in reports for name in report.node.parameters)
    for name in named:
        if name not in there:
            close = closest(name, there)
            hint = f"did you mean {close}?" if close else f"there are {', '.join(there) or 'none'}"
            raise UsageError(f"--over {name}: no node has a parameter {name!r}; {hint}")
    return list(named) or [name for name in there if summary.is_seed(name)]


def _report_document(
    run: PastRun, reports: Sequence[NodeReport], mean_over: Sequence[str], sort: str
) -> dict[str, Any]:
    over = _over(reports, mean_over)
    return {
        "run": run.info.id,
        "state": run.state,
        "nodes": [_result(each) for each in reports],
        "over": over,
        "means": [asdict(group) for group in _ranked(summary.groups(reports, over), sort)],
        "studies": [each.document() for each in _studies(run)],
        "extremes": [
            {
                "job": each.job,
                "metric": each.metric,
                "lowest": {"node": each.lowest.node.id, "value": each.lowest.metrics[each.metric]},
                "highest": {"node": each.highest.node.id, "value": each.highest.metrics[each.metric]},
            }
            for each in summary.extremes(reports)
        ],
    }


def _studies(run: PastRun) -> Sequence[StudyReport]:
    """Return the reports of the studies of a run; none for most runs."""
    folder = Path(run.info.folder)
    if not is_regular(folder / STUDIES_FILE):
        return ()
    from rpd.search.record import read, reports_by_id
    from rpd.search.report import reports_of

    return reports_of(run.info.id, read(folder), reports_by_id(run.reports))


def _study_lines(run: PastRun) -> Iterator[str]:
    for study in _studies(run):
        from rpd.search.report import report_lines

        yield from report_lines(study)
        yield ""


def _summary_lines(reports: Sequence[NodeReport], mean_over: Sequence[str], sort: str) -> Iterator[str]:
    """Yield the means over seeds, a table for each job, and which nodes have the lowest and highest metrics."""
    over = _over(reports, mean_over)
    jobs: dict[tuple[str, str], list[Group]] = {}
    for group in _ranked(summary.groups(reports, over), sort):
        if group.nodes > 1:
            jobs.setdefault((group.file, group.job), []).append(group)
    for (_, job), groups in jobs.items():
        yield ""
        yield f"means of {job} over {', '.join(over)} (± standard deviation):"
        yield from _means(groups)
    for number, each in enumerate(summary.extremes(reports)):
        if not number:
            yield ""
        yield (
            f"{each.metric}: lowest {_number(each.lowest.metrics[each.metric])} at {_name(each.lowest)}, "
            f"highest {_number(each.highest.metrics[each.metric])} at {_name(each.highest)}"
        )
    yield ""


def _ranked(groups: Sequence[Group], sort: str) -> Sequence[Group]:
    """Return the groups by the mean of the metric that ``--sort`` names, if it names one."""
    if not sort:
        return groups
    ranking = Ranking.parse(sort)
    metric = ranking.column.removeprefix("metric.")
    with_it = [group for group in groups if metric in group.metrics]
    with_it.sort(key=lambda group: group.metrics[metric].mean, reverse=ranking.descending)
    return [*with_it, *(group for group in groups if metric not in group.metrics)]


def _means(groups: Sequence[Group]) -> Iterator[str]:
    parameters = list(dict.fromkeys(name for group in groups for name in group.parameters))
    metrics = list(dict.fromkeys(name for group in groups for name in group.metrics))
    head = (*parameters, "nodes", "passed", *metrics)
    rows = [
        (
            *(str(group.parameters.get(name, "")) for name in parameters),
            str(group.nodes),
            str(group.passed),
            *(_spread(group.metrics.get(name)) for name in metrics),
        )
        for group in groups
    ]
    yield from table([head, *rows], right=range(len(parameters), len(head)))


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return _number(spread.mean) + (f" ± {spread.std:.2g}" if spread.std is not None else "")


def _number(value: float) -> str:
    return f"{value:.4g}"


def _name(report: NodeReport) -> str:
    return report.node.id.rpartition("::")[2]


def _result(report: NodeReport) -> dict[str, Any]:
    return {
        "node": report.node.id,
        "job": report.node.job,
        "outcome": report.result.outcome,
        "cause": report.result.cause,
        "reason": report.result.reason,
        "parameters": dict(report.node.parameters),
        "needs": list(report.node.needs),
        "metrics": dict(report.metrics),
        "series": {name: asdict(record) for name, record in report.series.items()},
        "attempts": report.result.attempts,
        "gpu": report.pod.gpu if report.pod else "",
        "seconds": report.result.seconds,
        "usd": report.cost.estimated_usd,
        "folder": report.folder,
    }


def verify(config: Config, manager: PluginManager) -> int:
    """Check every file that was pulled against the sum made on the pod; exit 1 if one differs or is missing."""
    from rpd.record.verify import check

    del manager
    run = _one_run(config)
    tell_damage(run.damaged)
    checked = [each for report in run.reports for each in check(report)]
    wrong = [each for each in checked if each.problem is not None]
    if config.output.as_json:
        document = {
            "run": run.info.id,
            "checked": len(checked),
            "problems": [_problem(each) for each in wrong],
        }
        say_document(document)
        return ExitCode.FAILED if wrong else ExitCode.OK
    for each in wrong:
        say(f"{each.problem}: {each.path}  ({each.node_id})")
    good = len(checked) - len(wrong)
    say(f"run {run.info.id}: {good} of {len(checked)} files are as they were on their pods")
    return ExitCode.FAILED if wrong else ExitCode.OK


def _problem(checked: Checked) -> dict[str, Any]:
    return {"node": checked.node_id, "path": str(checked.path), "problem": checked.problem}
