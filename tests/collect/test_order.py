"""Regrouping: nodes that share a wide parameter stand together."""

from __future__ import annotations

from itertools import groupby
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from rpd.collect.order import regroup
from rpd.values.fixture import Closure, FixtureDef, Scope
from rpd.values.job import Job
from rpd.values.mark import Location
from rpd.values.node import Definition, FixtureParam, Node


def test_nodes_are_grouped_by_the_parameter_of_a_wide_fixture(project):
    """All nodes of one session parameter run before those of the next; what needs none stays in place."""
    project.write(
        {
            "conftest.py": "@rpd.fixture(scope='session', params=['A', 'B'])\ndef data(request): ...\n",
            "deploy_a.py": "@rpd.job\ndef one(data): ...\n@rpd.job\ndef plain(): ...\n",
            "deploy_b.py": "@rpd.job\ndef two(data): ...\n",
        }
    )
    assert [each.partition("::")[2] for each in project.ids()] == [
        "one[A]",
        "two[A]",
        "one[B]",
        "two[B]",
        "plain",
    ]


def test_a_job_scoped_parameter_moves_nothing(project):
    """Fixtures made anew for each node do not regroup."""
    project.write(
        {
            "deploy_a.py": "@rpd.fixture(params=['A', 'B'])\ndef data(request): ...\n@rpd.job\ndef one(data): ...\n@rpd.job\ndef two(data): ...\n"
        }
    )
    assert [each.partition("::")[2] for each in project.ids()] == ["one[A]", "one[B]", "two[A]", "two[B]"]


def test_a_sweep_over_variables_keeps_its_order(project):
    """The values of a variable cost nothing to set up: nothing is moved to spare that."""
    project.write(
        {
            "deploy_a.py": "import rpd\na = rpd.variable(default=0)\nb = rpd.variable(default=0)\n@rpd.job\ndef one(a, b): ...\n"
        }
    )
    ids = project.ids(sweep=(("a", ("1", "2")), ("b", ("1", "2"))))
    assert ids == [f"deploy_a.py::one[a{a}-b{b}]" for a in (1, 2) for b in (1, 2)]


def test_the_widest_fixture_groups_first(project):
    """Within a session parameter the module parameters are grouped, as set-up order demands."""
    project.write(
        {
            "deploy_a.py": """
            @rpd.fixture(scope="module", params=["m1", "m2"])
            def inner(request): ...
            @rpd.fixture(scope="session", params=["s1", "s2"])
            def outer(request): ...
            @rpd.job
            def one(inner, outer): ...
            @rpd.job
            def two(inner, outer): ...
            """
        }
    )
    order = [("s1", "m1"), ("s1", "m2"), ("s2", "m2"), ("s2", "m1")]
    assert [each.partition("::")[2] for each in project.ids()] == [
        f"{job}[{outer}-{inner}]" for outer, inner in order for job in ("one", "two")
    ]


def test_jobs_that_name_their_fixtures_in_different_orders_are_grouped_alike(project):
    """One order of grouping holds for all jobs, and a group goes on with the value that was set up last."""
    project.write(
        {
            "deploy_a.py": """
            @rpd.fixture(scope="module", params=["a1", "a2"])
            def a(request): ...
            @rpd.fixture(scope="module", params=["b1", "b2"])
            def b(request): ...
            @rpd.job
            def one(a, b): ...
            @rpd.job
            def two(b, a): ...
            """
        }
    )
    order = [("a1", "b1"), ("a1", "b2"), ("a2", "b2"), ("a2", "b1")]
    assert [each.partition("::")[2] for each in project.ids()] == [
        name for a, b in order for name in (f"one[{a}-{b}]", f"two[{b}-{a}]")
    ]


def test_a_module_parameter_groups_within_its_file_only(project):
    """Files stay together: a module's fixture is not shared between files."""
    job = "@rpd.job\ndef one(data): ...\n@rpd.job\ndef two(data): ...\n"
    project.write(
        {
            "conftest.py": "@rpd.fixture(scope='module', params=[1, 2])\ndef data(request): ...\n",
            "deploy_a.py": job,
            "deploy_b.py": job,
        }
    )
    assert project.ids() == [
        f"deploy_{file}.py::{name}[data{n}]" for file in "ab" for n in (1, 2) for name in ("one", "two")
    ]


def _function(): ...


WIDE = FixtureDef(
    name="wide", function=_function, scope=Scope.SESSION, argnames=(), location=Location("x.py", 1)
)
DEFINITION = Definition(
    name="job",
    file="x.py",
    line=1,
    function=_function,
    job=Job(),
    argnames=("wide",),
    closure=Closure(names=("wide",), definitions={"wide": (WIDE,)}),
    keywords=frozenset(),
    module=SimpleNamespace(),
)


def node(index: int, key: int | None) -> Node:
    params = {} if key is None else {"wide": FixtureParam(key=key, value=key)}
    return Node(definition=DEFINITION, id=str(index), fixture_params=params)


def key_of(node: Node) -> object:
    held = node.fixture_params.get("wide")
    return None if held is None else held.key


@given(st.lists(st.none() | st.integers(0, 4), max_size=40))
def test_each_parameter_is_set_up_once_and_order_is_kept(keys):
    """Whatever the order: nothing lost, one run of nodes for each parameter, stable within it."""
    nodes = [node(index, key) for index, key in enumerate(keys)]
    ordered = regroup(nodes)
    assert sorted(each.id for each in ordered) == sorted(each.id for each in nodes)
    runs = [key for key, _ in groupby(key_of(each) for each in ordered) if key is not None]
    alive = [key for key, _ in groupby(key for key in map(key_of, ordered) if key is not None)]
    assert len(runs) == len(alive) == len({key for key in keys if key is not None})
    for key in set(keys):
        assert [int(each.id) for each in ordered if key_of(each) == key] == [
            i for i, held in enumerate(keys) if held == key
        ]


@given(st.lists(st.none() | st.integers(0, 4), max_size=40))
def test_regrouping_twice_changes_nothing(keys):
    """A grouped order is stable."""
    once = regroup([node(index, key) for index, key in enumerate(keys)])
    assert regroup(once) == once
