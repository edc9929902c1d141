"""Regrouping: nodes that share a wide parameter stand together."""

from __future__ import annotations

from itertools import groupby
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.collect.order import regroup
from rpd.values.fixture import Closure, FixtureDef, Scope
from rpd.values.mark import Location
from rpd.values.node import FixtureParam, Node
from tests.nodes import definition


def test_nodes_are_grouped_by_the_parameter_of_a_wide_fixture(project):
    """All nodes of one session parameter run before those of the next; nodes without one stay in place."""
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
    """One order of grouping holds for all jobs, and a group continues with the value that was set up last."""
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


ODD = """
class Raises:
    def __eq__(self, other): raise ValueError("not with me")
    __hash__ = object.__hash__
class Array:
    def __hash__(self): return 7
    def __eq__(self, other): return Truth()
class Truth:
    def __bool__(self): raise ValueError("ambiguous")
class Unprintable(list):
    def __repr__(self): raise RuntimeError
"""
INDIRECT = """
@rpd.fixture(scope={scope!r})
def data(request): ...
@rpd.job
@rpd.mark.parametrize("data", {values}, indirect=True, ids={ids})
def one(data): ...
@rpd.job
@rpd.mark.parametrize("data", {values}, indirect=True, ids={ids})
def two(data): ...
"""


@pytest.mark.parametrize("scope", ["session", "module"])
@pytest.mark.parametrize(
    ("values", "is_shared"),
    [
        ("[[1], [2]]", True),
        ("[{'lr': 1}, {'lr': 2}]", True),
        ("['a', 'b']", True),
        ("[Raises(), Raises()]", False),
        ("[Array(), Array()]", False),
        ("[Unprintable([1]), Unprintable([2])]", True),
        ("[float('nan'), object()]", False),
    ],
)
def test_values_of_any_kind_are_grouped_if_they_are_equal(project, scope, values, is_shared):
    """Values without a hash, or whose comparison raises, end no collection; equal ones share a set-up, as in pytest."""
    project.write({"deploy_a.py": ODD + INDIRECT.format(scope=scope, values=values, ids=["i", "j"])})
    shared = ["one[i]", "two[i]", "one[j]", "two[j]"]
    apart = ["one[i]", "one[j]", "two[i]", "two[j]"]
    assert [each.partition("::")[2] for each in project.ids()] == (shared if is_shared else apart)


@pytest.mark.parametrize("scope", ["session", "module"])
def test_wide_arguments_group_too(project, scope):
    """``parametrize(..., scope=...)`` groups the jobs of a file, of all files if it is the session's."""
    mark = f"@rpd.mark.parametrize('x', [1, 2], scope={scope!r})"
    text = "".join(f"@rpd.job\n{mark}\ndef {name}(x): ...\n" for name in ("one", "two"))
    project.write({"deploy_a.py": text, "deploy_b.py": text})
    places = [(file, x) for x in (1, 2) for file in "ab"]
    if scope == "module":
        places.sort()
    assert project.ids() == [f"deploy_{file}.py::{job}[x{x}]" for file, x in places for job in ("one", "two")]


def test_a_parameter_of_a_narrower_scope_may_feed_a_wide_fixture(project):
    """Values that rest on it end with each of its values; that is no mismatch of scopes, as in pytest."""
    project.write(
        {
            "deploy_a.py": """
            @rpd.fixture(scope="session")
            def data(request): return request.param
            @rpd.fixture(scope="session")
            def model(data): return data
            @rpd.fixture(scope="session")
            def other(): ...
            @rpd.job
            @rpd.mark.parametrize("data", [1, 2], indirect=True, scope="job")
            def one(model, other): ...
            @rpd.job
            @rpd.mark.parametrize("data", [1, 2], indirect=True, scope="module")
            def two(model, other): ...
            """
        }
    )
    nodes = project.collect().nodes
    scopes = {
        node.definition.name: {
            name: node.definition.closure.nearest(name).scope for name in ("data", "model", "other")
        }
        for node in nodes
    }
    assert scopes["one"] == {"data": Scope.JOB, "model": Scope.JOB, "other": Scope.SESSION}
    assert scopes["two"] == {"data": Scope.MODULE, "model": Scope.MODULE, "other": Scope.SESSION}


def _function(): ...


WIDE = FixtureDef(
    name="wide", function=_function, scope=Scope.SESSION, argnames=(), location=Location("x.py", 1)
)
DEFINITION = definition(
    "job",
    file="x.py",
    function=_function,
    argnames=("wide",),
    closure=Closure(names=("wide",), definitions={"wide": (WIDE,)}),
    module=SimpleNamespace(),
)


def node(index: int, key: int | None) -> Node:
    params = {} if key is None else {"wide": FixtureParam(key=key, value=key)}
    return Node(definition=DEFINITION, id=str(index), fixture_params=params)


def key_of(node: Node) -> object:
    param = node.fixture_params.get("wide")
    return None if param is None else param.key


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
            i for i, this in enumerate(keys) if this == key
        ]


@given(st.lists(st.none() | st.integers(0, 4), max_size=40))
def test_regrouping_twice_changes_nothing(keys):
    """A grouped order is stable."""
    once = regroup([node(index, key) for index, key in enumerate(keys)])
    assert regroup(once) == once
