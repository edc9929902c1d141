"""The end of a run that did not go well: which commands come next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rpd.config import Config
from rpd.config.config import CollectSettings
from rpd.errors import Cause
from rpd.stop import INTERRUPTED
from rpd.terminal.end_summary import log_of
from rpd.terminal.styles import Ink
from rpd.values.report import NodeReport, RunSummary


def next_steps(config: Config, summary: RunSummary, *, width: int, ink: Ink) -> Iterator[str]:
    """Yield a line for each command worth typing now, complete, with its purpose if ``width`` has room for it.

    None if everything passed.
    """
    failed = [report for report in summary.reports if not report.result.outcome.is_ok]
    commands = list(_commands(config, summary, failed))
    if not commands:
        return
    longest = max(len(command) for command, _ in commands)
    for number, (command, why) in enumerate(commands):
        head = ink("     " if number else "next:", "cyan")
        fits = len("next: ") + longest + 2 + len(why) < width
        yield (
            f"{head} {ink(f'{command:<{longest}}')}  {ink(why, 'dim')}" if fits else f"{head} {ink(command)}"
        )


def _commands(config: Config, summary: RunSummary, failed: Sequence[NodeReport]) -> Iterator[tuple[str, str]]:
    was_cut = bool(summary.not_run) and _remembers_rest(summary.stop_reason)
    if failed or was_cut:
        what = ["the nodes that did not pass"] * bool(failed) + ["those left out"] * was_cut
        yield again(config, "--lf"), f"runs {' and '.join(what)}"
    mine = [report for report in failed if report.result.cause is not Cause.INTERRUPTED]
    if mine and summary.folder:
        first = mine[0]
        name = _name(first, summary.reports)
        runs_dir = _runs_dir(config.sources, config.run.runs_dir)
        yield shlex.join(["rpd", "show", name, *runs_dir]), "shows what happened"
        if log_of(first) is not None:
            yield shlex.join(["rpd", "logs", name, *runs_dir]), "prints its whole log"


def _remembers_rest(stop_reason: str) -> bool:
    """Return whether ``--lf`` also selects the nodes that were left out: after ``-x`` it selects only failed ones."""
    return INTERRUPTED in stop_reason or stop_reason.startswith(("budget:", "balance:"))


def again(config: Config, *flags: str) -> str:
    """Return the command that runs the same places again, where this run was, with other selecting flags."""
    where = ["--local"] if config.run.local else []
    runs_dir = _runs_dir(config.sources, config.run.runs_dir)
    return shlex.join(["rpd", "run", *config.args, *flags, *where, *_variables(config.collect), *runs_dir])


def _variables(collect: CollectSettings) -> Iterator[str]:
    """Yield the flags without which the nodes would not be the same."""
    if collect.vars_file is not None:
        yield from ("--vars-file", collect.vars_file)
    for name, value in collect.var:
        yield from ("--var", f"{name}={value}")
    for name, values in collect.sweep:
        yield from ("--sweep", f"{name}={','.join(values)}")


def _runs_dir(sources: Mapping[str, str], runs_dir: str) -> list[str]:
    is_flag = sources.get("runs_dir", "").startswith("flag --")
    return ["--runs-dir", runs_dir] if is_flag else []


def _name(report: NodeReport, reports: Sequence[NodeReport]) -> str:
    """Return the name of a node, its whole id where several nodes are called so."""
    names = Counter(each.node.id.rpartition("::")[2] for each in reports)
    name = report.node.id.rpartition("::")[2]
    return name if names[name] == 1 else report.node.id
