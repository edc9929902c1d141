"""``rpd diff``."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.cli.command_options import DiffOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import say
from rpd.cli.query import tell_damage
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, RpdError, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.past_runs import run_with_node
from rpd.record import history
from rpd.record.run_info import RunInfo
from rpd.values.frozen import frozen
from rpd.values.report import NodeReport

Facts = Mapping[str, str]
_LONGEST = 60
_SIDES = ("A", "B")
_MOST_ROWS = 30
_MOST_NAMED = 4


def main(config: Config, manager: PluginManager) -> int:
    """Print the differences between two runs or two nodes; exit 1 if there are any."""
    own: DiffOptions = config.own
    del manager
    if len(config.args) != 2:
        raise UsageError("rpd diff needs two runs, or two nodes as RUN:NODE (:NODE means the newest run)")
    left, right = (run_with_node(config.invocation_dir, config.runs_path, text) for text in config.args)
    if (left[1] is None) != (right[1] is None):
        raise UsageError("rpd diff compares two runs or two nodes, not one of each")
    titles = [_title(info, entry.id if entry else "") for info, entry in (left, right)]
    if left[1] is not None and right[1] is not None:
        nodes = [
            node_facts(_over(entry.read(), entry.id), every=own.all_facts) for entry in (left[1], right[1])
        ]
        differing = differences(*nodes)
        lines = _fact_lines(differing, titles)
    else:
        a, b = (_Side.of(info, every=own.all_facts) for info, _ in (left, right))
        if not config.output.as_json and not own.all_facts:
            return _tell(_run_lines(a, b, titles) if a != b else ())
        differing = differences(a.flat(), b.flat())
        lines = _fact_lines(differing, titles)
    if config.output.as_json:
        facts = {name: {"left": a, "right": b} for name, (a, b) in differing.items()}
        say_document({"left": titles[0], "right": titles[1], "differences": facts})
        return ExitCode.FAILED if differing else ExitCode.OK
    return _tell(lines if differing else ())


def _tell(lines: Iterable[str]) -> int:
    texts = list(lines)
    say("\n".join(texts) if texts else "no differences")
    return ExitCode.FAILED if texts else ExitCode.OK


def _fact_lines(differing: Mapping[str, tuple[str, str]], titles: Sequence[str]) -> Iterator[str]:
    rows = [
        (name, _short(a), _short(b), change(a, b) if _is_result(name) else "")
        for name, (a, b) in differing.items()
    ]
    return table([("", *titles, "CHANGE"), *rows], cut={0: 24, 1: 16, 2: 16}, leave_out=(3,))


@frozen
class _Side:
    """One of two runs: the facts to compare about itself and each of its nodes."""

    run: Facts
    nodes: Mapping[str, Facts]

    @classmethod
    def of(cls, info: RunInfo, *, every: bool) -> _Side:
        damaged: list[RpdError] = []
        reports = history.reports(Path(info.folder), damaged=damaged.append)
        tell_damage(damaged)
        return cls(
            run=run_facts(info), nodes={report.node.id: node_facts(report, every=every) for report in reports}
        )

    def flat(self) -> Facts:
        """Return all facts in one mapping, under unique names."""
        facts = dict(self.run)
        for node_id, of_node in self.nodes.items():
            facts |= {f"{node_id} {name}": value for name, value in of_node.items()}
        return facts


def _run_lines(left: _Side, right: _Side, titles: Sequence[str]) -> Iterator[str]:
    """Yield the comparison of two runs: their facts, nodes that only one has, results of those that both have."""
    of_run = differences(left.run, right.run)
    yield from (f"{side}: {title}" for side, title in zip(_SIDES, titles, strict=True))
    yield from (f"{name}: {_short(a)} | {_short(b)}" for name, (a, b) in of_run.items())
    for title, own, opposite in ((_SIDES[0], left, right), (_SIDES[1], right, left)):
        alone = [node_id for node_id in own.nodes if node_id not in opposite.nodes]
        if alone:
            yield f"only in {title}: {_listed(alone)}"
    rows, others = _compared(left, right)
    if rows:
        yield ""
        yield from table(
            [("NODE", "METRIC", *_SIDES, "CHANGE"), *rows[:_MOST_ROWS]],
            right=(2, 3, 4),
            cut={0: 20, 1: 12, 2: 8, 3: 8},
            leave_out=(4,),
        )
    if len(rows) > _MOST_ROWS:
        yield f"… and {len(rows) - _MOST_ROWS} more: --all shows them"
    if others:
        names = ", ".join(f"{name} ({number})" for name, number in others.items())
        yield f"also different: {names}; --all shows these, with time and cost"


def _compared(left: _Side, right: _Side) -> tuple[list[tuple[str, ...]], Counter[str]]:
    """Return a row for each outcome and metric that differs in nodes of both, and counts of other differences."""
    both = [node_id for node_id in left.nodes if node_id in right.nodes]
    names = Counter(map(_name, both))
    rows: list[tuple[str, ...]] = []
    others: Counter[str] = Counter()
    for node_id in both:
        shown = _name(node_id) if names[_name(node_id)] == 1 else node_id
        for name, (a, b) in differences(left.nodes[node_id], right.nodes[node_id]).items():
            kind, _, rest = name.partition(" ")
            if name == "outcome" or kind == "metric":
                rows.append((shown, rest or name, _short(a), _short(b), change(a, b)))
            else:
                others[kind if kind in ("parameter", "variable", "step") else name] += 1
    return rows, others


def _name(node_id: str) -> str:
    return node_id.rpartition("::")[2]


def _is_result(name: str) -> bool:
    """Return whether a fact is one that a run has found out: more or less of it says something."""
    return (
        f" {name}".rpartition(" metric ")[1] != ""
        or name.endswith((" seconds", " usd", " bytes"))
        or name in ("seconds", "usd")
    )


def _listed(ids: Sequence[str]) -> str:
    shown = ", ".join(_name(each) for each in ids[:_MOST_NAMED])
    count = f"{len(ids)} node{'' if len(ids) == 1 else 's'}"
    return f"{count} ({shown}{', …' if len(ids) > _MOST_NAMED else ''})"


def change(left: str, right: str) -> str:
    """Return how much more the right number is, and in percent where there is something to compare it to."""
    try:
        a, b = float(left), float(right)
    except ValueError:
        return ""
    if not math.isfinite(a) or not math.isfinite(b):
        return ""
    percent = f" ({100 * (b - a) / abs(a):+.1f}%)" if a else ""
    return f"{b - a:+.4g}{percent}"


def _over(report: NodeReport | None, node_id: str) -> NodeReport:
    if report is None:
        raise UsageError(f"{node_id} has not finished: there is nothing to compare yet")
    return report


def _title(info: RunInfo, node_id: str) -> str:
    return f"{info.id}:{node_id.rpartition('::')[2]}" if node_id else info.id


def differences(left: Facts, right: Facts) -> dict[str, tuple[str, str]]:
    """Return name to both values, where they differ; a value that one side lacks is empty."""
    names = dict.fromkeys([*left, *right])
    pairs = {name: (left.get(name, ""), right.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def run_facts(info: RunInfo) -> Facts:
    """Return the facts to compare about a run itself."""
    return {
        "rpd": info.rpd,
        "python": info.python,
        "command line": shlex.join(info.argv),
        "backend": info.backend,
        "git sha": info.git_sha,
    }


def node_facts(report: NodeReport, *, every: bool = False) -> Facts:
    """Return the facts to compare about a node; with ``every`` also time and money, which always differ."""
    facts = dict(_node_facts(report))
    if every:
        facts |= {
            "seconds": f"{report.result.seconds:.3f}",
            "attempts": str(report.result.attempts),
            "usd": f"{report.cost.estimated_usd:.4f}",
            "usd per hour": f"{report.cost.rate_usd_per_hr:.2f}",
            "billed seconds": f"{report.cost.billed_seconds:.1f}",
            **{f"{name} seconds": f"{value:.3f}" for name, value in report.result.phases.items()},
            "pulled bytes": str(sum(each.bytes for each in report.artifacts)),
            "started": report.result.started,
            "pod": report.pod.id if report.pod else "",
        }
    return facts


def _node_facts(report: NodeReport) -> Iterator[tuple[str, str]]:
    source, environment, pod = report.source, report.environment, report.pod
    yield "outcome", report.result.outcome
    yield "cause", report.result.cause or ""
    yield from _prefixed("parameter", report.node.parameters)
    yield from _prefixed("metric", report.metrics)
    yield from _prefixed("variable", report.variables)
    yield "git sha", source.git_sha
    yield "branch", source.branch
    yield "uncommitted changes", source.diff_file
    yield "tree", source.tree_sha256
    yield "lock file", source.lock_file_sha256
    if pod is not None:
        yield "image", pod.image
        yield "digest", pod.digest
        yield "gpu", f"{pod.count}x {pod.gpu}" if pod.gpu else "CPU"
        yield "data centre", pod.datacenter
        yield "cloud", pod.cloud
        yield "volume", pod.volume or (f"{pod.volume_gb} GB" if pod.volume_gb else "")
    yield "gpu name", environment.gpu_name
    yield "driver", environment.driver
    yield "cuda", environment.cuda
    yield "python", environment.python
    yield "packages", environment.packages
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
