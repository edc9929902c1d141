"""The screen of a dry run, at 80 columns."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from rpd.config import Config
from rpd.errors import Cause
from rpd.terminal.dry_run_view import DryRunView
from rpd.values.dryrun import DryRunNode, Outlook
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.pod import Cloud, Offer
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result, RunSummary
from rpd.values.step import Step, StepKind
from tests.terminal.screens import PLAIN, shown

MakeConfig = Callable[..., Config]
MakeNode = Callable[..., Node]
MakePlan = Callable[..., Plan]
MakeReport = Callable[..., NodeReport]


OFFERS = tuple(
    Offer(gpu_id=gpu, count=1, cloud=Cloud.SECURE, datacenter=None, usd_per_hr=price, stock=stock)
    for gpu, price, stock in (
        ("NVIDIA H100 80GB HBM3", 2.39, "unknown"),
        ("NVIDIA A100-SXM4-80GB", None, "high"),
    )
)


STEPS = (
    Step(index=0, kind=StepKind.PUT, name="", command=". -> /workspace/src"),
    Step(index=1, kind=StepKind.RUN, name="train", command="python train.py \\\n  --seed 42"),
    Step(index=2, kind=StepKind.PULL, name="", command="results/ -> artifacts/results"),
)


def dry_run(terminal: DryRunView, config: Config, nodes: list[Node], plan: Plan) -> None:
    """One planned with a pod, one without, one of unknown price, one that fails here."""
    terminal.rpd_run_started(config, plan, "dry run", None, ())
    planned = [
        DryRunNode(
            node_id=nodes[0].id,
            request=("image x", "20 GB disk"),
            offers=OFFERS,
            steps=STEPS,
            release="delete, once the pull is verified",
            worst_case_usd=5.0,
        ),
        DryRunNode(node_id=nodes[1].id, worst_case_usd=0.0),
        DryRunNode(node_id=nodes[2].id, request=("image y",), worst_case_usd=None),
    ]
    reports = []
    for node, plan_of_node in zip(nodes, planned, strict=True):
        terminal.rpd_dry_run_node(plan_of_node)
        outcome = Outcome.FAILED if node is nodes[2] else Outcome.PASSED
        reason = "KeyError: 'lr'" if node is nodes[2] else ""
        report = NodeReport(
            node=NodeRecord(id=node.id, job="finetune", file=node.file, line=10),
            result=Result(outcome=outcome, reason=reason, cause=Cause.CODE if reason else None),
        )
        reports.append(report)
        terminal.rpd_node_report(node, report)
    terminal.rpd_run_finished(RunSummary(folder="", reports=tuple(reports), seconds=0.25))


@pytest.mark.parametrize("quiet", [0, 1, 2])
def test_a_dry_run_shows_what_would_happen(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan, quiet: int, snapshot: SnapshotAssertion
) -> None:
    """Pod request, offers in order with prices, steps, release, worst case; with -q a line; the total at the end."""
    out = io.StringIO()
    config = make_config(dry_run=True, quiet=quiet)
    nodes = [make_node(seed) for seed in (42, 43, 44)]
    dry_run(DryRunView(config, out, environ=PLAIN), config, nodes, make_plan(*nodes))
    assert shown(out.getvalue()) == snapshot


@pytest.mark.parametrize("quiet", [0, 1])
def test_a_live_dry_run_shows_what_could_be_had_now(
    make_config: MakeConfig, make_node: MakeNode, make_plan: MakePlan, quiet: int, snapshot: SnapshotAssertion
) -> None:
    """Places of one GPU share a line, with the first few that have it; each node's outlook; how many have one."""
    places = ("EU-RO-1", "EU-SE-1", "US-KS-2", "US-TX-3", "CA-MTL-1", "OC-AU-1", None)
    many = [
        Offer(
            gpu_id="NVIDIA L4", count=2, cloud=Cloud.SECURE, datacenter=place, usd_per_hr=0.98, stock="high"
        )
        for place in places
    ]
    sold_out = [replace(offer, stock="none") for offer in many[:2]]
    community = Offer(gpu_id="NVIDIA L4", count=2, cloud=Cloud.COMMUNITY, datacenter=None, usd_per_hr=None)
    kinds = [
        (
            (*many, community),
            Outlook(can_be_rented=True, facts=("in stock: somewhere", "image: it is there")),
        ),
        (tuple(sold_out), Outlook(can_be_rented=False, facts=("sold out",))),
        ((community,), Outlook(can_be_rented=None, facts=("stock unknown",))),
    ]
    out = io.StringIO()
    config = make_config(dry_run=True, dry_run_live=True, quiet=quiet)
    nodes = [make_node(seed) for seed in (42, 43, 44)]
    terminal = DryRunView(config, out, environ=PLAIN)
    terminal.rpd_run_started(config, make_plan(*nodes), "dry run: somebody is only read", None, ())
    for node, (offers, outlook) in zip(nodes, kinds, strict=True):
        terminal.rpd_dry_run_node(
            DryRunNode(
                node_id=node.id, request=("image x",), offers=offers, worst_case_usd=1.0, outlook=outlook
            )
        )
    terminal.rpd_run_finished(RunSummary(folder="", reports=(), seconds=0.25))
    assert shown(out.getvalue()) == snapshot


@pytest.mark.parametrize("verbose", [0, 1])
def test_the_nodes_of_a_sweep_are_drawn_once(
    make_config: MakeConfig,
    make_node: MakeNode,
    make_plan: MakePlan,
    verbose: int,
    snapshot: SnapshotAssertion,
) -> None:
    """Nodes that ask for the same pod are shortened to the steps that differ; with -v each is drawn in full."""
    out = io.StringIO()
    config = make_config(dry_run=True, verbose=verbose)
    nodes = [make_node(seed) for seed in (42, 43, 44, 45)]
    terminal = DryRunView(config, out, environ=PLAIN)
    terminal.rpd_run_started(config, make_plan(*nodes), "dry run", None, ())
    for number, node in enumerate(nodes):
        seed = replace(STEPS[1], command=f"python train.py --seed {min(number, 1)}")
        image = "image x" if number < 3 else "another image"
        terminal.rpd_dry_run_node(
            DryRunNode(
                node_id=node.id, request=(image,), offers=OFFERS, steps=(STEPS[0], seed), worst_case_usd=1.0
            )
        )
    terminal.rpd_run_finished(RunSummary(folder="", reports=(), seconds=0.25))
    assert shown(out.getvalue()) == snapshot
