"""Lanes for slots: each once, none at the same time as another that shares its pod, and no slot waits in vain."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.execute.lanes import Lanes
from rpd.stop import Stop, StopLevel
from rpd.values.node import Node
from rpd.values.plan import Ahead, Lane, Plan, Source
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result
from tests.nodes import definition

JOB = definition("n", file="f.py")


def node(name: object) -> Node:
    return Node(definition=JOB, id=f"f.py::{name}")


def report(of: Node) -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=of.id, job="n", file="f.py", line=1), result=Result(outcome=Outcome.PASSED)
    )


class Graph(Source):
    """Hands out known lanes once the nodes they need have ended."""

    def __init__(self, needs: dict[str, set[str]], shares: dict[str, set[str]]) -> None:
        self.lanes = tuple(
            Lane(nodes=(node(name),), shares=frozenset(shares.get(name, ()))) for name in needs
        )
        self._waiting = {
            lane: {f"f.py::{each}" for each in needs[name]}
            for name, lane in zip(needs, self.lanes, strict=True)
        }
        self._over: set[str] = set()

    @property
    def is_over(self) -> bool:
        return not self._waiting

    def next(self) -> Lane | None:
        ready = next((lane for lane, needed in self._waiting.items() if needed <= self._over), None)
        if ready is not None:
            del self._waiting[ready]
        return ready

    def ended(self, node: Node, report: NodeReport) -> None:
        self._over.add(node.id)


class Adding(Source):
    """Adds so many nodes, each when the one before has ended."""

    def __init__(self, name: str, most: int) -> None:
        self.ahead = (Ahead(nodes=(node(name),), most=most),)
        self._name, self._count, self._is_free = name, 0, True

    @property
    def is_over(self) -> bool:
        return self._count == self.ahead[0].most

    def next(self) -> Lane | None:
        if self.is_over or not self._is_free:
            return None
        self._count, self._is_free = self._count + 1, False
        return Lane(nodes=(node(f"{self._name}[{self._count}]"),))

    def ended(self, node: Node, report: NodeReport) -> None:
        self._is_free = self._is_free or node.id.startswith(f"f.py::{self._name}[")


class WouldWait(Exception):
    """A slot has nothing to do now."""


def would_wait() -> None:
    raise WouldWait


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    names = [f"g{number}" for number in range(draw(st.integers(0, 8)))]
    needs = {
        name: draw(st.sets(st.sampled_from(names[:place]))) if place else set()
        for place, name in enumerate(names)
    }
    shares = {name: draw(st.sets(st.sampled_from("ab"), max_size=1)) for name in names}
    return needs, shares


@given(graphs(), st.integers(0, 4), st.integers(0, 3), st.integers(1, 4), st.randoms())
def test_slots_get_every_lane_once_and_in_an_order_that_holds(graph, added, plain, width, random) -> None:  # type: ignore[no-untyped-def]
    """Plain lanes, a graph and a source that adds nodes, carried out by slots whose lanes end in any order."""
    needs, shares = graph
    sources = (Graph(needs, shares), Adding("s", added))
    plan = Plan(lanes=tuple(Lane(nodes=(node(f"p{number}"),)) for number in range(plain)), sources=sources)
    lanes, ended = Lanes(plan, Stop()), set[str]()
    running: deque[Lane] = deque()
    begun: list[str] = []
    while True:
        try:
            lane = lanes.take(would_wait) if len(running) < width else would_wait()
        except WouldWait:
            random.shuffle(running)
            over = running.popleft()
            ended.add(over.nodes[0].id)
            lanes.ended(over.nodes[0], report(over.nodes[0]))
            lanes.done(over)
            continue
        if lane is None and not running:
            break
        if lane is None:  # the others finish
            over = running.popleft()
            lanes.ended(over.nodes[0], report(over.nodes[0]))
            lanes.done(over)
            continue
        name = lane.nodes[0].id.removeprefix("f.py::")
        assert {f"f.py::{each}" for each in needs.get(name, ())} <= ended
        assert all(lane.shares.isdisjoint(other.shares) for other in running)
        running.append(lane)
        begun.append(name)
    assert sorted(begun) == sorted(
        [*needs, *(f"p{n}" for n in range(plain)), *(f"s[{n + 1}]" for n in range(added))]
    )
    assert lanes.ahead == 0
    assert set(lanes.take_over()) == set(sources)


def test_a_source_that_waits_for_nothing_ends_the_run() -> None:
    stop = Stop()
    lanes = Lanes(Plan(lanes=(), sources=(Graph({"a": {"never"}}, {}),)), stop)
    assert lanes.take(would_wait) is None
    assert stop.level is StopLevel.DRAIN
    assert "Graph has no node to start" in stop.reason


class Wrong(Adding):
    """Hands out ``lane`` each time, or lanes without end."""

    is_over = False  # type: ignore[assignment]

    def __init__(self, lane: Any) -> None:
        super().__init__("s", 2)
        self._lane = lane

    def next(self) -> Lane | None:
        if isinstance(self._lane, BaseException):
            raise self._lane
        return super().next() if self._lane == "more" else self._lane  # type: ignore[no-any-return]


class Unpriced(Wrong):
    """Claims that its nodes are of a kind that was never priced."""

    def ahead_of(self, node: Node) -> Ahead:
        return Ahead(nodes=(node,), most=9)


@pytest.mark.parametrize(
    ("source", "handed", "sentence"),
    [
        (Wrong("more"), 2, "f.py::s[3] is one more than the 2 that it said it may add"),
        (Wrong(Lane(nodes=(node("s"),))), 1, "the run has a node f.py::s already"),
        (Wrong(Lane(nodes=(node("p"),))), 0, "the run has a node f.py::p already"),
        (Wrong(42), 0, "expected an rpd.values.plan.Lane of some nodes or None, got 42"),
        (Wrong(Lane(nodes=())), 0, "of some nodes"),
        (Wrong(KeyError("x")), 0, "Wrong.next: KeyError: 'x' ("),
        (Wrong(SystemExit(0)), 0, "Wrong.next: SystemExit: 0 ("),
        (Unpriced("more"), 0, "Unpriced.ahead_of: expected one of Unpriced.ahead"),
    ],
    ids=["more", "twice", "planned", "junk", "empty", "raises", "exits", "unpriced"],
)
def test_a_source_that_breaks_its_word_ends_the_run(source: Source, handed: int, sentence: str) -> None:
    """Nothing is started that was not priced, nor twice; the run has failed, and says whose doing it is."""
    stop = Stop()
    lanes = Lanes(Plan(lanes=(Lane(nodes=(node("p"),)),), sources=(source,)), stop)
    taken = 0
    while (lane := lanes.take(would_wait)) is not None:
        taken += 1
        lanes.ended(lane.nodes[0], report(lane.nodes[0]))
        lanes.done(lane)
    assert (taken, lanes.has_failed, stop.level) == (1 + handed, True, StopLevel.DRAIN)
    assert sentence in stop.reason


def test_a_stopped_run_hands_out_nothing() -> None:
    stop = Stop()
    lanes = Lanes(Plan(lanes=(Lane(nodes=(node("p"),)),), sources=(Adding("s", 3),)), stop)
    stop.request(StopLevel.DRAIN, "enough")
    assert lanes.take(would_wait) is None


def test_a_source_that_begins_anew_is_answered_with_what_is_done() -> None:
    """After a resume it may hand out finished nodes again: they end at once, as they did, and do not run twice."""
    of = Adding("s", 4)
    done = {f"f.py::s[{number}]": report(node(f"s[{number}]")) for number in (1, 2)}
    lanes = Lanes(Plan(lanes=(), sources=(of,)), Stop(), done)
    lane = lanes.take(would_wait)
    assert lane is not None
    assert [each.id for each in lane.nodes] == ["f.py::s[3]"]
    assert lanes.ahead == 1
