"""``rpd plan``: shows which nodes are new, changed, cached or gone, and the cost of those that would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rpd.cli.collect import print_errors, tell_nothing
from rpd.cli.command_options import PlanOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.cli.stderr_notices import Notices, tell
from rpd.cli.table import table
from rpd.config import Config
from rpd.config.config import OutputSettings
from rpd.errors import ExitCode, UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.pipeline.estimate import Estimate, estimate, place_of
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.image_digests import is_emulated
from rpd.pipeline.policy import check_policies
from rpd.pipeline.price_source import SHIPPED, Source, price_source
from rpd.pipeline.tree_snapshot import Snapshot, take_snapshot
from rpd.pipeline.unchanged_filter import differences, last_passed, lost_files
from rpd.pipeline.worst_case import Prices, make_overrides
from rpd.plan import make_plan
from rpd.plan_diff import markdown
from rpd.plan_diff.compare import Passed, Planned, Status, compare
from rpd.plan_diff.trees import OtherTree, other_tree
from rpd.record.report_output import write_report
from rpd.values.frozen import frozen
from rpd.values.node import Node

_OWN_FLAGS = {"--against": True, "--fail-above": True, "--markdown": True, "--json": False, "-q": False, "-v": False,
              "--quiet": False, "--verbose": False, "--refresh": False}  # fmt: skip
"""Flags that mean nothing in the other tree, and whether a value follows."""


@frozen
class _Plan:
    """The status of the nodes, and the costs of those that would run (by their ids)."""

    nodes: Sequence[Planned]
    costs: Mapping[str, Estimate]
    other: OtherTree | None
    refused: Sequence[str]
    source: str

    def of(self, status: Status) -> list[Planned]:
        return [node for node in self.nodes if node.status is status]

    @property
    def running(self) -> list[Planned]:
        return [node for node in self.nodes if node.status.runs]

    def worst(self, nodes: Sequence[Planned]) -> float:
        return sum(self.costs[node.id].worst_case_usd or 0.0 for node in nodes if node.id in self.costs)

    def expected(self, nodes: Sequence[Planned]) -> tuple[float, int]:
        """Return the expected USD, and of how many nodes it is not known."""
        costs = [self.costs[node.id].expected_usd for node in nodes if node.id in self.costs]
        return sum(usd for usd in costs if usd is not None), costs.count(None)


def main(config: Config, manager: PluginManager) -> int:
    """Print the plan, as text, JSON and Markdown; the exit code is 1 where it costs too much or a policy refuses it."""
    own: PlanOptions = config.own
    manager.register(Notices(), "notices")
    snapshot = take_snapshot(config, manager)
    errors = snapshot.gathered.errors
    if own.snapshot:
        say_document(
            {
                "fingerprints": {node: dict(parts) for node, parts in snapshot.fingerprints.items()},
                "errors": [f"{error.place}: {error}" for error in errors],
            }
        )
        return ExitCode.OK
    print_errors(errors)
    if errors:
        return ExitCode.INTERRUPTED
    base = _other(own.against, config.invocation_dir, config.argv, config.args) if own.against else None
    if not snapshot.nodes and not (base and base.fingerprints):
        tell_nothing(config, snapshot.gathered)
        return ExitCode.NOTHING_COLLECTED
    plan = _planned(config, manager, snapshot, base)
    if own.markdown is not None:
        _write_markdown(config.invocation_dir / Path(own.markdown).expanduser(), own.markdown, plan)
    _print(config.output, plan)
    return _verdict(own, plan)


def _other(ref: str, here: Path, argv: Sequence[str], args: Sequence[str]) -> OtherTree:
    tree = other_tree(ref, here.resolve(), _flags(argv[1:], args), args)
    for text in tree.errors:
        note(f"rpd: {ref}: {text}")
    return tree


def _flags(argv: Sequence[str], args: Sequence[str]) -> list[str]:
    """Return the flags of a command line that count in the other tree as well."""
    kept: list[str] = []
    skips = False
    for word in argv:
        flag = word.partition("=")[0]
        if skips or word in args:
            skips = False
        elif flag in _OWN_FLAGS:
            skips = _OWN_FLAGS[flag] and "=" not in word
        else:
            kept.append(word)
    return [*kept, "--continue-on-collection-errors"]


def _planned(config: Config, manager: PluginManager, snapshot: Snapshot, other: OtherTree | None) -> _Plan:
    real = not is_emulated(config.api, local=False)
    passed = {
        node: Passed(
            fingerprint=report.source.fingerprint,
            finished=report.result.finished[:19],
            folder=report.folder,
            lost=partial(lost_files, report),
        )
        for node, report in last_passed(config.runs_path, snapshot.fingerprints.keys(), real=real).items()
    }
    there = None if other is None else other.fingerprints
    if there is not None:
        named = _named(config.args, config.invocation_dir, config.rootdir.resolve())
        there = {node: parts for node, parts in there.items() if named is None or _is_of(node, named)}
    needs = {node.id: node.needs for node in snapshot.nodes if node.needs}
    ref = other.ref if other else ""
    nodes = compare(snapshot.fingerprints, there, passed, differences, ref=ref, needs=needs)
    running = {node.id for node in nodes if node.status.runs}
    chosen = [node for node in snapshot.nodes if node.id in running]
    with price_source(config, tell) as source:
        if source.live is None and chosen:
            note(f"rpd: {SHIPPED}")
        costs = estimate(config, chosen, source, Events(manager)) if chosen else []
        refused = _refused(config, chosen, source)
    return _Plan(
        nodes=nodes,
        costs={cost.node.id: cost for cost in costs},
        other=other,
        refused=refused,
        source=source.name,
    )


def _named(args: Sequence[str], here: Path, rootdir: Path) -> list[str] | None:
    """Return the node ids on the command line, from the root; None if it names files, folders or nothing."""
    pairs = [text.partition("::") for text in args if "::" in text]
    if len(pairs) < len(args) or not pairs:
        return None
    files = [((here / path).resolve(), name) for path, _, name in pairs]
    return [
        f"{file.relative_to(rootdir).as_posix()}::{name}"
        for file, name in files
        if file.is_relative_to(rootdir)
    ]


def _is_of(node: str, named: Sequence[str]) -> bool:
    """Return whether a node of the other tree is one that is named, or a case of it."""
    return any(node == name or node.startswith(f"{name}[") for name in named)


def _refused(config: Config, nodes: Sequence[Node], source: Source) -> list[str]:
    """Return why a policy would refuse a run of these nodes, at any hour."""
    provider = source.provider
    prices = Prices(lambda: provider, make_overrides(config), Foresight(config, nodes))
    plan = make_plan(nodes, width=1, worst_case=prices.ceiling)
    return check_policies(config, plan, prices, is_resumed=True)


def _verdict(own: PlanOptions, plan: _Plan) -> int:
    code = ExitCode.OK
    worst = plan.worst(plan.running)
    if own.fail_above is not None and worst > own.fail_above:
        note(
            f"rpd: the {_count(len(plan.running))} that would run may cost ${worst:.2f}, more than --fail-above "
            f"{own.fail_above:g}"
        )
        code = ExitCode.FAILED
    for text in plan.refused:
        note(f"rpd: a policy would refuse this run: {text}")
        code = ExitCode.FAILED
    return code


def _count(number: int) -> str:
    return f"{number} node{'' if number == 1 else 's'}"


# --- for people -----------------------------------------------------------------------------------------------------


def _print(output: OutputSettings, plan: _Plan) -> None:
    if output.as_json:
        say_document(_document(plan))
    elif output.quiet:
        say("\n".join(node.id for node in plan.running), end="\n" if plan.running else "")
    else:
        rows = [
            ("STATUS", "NODE", "WHY", "EXPECTED", "WORST"),
            *(_row(node, plan) for node in _shown(plan, cached=output.verbose > 0)),
        ]
        if len(rows) > 1:
            say("\n".join(table(rows, right={3, 4}, cut={1: 24, 2: 24}, leave_out=(2, 3))), end="\n\n")
        say(_summary(plan))


def _shown(plan: _Plan, *, cached: bool) -> list[Planned]:
    """Return the nodes that are listed; ``cached``: also those that would not run."""
    order = (Status.NEW, Status.CHANGED, Status.GONE, Status.CACHED)
    statuses = order if cached else order[:-1]
    return [node for status in statuses for node in plan.of(status)]


def _row(node: Planned, plan: _Plan) -> tuple[str, ...]:
    cost = plan.costs.get(node.id)
    why = "; ".join(node.reasons)
    if cost is None:
        return node.status, node.id, why, "", ""
    return node.status, node.id, why, _usd(cost.expected_usd), _usd(cost.worst_case_usd)


def _usd(amount: float | None) -> str:
    return "?" if amount is None else f"${amount:.2f}"


def _summary(plan: _Plan) -> str:
    counts = (
        ", ".join(f"{len(plan.of(status))} {status}" for status in Status if plan.of(status)) or "no nodes"
    )
    compared = f" (compared with {plan.other.ref}, {plan.other.commit[:12]})" if plan.other else ""
    return f"{counts}{compared}\n{_would_cost(plan)}"


def _would_cost(plan: _Plan) -> str:
    running = plan.running
    if not running:
        return "nothing would run"
    expected, unknown = plan.expected(running)
    place = place_of(plan.source)
    if unknown == len(running):
        expectation = f"expected unknown (none of the jobs has passed on {place} yet)"
    else:
        expectation = f"expected ${expected:.2f}" + (
            f" without {unknown} whose jobs have not passed on {place} yet" if unknown else ""
        )
    return f"{_count(len(running))} would run: {expectation}, at worst ${plan.worst(running):.2f}"


# --- for programs, and for a pull request ---------------------------------------------------------------------------


def _document(plan: _Plan) -> dict[str, Any]:
    running = plan.running
    expected, unknown = plan.expected(running)
    return {
        "against": plan.other.ref if plan.other else None,
        "commit": plan.other.commit if plan.other else None,
        "source": plan.source,
        "counts": {status: len(plan.of(status)) for status in Status},
        "would_run": [node.id for node in running],
        "expected_usd": expected,
        "expected_unknown_for_nodes": unknown,
        "worst_case_usd": plan.worst(running),
        "refused": list(plan.refused),
        "nodes": [
            {
                "id": node.id,
                "status": node.status,
                "reasons": list(node.reasons),
                **({"cost": plan.costs[node.id].table()} if node.id in plan.costs else {}),
            }
            for node in plan.nodes
        ],
    }


def _write_markdown(path: Path, target: str, plan: _Plan) -> None:
    if path.is_dir():
        raise UsageError(f"--markdown {target}: expected a file, but this is a folder")
    try:
        write_report(path, _markdown(plan))
    except OSError as error:
        raise UsageError(f"--markdown {target}: cannot be written: {error.strerror or error}") from error


def _markdown(plan: _Plan) -> str:
    title = f"rpd plan against {markdown.code_text(plan.other.ref)}" if plan.other else "rpd plan"
    totals = [("", "nodes", "expected", "at worst")]
    totals += [_totals_row(str(each), plan.of(each), plan) for each in (Status.NEW, Status.CHANGED)]
    totals += [(str(status), str(len(plan.of(status))), "", "") for status in (Status.CACHED, Status.GONE)]
    totals.append(_totals_row("would run", plan.running, plan))
    nodes = [("node", "status", "why", "first offer", "expected", "at worst")]
    for node in sorted(plan.nodes, key=lambda node: list(Status).index(node.status)):
        if node.status is not Status.CACHED:
            _, _, why, expected, worst = _row(node, plan)
            cost = plan.costs.get(node.id)
            offer = str(cost.offer) if cost and cost.offer else cost.trouble if cost else ""
            nodes.append((node.id, str(node.status), why, offer, expected, worst))
    notes = [_would_cost(plan), *(f"a policy would refuse this run: {text}" for text in plan.refused)]
    return markdown.document(title, totals, nodes, notes)


def _totals_row(name: str, nodes: Sequence[Planned], plan: _Plan) -> tuple[str, str, str, str]:
    expected, unknown = plan.expected(nodes)
    expectation = (
        ""
        if not nodes
        else "unknown"
        if unknown == len(nodes)
        else f"${expected:.2f}{' +' if unknown else ''}"
    )
    return name, str(len(nodes)), expectation, f"${plan.worst(nodes):.2f}" if nodes else ""
