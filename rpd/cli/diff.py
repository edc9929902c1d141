"""``rpd diff``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rpd.cli.out import say
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.lookback import run_with_node
from rpd.record import history
from rpd.record.run import RunInfo
from rpd.values.report import NodeReport

Facts = Mapping[str, str]
_LONGEST = 60


def main(config: Config, manager: PluginManager) -> int:
    """Print what differs between two runs or two nodes; exit 1 if anything does."""
    del manager
    if len(config.args) != 2:
        raise UsageError("rpd diff needs two runs, or two nodes as RUN:NODE (:NODE is of the newest run)")
    left, right = (run_with_node(config, text) for text in config.args)
    if (left[1] is None) != (right[1] is None):
        raise UsageError("rpd diff compares two runs or two nodes, not one of each")
    sides = tuple(
        run_facts(info) if entry is None else node_facts(_over(entry.report, entry.id))
        for info, entry in (left, right)
    )
    found = differences(*sides)
    if config.as_json:
        say(json.dumps({name: {"left": a, "right": b} for name, (a, b) in found.items()}, indent=2))
    elif found:
        titles = [_title(info, entry.id if entry else "") for info, entry in (left, right)]
        rows = [("", *titles), *((name, _short(a), _short(b)) for name, (a, b) in found.items())]
        say("\n".join(table(rows)))
    else:
        say("no difference")
    return ExitCode.FAILED if found else ExitCode.OK


def _over(report: NodeReport | None, node_id: str) -> NodeReport:
    if report is None:
        raise UsageError(f"{node_id} is not over: it has nothing to compare yet")
    return report


def _title(info: RunInfo, node_id: str) -> str:
    return f"{info.id}:{node_id.rpartition('::')[2]}" if node_id else info.id


def differences(left: Facts, right: Facts) -> dict[str, tuple[str, str]]:
    """Return name to both values, for what is not the same; what one side lacks is empty."""
    names = dict.fromkeys([*left, *right])
    pairs = {name: (left.get(name, ""), right.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def run_facts(info: RunInfo) -> Facts:
    """Return what is to be compared of a run and of each of its nodes; not times and money, which always differ."""
    facts = {
        "rpd": info.rpd,
        "python": info.python,
        "command line": shlex.join(info.argv),
        "far end": info.far_end,
        "git sha": info.git_sha,
    }
    for report in history.reports(Path(info.folder)):
        facts |= {f"{report.node.id} {name}": value for name, value in node_facts(report).items()}
    return facts


def node_facts(report: NodeReport) -> Facts:
    """Return what is to be compared of a node."""
    return dict(_node_facts(report))


def _node_facts(report: NodeReport) -> Iterator[tuple[str, str]]:
    source, environment, pod = report.source, report.environment, report.pod
    yield "outcome", report.result.outcome
    yield "cause", report.result.cause or ""
    yield from _prefixed("parameter", report.node.parameters)
    yield from _prefixed("metric", report.metrics)
    yield from _prefixed("variable", report.variables)
    yield "git sha", source.git_sha
    yield "uncommitted changes", source.diff_file
    yield "tree", source.tree_sha256
    yield "lock file", source.lock_file_sha256
    if pod is not None:
        yield "image", pod.image
        yield "gpu", f"{pod.count}x {pod.gpu}" if pod.gpu else "CPU"
        yield "data centre", pod.datacenter
        yield "cloud", pod.cloud
    yield "gpu name", environment.gpu_name
    yield "driver", environment.driver
    yield "cuda", environment.cuda
    yield "python", environment.python
    yield "uname", environment.uname
    for step in report.steps:
        yield (
            f"step {step.index + 1}",
            f"{step.command} [{step.exit_code if step.exit_code is not None else 'ok'}]",
        )


def _prefixed(kind: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        yield f"{kind} {name}", str(value)


def _short(text: str) -> str:
    line = text.replace("\n", " ")
    return (line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…") or "-"
