"""A graph carried out: against a naive executor, for every order in which nodes may end."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import rpd
from rpd.errors import Cause
from rpd.execute.lanes import Lanes
from rpd.graph.left import Left
from rpd.graph.source import GraphSource
from rpd.stop import Stop
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.plan import Earlier, Lane, Plan
from rpd.values.report import CACHED, NodeRecord, NodeReport, Outcome, Result
from tests.graph.test_meeting import graphs

FEWER = settings(max_examples=60)
ENDS = st.sampled_from(
    [Outcome.PASSED] * 4 + [Outcome.XPASSED, Outcome.FAILED, Outcome.ERROR, Outcome.SKIPPED, Outcome.XFAILED]
)


def report(node_id: str, outcome: Outcome, cause: Cause | None = None, reason: str = "") -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=node_id, job="j", file="f.py", line=1),
        result=Result(outcome=outcome, cause=cause, reason=reason),
    )


class WouldWait(Exception):
    """A slot has nothing to do now."""


def would_wait() -> None:
    raise WouldWait


@dataclass
class Carried:
    """The result of a graph: the order in which nodes began, and how each ended."""

    begun: list[str] = field(default_factory=list)
    ended: dict[str, NodeReport] = field(default_factory=dict)


def carry_out(
    nodes: list[Node],
    outcomes: dict[str, Outcome],
    *,
    width: int,
    chance: random.Random,
    done: tuple[NodeReport, ...] = (),
    most: int = 1000,
) -> Carried:
    """Run nodes as the slots do, with ``width`` of them, each ending at any time; at most so many begin."""
    left = Left()
    rest = list(nodes)
    sources = tuple(left.rpd_make_sources(nodes=rest, earlier=Earlier(reports=done)))
    lanes = Lanes(Plan(lanes=tuple(Lane(nodes=(node,)) for node in rest), sources=sources), Stop())
    left.rpd_run_started(done=done)
    running: deque[Lane] = deque()
    carried = Carried()

    def end(lane: Lane) -> None:
        for node in lane.nodes:
            skip = left.rpd_skip_node(node=node)
            found = (
                report(node.id, Outcome.SKIPPED, skip.cause, skip.reason)
                if skip
                else report(node.id, outcomes[node.id])
            )
            if skip is None:
                carried.begun.append(node.id)
            assert skip is not None or all(
                need in carried.ended or need in {each.node.id for each in done} for need in node.needs
            )
            carried.ended[node.id] = found
            left.rpd_node_report(report=found)
            lanes.ended(node, found)
        lanes.done(lane)

    while len(carried.ended) < most:
        try:
            lane = lanes.take(would_wait) if len(running) < width else would_wait()
        except WouldWait:
            chance.shuffle(running)
            end(running.popleft())
            continue
        if lane is not None:
            running.append(lane)
        elif running:
            end(running.popleft())
        else:
            break
    return carried


def naive(nodes: list[Node], outcomes: dict[str, Outcome]) -> dict[str, tuple[Outcome, bool]]:
    """Return how each node has to end, and whether it is passed over for want of another."""
    by_id = {node.id: node for node in nodes}
    ends: dict[str, tuple[Outcome, bool]] = {}

    def end_of(node_id: str) -> tuple[Outcome, bool]:
        if node_id not in ends:
            needs = [end_of(need)[0] for need in by_id[node_id].needs]
            lacks = any(need not in (Outcome.PASSED, Outcome.XPASSED) for need in needs)
            ends[node_id] = (Outcome.SKIPPED, True) if lacks else (outcomes[node_id], False)
        return ends[node_id]

    for node_id in by_id:
        end_of(node_id)
    return ends


@FEWER
@given(graphs(), st.data(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_node_ends_as_a_naive_executor_has_it(
    nodes: list[Node], data: st.DataObject, width: int, chance: random.Random
) -> None:
    outcomes = {node.id: data.draw(ENDS) for node in nodes}
    carried = carry_out(nodes, outcomes, width=width, chance=chance)
    ends = {
        node_id: (each.result.outcome, each.result.cause is Cause.NEEDS)
        for node_id, each in carried.ended.items()
    }
    assert ends == naive(nodes, outcomes)
    culprits = {node_id for node_id, (_, lacks) in naive(nodes, outcomes).items() if not lacks}
    for node_id, each in carried.ended.items():
        if each.result.cause is Cause.NEEDS:
            assert any(culprit in each.result.reason for culprit in culprits - {node_id}), each.result.reason


@FEWER
@given(graphs(), st.data(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_run_that_was_killed_is_carried_on_with_what_is_over(
    nodes: list[Node], data: st.DataObject, width: int, chance: random.Random
) -> None:
    """Both halves together equal an undisturbed run: nothing twice, nothing left out."""
    outcomes = {node.id: data.draw(ENDS) for node in nodes}
    most = data.draw(st.integers(0, len(nodes)))
    first = carry_out(nodes, outcomes, width=width, chance=chance, most=most)
    over = tuple(first.ended.values())
    rest = [node for node in nodes if node.id not in first.ended]
    second = carry_out(rest, outcomes, width=width, chance=chance, done=over)
    assert not first.ended.keys() & second.ended.keys()
    both = {**first.ended, **second.ended}
    assert {
        node_id: (each.result.outcome, each.result.cause is Cause.NEEDS) for node_id, each in both.items()
    } == naive(nodes, outcomes)


@FEWER
@given(graphs(), st.data(), st.randoms(use_true_random=False))
def test_cached_needs_are_as_good_as_passed_ones(
    nodes: list[Node], data: st.DataObject, chance: random.Random
) -> None:
    cached = data.draw(st.sets(st.sampled_from([node.id for node in nodes])))
    done = tuple(report(node_id, Outcome.SKIPPED, None, f"{CACHED}nothing changed") for node_id in cached)
    rest = [node for node in nodes if node.id not in cached]
    carried = carry_out(rest, {node.id: Outcome.PASSED for node in rest}, width=2, chance=chance, done=done)
    assert set(carried.begun) == {node.id for node in rest}


def test_what_was_ended_early_on_purpose_is_spared_where_others_of_its_job_passed() -> None:
    left = Left()
    trials = [f"f.py::train[{number}]" for number in range(2)]
    summary = replace(data_node(), id="f.py::summary", needs=tuple(trials))
    left.rpd_node_report(report=report(trials[0], Outcome.PASSED))
    left.rpd_node_report(report=report(trials[1], Outcome.PRUNED, None, "far behind"))
    assert left.rpd_skip_node(node=summary) is None
    skip = left.rpd_skip_node(node=replace(summary, needs=(trials[1],)))
    assert skip is not None
    assert skip.cause is Cause.NEEDS


def data_node() -> Node:
    from tests.graph.test_meeting import job

    return Node(definition=job("j"), id="f.py::j")


def test_nodes_of_the_plan_keep_their_order_and_lonely_ones_their_lanes() -> None:
    one, two, three = (replace(data_node(), id=f"f.py::{name}") for name in ("one", "two", "three"))
    source = GraphSource([one, replace(two, needs=(three.id,)), three])
    assert [lane.nodes[0].id for lane in source.lanes] == [one.id, two.id, three.id]
    first, second = source.next(), source.next()
    assert first is not None
    assert second is not None
    assert [first.nodes[0], second.nodes[0]] == [one, three]
    assert source.next() is None
    assert not source.is_over
    source.ended(three, report(three.id, Outcome.PASSED))
    assert source.next() is not None
    assert source.is_over


SLOTS = """
import rpd

