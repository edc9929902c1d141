"""The closure of a job: its set-ups, their order, and impossible combinations."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.collect.closure import make_closure
from rpd.collect.visible_fixtures import View
from rpd.values.fixture import FixtureDef, Scope
from rpd.values.mark import Location


def names(project, files, *args):
    project.write(files if isinstance(files, dict) else {"deploy_x.py": files})
    collection = project.collect(*args)
    assert [error.message for error in collection.errors] == []
    return list(collection.nodes[0].definition.closure.names)


def test_wider_scopes_first_then_autouse_then_dependencies(project):
    """Set-up goes from wide to narrow; autouse before asked-for within a scope.

    Each after the fixtures it asks for.
    """
    assert names(
        project,
        """
        @rpd.fixture
        def a(b): ...
        @rpd.fixture
        def b(wide): ...
        @rpd.fixture(scope="session")
        def wide(): ...
        @rpd.fixture(scope="module")
        def middle(): ...
        @rpd.fixture(scope="worker")
        def slot(): ...
        @rpd.fixture(autouse=True)
        def auto(c): ...
        @rpd.fixture
        def c(): ...
        @rpd.fixture(autouse=True, scope="module")
        def auto_module(): ...

        @rpd.job
        @rpd.mark.usefixtures("c")
        def train(a, middle, slot): ...
        """,
    ) == ["wide", "slot", "auto_module", "middle", "c", "auto", "b", "a"]


def test_autouse_applies_where_it_is_declared(project):
    """An autouse fixture of a file or folder is used by the jobs there, the outer ones first."""
    job = "@rpd.job\ndef train(): ...\n"
    auto = "@rpd.fixture(autouse=True)\ndef {}(): ...\n"
    project.write(
        {
            "conftest.py": auto.format("outer"),
            "a/conftest.py": auto.format("inner"),
            "a/deploy_x.py": auto.format("own") + job,
            "b/deploy_x.py": job,
        }
    )
    assert [list(node.definition.closure.names) for node in project.collect().nodes] == [
        ["outer", "inner", "own"],
        ["outer"],
    ]


def test_an_override_may_ask_for_the_one_before(project):
    """A fixture that asks for its own name means the one it overrides, along the whole chain."""
    fixture = "@rpd.fixture\ndef value(value, {0}): ...\n@rpd.fixture\ndef {0}(): ...\n"
    files = {
        "conftest.py": "@rpd.fixture\ndef value(root): ...\n@rpd.fixture\ndef root(): ...\n",
        "a/conftest.py": fixture.format("middle"),
        "a/deploy_x.py": fixture.format("near") + "@rpd.job\ndef train(value): ...\n",
    }
    assert names(project, files) == ["root", "middle", "near", "value"]
    (node,) = project.collect().nodes
    chain = node.definition.closure.definitions["value"]
    assert [each.location.file for each in chain] == ["conftest.py", "a/conftest.py", "a/deploy_x.py"]


def test_what_an_override_does_not_ask_for_is_not_needed(project):
    """An override that does not ask for its own name ends the chain."""
    files = {
        "conftest.py": "@rpd.fixture\ndef value(nope): ...\n",
        "deploy_x.py": "@rpd.fixture\ndef value(): ...\n@rpd.job\ndef train(value): ...\n",
    }
    assert names(project, files) == ["value"]


def test_a_directly_parametrized_argument_shadows_its_fixture(project):
    """The fixture of that name, and those that only it needs, are not part of the closure."""
    project.write(
        {
            "deploy_x.py": """
            @rpd.fixture
            def model(weights): ...
            @rpd.fixture
            def weights(): ...
            @rpd.fixture
            def trainer(model): ...

            @rpd.job
            @rpd.mark.parametrize("model", ["small"])
            def train(trainer): ...
            """
        }
    )
    (node,) = project.collect().nodes
    closure = node.definition.closure
    assert closure.names == ("model", "trainer")
    assert closure.nearest("model") is None
    assert node.params == {"model": "small"}


def test_what_is_visible_but_not_needed_can_be_found(project):
    """A job may ask for any fixture it sees while it runs; none of them is set up for that reason."""
    project.write({"deploy_x.py": "@rpd.fixture\ndef late(): ...\n@rpd.job\ndef train(request): ...\n"})
    (node,) = project.collect().nodes
    closure = node.definition.closure
    assert closure.names == ()
    assert [closure.chain(name)[-1].name for name in ("late", "pod")] == ["late", "pod"]


# --- errors ---------------------------------------------------------------------------------------------------------


def test_an_unknown_fixture_is_told_with_everything_needed_to_mend_it(project):
    """Place, source, the missing name, the available ones, and the likely one."""
    project.write(
        {"deploy_x.py": "@rpd.fixture\ndef _private(): ...\n@rpd.job\ndef train(staged_dri): ...\n"}
    )
    error = project.error()
    assert error.place == "deploy_x.py:4"
    assert error.message.splitlines() == [
        "file deploy_x.py, line 4",
        "  @rpd.job",
        "  def train(staged_dri): ...",
        "E       fixture 'staged_dri' not found",
        ">       available fixtures: gpu, pod, request, staged_dir, variables",
        ">       did you mean 'staged_dir'?",
        ">       use 'rpd fixtures [PATH]' for help on them.",
        "",
        "deploy_x.py:4",
    ]


def test_an_unknown_fixture_of_a_fixture_shows_the_way_to_it(project):
    """Each function from the job to the one that asks is shown."""
    project.write(
        {
            "conftest.py": "@rpd.fixture\ndef data(nope): ...\n",
            "deploy_x.py": "@rpd.job\ndef train(data): ...\n",
        }
    )
    error = project.error()
    assert error.place == "conftest.py:2"
    lines = error.message.splitlines()
    assert lines[0] == "file deploy_x.py, line 2"
    assert lines[3] == "file conftest.py, line 2"
    assert "E       fixture 'nope' not found" in lines


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "@rpd.fixture\ndef narrow(): ...\n@rpd.fixture(scope='session')\ndef wide(narrow): ...\n@rpd.job\ndef train(wide): ...\n",
            "ScopeMismatch: session scoped fixture 'wide' (deploy_x.py:4) asks for the job scoped fixture 'narrow' (deploy_x.py:2)",
        ),
        (
            "@rpd.fixture(scope='module')\ndef wide(lr): ...\n@rpd.job\n@rpd.mark.parametrize('lr', [1])\ndef train(wide): ...\n",
            "ScopeMismatch: module scoped fixture 'wide' (deploy_x.py:2) asks for the job scoped parameter 'lr'",
        ),
        (
            "@rpd.fixture\ndef a(b): ...\n@rpd.fixture\ndef b(a): ...\n@rpd.job\ndef train(b): ...\n",
            "recursive dependency involving fixture 'b' detected: b -> a -> b",
        ),
        (
            "@rpd.fixture\ndef a(a): ...\n@rpd.job\ndef train(a): ...\n",
            "recursive dependency involving fixture 'a' detected: it asks for its own name",
        ),
        ("@rpd.job\n@rpd.mark.usefixtures('podd')\ndef train(): ...\n", "fixture 'podd' not found"),
        (
            "@rpd.fixture(autouse=True)\ndef auto(nope): ...\n@rpd.job\ndef train(): ...\n",
            "fixture 'nope' not found",
        ),
    ],
)
def test_closures_that_cannot_be_are_errors(project, body, text):
    """Unknown fixtures, rings and scope mismatches are found before anything runs."""
    project.write({"deploy_x.py": body})
    assert text in project.error().message


def test_the_request_is_always_there(project):
    """``request`` needs no fixture and is none, whatever the scope of who asks."""
    assert names(
        project, "@rpd.fixture(scope='session')\ndef a(request): ...\n@rpd.job\ndef train(request, a): ...\n"
    ) == ["a"]


# --- any graph ------------------------------------------------------------------------------------------------------


def _fixture(name, scope, argnames, *, autouse=False):
    def function(): ...

    return FixtureDef(
        name=name,
        function=function,
        scope=scope,
        argnames=tuple(argnames),
        location=Location("deploy_x.py", 1),
        autouse=autouse,
    )


@st.composite
def graphs(draw):
    """Return fixtures without rings or mismatches (each asks for earlier, not narrower ones) and the names asked for."""
    fixtures = []
    for index in range(draw(st.integers(1, 12))):
        scope = draw(st.sampled_from(list(Scope)))
        wider = [each.name for each in fixtures if each.scope >= scope]
        asked = draw(st.lists(st.sampled_from(wider), unique=True, max_size=4)) if wider else []
        fixtures.append(_fixture(f"f{index}", scope, asked, autouse=draw(st.booleans())))
    order = draw(st.permutations([each.name for each in fixtures]))
    return {each.name: each for each in fixtures}, order[: draw(st.integers(0, len(order)))]


@given(graphs())
def test_any_closure_respects_scopes_and_dependencies(graph):
    """Whatever the graph: nothing missing, nothing superfluous, wide before narrow, dependencies before dependents."""
    fixtures, asked = graph
    autouse = [name for name, each in fixtures.items() if each.autouse]
    view = View(definitions={name: (each,) for name, each in fixtures.items()}, autouse=tuple(autouse))
    closure = make_closure(lambda: None, [*autouse, *asked], view, direct=(), rootdir=Path("/"))
    needed, todo = set(), [*autouse, *asked]
    while todo:
        name = todo.pop()
        needed.add(name)
        todo += fixtures[name].argnames
    assert set(closure.names) == needed
    assert len(closure.names) == len(needed)
    scopes = [fixtures[name].scope for name in closure.names]
    assert scopes == sorted(scopes, reverse=True)
    place = {name: index for index, name in enumerate(closure.names)}
    assert all(place[needs] < place[name] for name in closure.names for needs in fixtures[name].argnames)
    effectively_autouse, todo = set(), list(autouse)
    while todo:
        name = todo.pop()
        effectively_autouse.add(name)
        todo += fixtures[name].argnames
    for first, second in zip(closure.names, closure.names[1:], strict=False):
        if fixtures[first].scope is fixtures[second].scope and second in autouse:
            assert first in effectively_autouse
