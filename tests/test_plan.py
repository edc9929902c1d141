"""The plan: every node once, in order, and nodes that share a pod in one lane."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rpd.plan import PROVISION, make_plan, uses_pod
from rpd.values.fixture import Closure, FixtureDef, Scope
from rpd.values.job import Gpu, Job
from rpd.values.mark import Location, Mark
from rpd.values.node import Definition, FixtureParam, Node

HERE = Location("deploy_x.py", 1)


def fixture(name: str, scope: Scope, *needs: str) -> FixtureDef:
    return FixtureDef(name=name, function=lambda: None, scope=scope, argnames=needs, location=HERE)


PROVISIONER = fixture(PROVISION, Scope.SESSION)
HOLDERS = {scope: fixture(f"pod_{scope.label}", scope, PROVISION) for scope in Scope}


def node(
    name: str, *scopes: Scope, file: str = "deploy_x.py", params: dict[str, Any] | None = None,
    slots: int = 0, gpus: int = 1, pod: bool = True,
) -> Node:  # fmt: skip
    """Return a node that holds a pod of each of ``scopes``."""
    fixtures = [*([PROVISIONER] if pod else []), *(HOLDERS[scope] for scope in scopes)]
    names = tuple(each.name for each in fixtures)
    return Node(
        definition=Definition(
            name=name, file=file, line=1, function=lambda: None, job=Job(gpu=Gpu("NVIDIA L4", count=gpus)),
            argnames=names, closure=Closure(names=names, definitions={each.name: (each,) for each in fixtures}),
            keywords=frozenset(),
        ),
        id=f"{file}::{name}",
        fixture_params={key: FixtureParam(key=value, value=value) for key, value in (params or {}).items()},
        marks=(Mark("slots", (), {"gpu": slots}),) if slots else (),
    )  # fmt: skip


def lanes(*nodes: Node) -> list[list[str]]:
    made = make_plan(nodes, width=1, worst_case=lambda _: 1.0)
    return [[each.definition.name for each in lane.nodes] for lane in made.lanes]


NODES = st.lists(
    st.tuples(st.sets(st.sampled_from(Scope), max_size=3), st.sampled_from("ab"), st.integers(0, 1)),
    max_size=10,
).map(
    lambda drawn: [
        node(
            f"n{number}",
            *sorted(scopes),
            file=f"deploy_{file}.py",
            params={"pod_session": param, "pod_module": param},
        )
        for number, (scopes, file, param) in enumerate(drawn)
    ]
)


def shared(one: Node, other: Node) -> bool:
    """Whether two nodes hold one and the same pod of module or session scope."""
    names = set(one.definition.closure.names) & set(other.definition.closure.names)
    if (
        "pod_session" in names
        and one.fixture_params["pod_session"].key == other.fixture_params["pod_session"].key
    ):
        return True
    return (
        "pod_module" in names
        and one.file == other.file
        and one.fixture_params["pod_module"].key == other.fixture_params["pod_module"].key
    )


@given(NODES, st.integers(1, 4))
def test_every_node_is_planned_once_in_order(nodes: list[Node], width: int) -> None:
    """Each node is in one lane; within a lane, and of the lanes' first nodes, the order is the one given."""
    plan = make_plan(nodes, width=width, worst_case=lambda _: 0.5)
    order = {each.id: place for place, each in enumerate(nodes)}
    assert sorted(order[each.id] for each in plan.nodes) == list(range(len(nodes)))
    for lane in plan.lanes:
        places = [order[each.id] for each in lane.nodes]
        assert places == sorted(places)
    firsts = [order[lane.nodes[0].id] for lane in plan.lanes]
    assert firsts == sorted(firsts)
    assert plan.width == width
    assert plan.worst_case_usd == 0.5 * len(nodes)


@given(NODES)
def test_a_shared_pod_is_in_one_lane(nodes: list[Node]) -> None:
    """Nodes on one pod are in one lane, so that they never overlap; nodes that share nothing are not bound together."""
    plan = make_plan(nodes, width=1, worst_case=lambda _: None)
    for one in nodes:
        for other in nodes:
            if shared(one, other):
                assert any(one in lane.nodes and other in lane.nodes for lane in plan.lanes)
    for lane in plan.lanes:
        linked = {lane.nodes[0]}
        while grown := {a for a in lane.nodes if a not in linked and any(shared(a, b) for b in linked)}:
            linked |= grown
        assert linked == set(lane.nodes)


def test_narrow_pods_bind_nobody() -> None:
    """Pods of job and worker scope leave each node a separate lane."""
    assert lanes(node("a", Scope.JOB), node("b", Scope.WORKER), node("c", Scope.WORKER)) == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_a_late_link_joins_lanes() -> None:
    """A node that holds two shared pods brings the nodes of both into one lane."""
    one = node("a", Scope.MODULE, file="deploy_a.py")
    two = node("b", Scope.SESSION, file="deploy_b.py")
    both = node("c", Scope.MODULE, Scope.SESSION, file="deploy_a.py")
    assert lanes(one, node("x"), two, both) == [["a", "b", "c"], ["x"]]


def test_nodes_that_take_some_gpus_work_side_by_side() -> None:
    """Nodes marked ``slots`` on one pod of four GPUs have two places of two GPUs; one unmarked node makes it one place."""
    marked = [node(name, Scope.SESSION, slots=2, gpus=4) for name in "abc"]
    [lane] = make_plan(marked, width=1, worst_case=lambda _: None).lanes
    assert (lane.places, lane.gpus_each) == (2, 2)
    [lane] = make_plan([*marked, node("d", Scope.SESSION, gpus=4)], width=1, worst_case=lambda _: None).lanes
    assert (lane.places, lane.gpus_each) == (1, 0)


def test_only_nodes_with_a_pod_use_one() -> None:
    """A node uses a pod if anything it needs can rent one."""
    assert uses_pod(node("a", Scope.JOB))
    assert not uses_pod(node("b", pod=False))