two = rpd.job(gpu=rpd.Gpu("NVIDIA L4", count=2))

@rpd.fixture(scope="session")
def server(provision):
    with provision(two) as pod:
        yield pod

@two
def prepare(server): ...

@two
@rpd.mark.needs(prepare)
@rpd.mark.slots(gpu=1)
@rpd.mark.parametrize("n", [1, 2, 3])
def train(server, n): ...

@two
@rpd.mark.needs(train, all=True)
def last(server): ...
"""


def test_nodes_that_take_some_of_the_gpus_of_one_pod_start_together(tmp_path: Path) -> None:
    """The ready ones start at once; those that wait for them come when the last of them has passed."""
    (tmp_path / "deploy_s.py").write_text(SLOTS, encoding="utf-8")
    source = GraphSource(list(rpd.nodes(root=tmp_path)))
    first = source.next()
    assert first is not None
    assert [node.id.partition("::")[2] for node in first.nodes] == ["prepare"]
    assert source.next() is None
    source.ended(first.nodes[0], report(first.nodes[0].id, Outcome.PASSED))
    assert source.keeps(first.shares)
    trains = source.next()
    assert trains is not None
    assert (len(trains.nodes), trains.places, trains.shares) == (3, 2, first.shares)
    assert not source.keeps(first.shares)
    for node in trains.nodes:
        assert source.next() is None
        source.ended(node, report(node.id, Outcome.PASSED))
    last = source.next()
    assert last is not None
    assert source.is_over
