"""``rpd runs``, ``rpd report`` and ``rpd verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rpd.cli.output import hand_over, say
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.past_runs import Overview, PastRun, RunState, overview, past_run, run_named
from rpd.record import history, results
from rpd.record.export import export
from rpd.record.verify import Checked, check
from rpd.terminal.stored_run import print_results
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport
from rpd.values.sort_order import Ranking, missing, ranked

_HEAD = ("RUN", "STARTED (UTC)", "NODES", "OUTCOMES", "$", "TIME", "BACKEND", "STATE")


def main(config: Config, manager: PluginManager) -> int:
    """List past runs, newest first."""
    del manager
    if config.args:
        raise UsageError("rpd runs takes no argument: rpd show RUN tells of one run")
    found = history.runs(config.runs_path)
    shown = [overview(info) for info in (found[: config.own.most_runs] if config.own.most_runs else found)]
    if config.output.as_json:
        say(json.dumps([_as_json(run) for run in shown], indent=2))
    elif not shown:
        say(f"no runs in {config.runs_path}")
    else:
        rows = [_HEAD, *map(_row, shown)]
        say("\n".join(table(rows, right={2, 4, 5}, cut={3: 30, 6: 12}, leave_out=(1, 6, 5, 2, 7))))
        for run in shown:
            if run.state is RunState.UNFINISHED:
                say(f"unfinished: rpd resume {run.info.id}")
        if len(shown) < len(found):
            say(f"… and {len(found) - len(shown)} older ones (-n 0 lists all)")
    return ExitCode.OK


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
    parts = [f"{number} {outcome}" for outcome, number in run.outcomes.items()]
    if run.not_run:
        parts.append(f"{run.not_run} not {'yet over' if run.state is RunState.RUNNING else 'run'}")
    return ", ".join(parts) or "none"


def _as_json(run: Overview) -> dict[str, Any]:
    return {**asdict(run.info), "state": run.state, "outcomes": dict(run.outcomes), "usd": run.usd}


def _one_run(config: Config) -> PastRun:
    if len(config.args) > 1:
        more = "; --html FILE makes a page of several" if config.command == "report" else ""
        raise UsageError(f"rpd {config.command} takes one run{more}")
    return past_run(run_named(config, *config.args))


def report(config: Config, manager: PluginManager) -> int:
    """Print the results of a run: tables, ``--csv``, ``--json``, a page of runs, or copy artifacts out."""
    del manager
    if config.output.html is not None:
        from rpd.cli.page import write_page  # most reports are text

        return write_page(config)
    if config.own.where:
        raise UsageError("--where needs --html FILE: rpd query prints such nodes as text, CSV or JSON")
    run = _one_run(config)
    reports = sorted_reports(config, run.reports)
    if config.own.export is not None:
        target = config.invocation_dir / Path(config.own.export).expanduser()
        folders = export(reports, target)
        without = f" ({len(reports) - len(folders)} pulled nothing)" if len(folders) < len(reports) else ""
        say(f"copied the artifacts of {len(folders)} nodes of run {run.info.id} to {target}{without}")
        return ExitCode.OK
    if config.own.as_csv:
        hand_over(results.dumps(reports))
    elif config.output.as_json:
        say(json.dumps([_result(each) for each in reports], indent=2, default=str))
    else:
        print_results(reports, config=config)
        say(f"run {run.info.id} ({run.state}), {run.info.folder}")
    return ExitCode.OK


def sorted_reports(config: Config, reports: tuple[NodeReport, ...]) -> list[NodeReport]:
    """Return the reports as ``--sort`` says. Raises UsageError for a name that no report has."""
    if not config.output.sort:
        return list(reports)
    ranking = Ranking.parse(config.output.sort)
    if wrong := missing(reports, ranking):
        raise UsageError(f"--sort {config.output.sort}: {wrong}")
    return ranked(reports, ranking)


def _result(report: NodeReport) -> dict[str, Any]:
    return {
        "node": report.node.id,
        "job": report.node.job,
        "outcome": report.result.outcome,
        "cause": report.result.cause,
        "reason": report.result.reason,
        "parameters": dict(report.node.parameters),
        "metrics": dict(report.metrics),
        "attempts": report.result.attempts,
        "gpu": report.pod.gpu if report.pod else "",
        "seconds": report.result.seconds,
        "usd": report.cost.estimated_usd,
        "folder": report.folder,
    }


def verify(config: Config, manager: PluginManager) -> int:
    """Check every file that was pulled against the sum made on the pod; exit 1 if one differs or is missing."""
    del manager
    run = _one_run(config)
    checked = [each for report in run.reports for each in check(report)]
    wrong = [each for each in checked if each.problem is not None]
    if config.output.as_json:
        told = {"run": run.info.id, "checked": len(checked), "problems": [_problem(each) for each in wrong]}
        say(json.dumps(told, indent=2))
        return ExitCode.FAILED if wrong else ExitCode.OK
    for each in wrong:
        say(f"{each.problem}: {each.path}  ({each.node_id})")
    good = len(checked) - len(wrong)
    say(f"run {run.info.id}: {good} of {len(checked)} files are as they were on their pods")
    return ExitCode.FAILED if wrong else ExitCode.OK


def _problem(checked: Checked) -> dict[str, Any]:
    return {"node": checked.node_id, "path": str(checked.path), "problem": checked.problem}
