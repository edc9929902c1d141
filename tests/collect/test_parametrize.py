"""Parametrization: marks, fixtures and hooks, multiplied."""

from __future__ import annotations

import re

import pytest

from rpd.errors import UsageError
from rpd.values.fixture import Scope


def test_stacked_parametrizations_multiply_the_lowest_slowest(job_ids):
    """The mark nearest to the function comes first in the id and varies slowest."""
    body = "@rpd.job\n@rpd.mark.parametrize('seed', [42, 43])\n@rpd.mark.parametrize('backbone', ['deberta', 'roberta'])\ndef train(seed, backbone): ...\n"
    assert job_ids(body) == ["[deberta-seed42]", "[deberta-seed43]", "[roberta-seed42]", "[roberta-seed43]"]


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("'x, y', [(1, 'a'), (2, 'b')]", ["[x1-a]", "[x2-b]"]),
        ("['x', 'y'], [(1, 'a')]", ["[x1-a]"]),
        ("('x', 'y'), [rpd.param(1, 2, id='one')]", ["[one]"]),
        ("'x,y', iter([[1, None]])", ["[x1-yNone]"]),
        ("'x,y', [(0, 0), (1, 1)], ids=['zero', None]", ["[zero]", "[x1-y1]"]),
        ("argnames='x, y', argvalues=[(True, 0.1)]", ["[xTrue-y0.1]"]),
        ("'x,y', [rpd.param(1, 2, id=rpd.HIDDEN_PARAM), (3, 4)]", ["", "[x3-y4]"]),
        ("'x,y', [('', '')]", ["[-]"]),
    ],
)
def test_ways_to_write_a_parametrization(job_ids, mark, expected):
    """Names as text or sequence, values as any iterable, ids apart from or in the values."""
    assert job_ids(f"@rpd.job\n@rpd.mark.parametrize({mark})\ndef train(x, y): ...\n") == expected


def test_one_name_takes_each_value_whole(project):
    """With one name as a text a tuple is one value."""
    project.write({"deploy_x.py": "@rpd.job\n@rpd.mark.parametrize('x', [(1, 2)])\ndef train(x): ...\n"})
    (node,) = project.collect().nodes
    assert node.params == {"x": (1, 2)}
    assert node.id == "deploy_x.py::train[x0]"


@pytest.mark.parametrize("names", ["('x',)", "['x']", "'x,'", "' x , '"])
def test_one_name_in_a_sequence_or_with_a_comma_takes_tuples(names, project):
    """As in pytest: ``("x",)`` and ``"x,"`` unpack tuples of one value."""
    mark = f"@rpd.mark.parametrize({names}, [('a',), [(2, 3)], rpd.param('c')])"
    project.write({"deploy_x.py": f"@rpd.job\n{mark}\ndef train(x): ...\n"})
    assert [node.params["x"] for node in project.collect().nodes] == ["a", (2, 3), "c"]


def test_a_value_where_a_tuple_is_expected(project):
    """The error states the expected tuple, and how to write it."""
    project.write({"deploy_x.py": "@rpd.job\n@rpd.mark.parametrize(['x'], [1])\ndef train(x): ...\n"})
    (error,) = project.collect().errors
    assert (
        "expected a tuple of one value for ['x'], got 1; for values as they are write \"x\"" in error.message
    )
    assert (error.file, error.line) == ("deploy_x.py", 2)


def test_an_empty_text_is_an_id(job_ids):
    """An empty value keeps its brackets, as an empty id."""
    assert job_ids("@rpd.job\n@rpd.mark.parametrize('x', [''])\ndef train(x): ...\n") == ["[]"]


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("'nope', [1]", "In train: function uses no argument 'nope'"),
        ("'nope', [1], indirect=True", "In train: function uses no fixture 'nope'"),
        ("'x', [1], indirect=True", "In train: function uses no fixture 'x'"),
        ("'z', [1]", "In train: function already takes an argument 'z' with a default value"),
        (
            "'x,y', [(1, 2), (1,)]",
            "in \"parametrize\" the number of names (2):\nE     ['x', 'y']\nE   must be equal to the number of values (1):\nE     [1]",
        ),
        ("'x,y', [1]", "must be equal to the number of values (1):\nE     1"),
        ("'x', [rpd.param(1, 2)]", "must be equal to the number of values (2):\nE     [1, 2]"),
        ("'x', [1, 2], ids=['a']", "2 parameter sets specified, with different number of ids: 1"),
        ("'x,x', [(1, 2)]", "duplicate parametrization of 'x'"),
        ("'x', [1], indirect=['y']", "indirect fixture 'y' doesn't exist"),
        ("'x', [1], indirect='x'", "expected Sequence or boolean for indirect, got str: 'x'"),
        ("'x', 5", "parametrize: expected a sequence of values, got 5"),
        ("'x', 'abc'", "parametrize: expected a sequence of values, got 'abc'"),
        ("5, [1]", "parametrize: expected names of arguments, got 5"),
        (
            "'x', [1], scope='function'",
            "fixture.scope: expected one of job, module, worker, session, got 'function'",
        ),
        ("'x', [1, 1]", "Duplicate parametrization IDs detected"),
        ("'x', []", "Empty parameter set for (x)"),
    ],
)
def test_wrong_parametrizations_are_errors(project, mark, text):
    """Each mistake is reported at collection, with the function, its source and the names and values."""
    project.write({"deploy_x.py": f"@rpd.job\n@rpd.mark.parametrize({mark})\ndef train(x, y, z=1): ...\n"})
    error = project.error()
    assert text in error.message
    assert error.place == "deploy_x.py:2"
    assert "    def train(x, y, z=1): ..." in error.message.splitlines()


def test_parametrizing_a_name_twice_is_an_error(project):
    """Two marks for one argument contradict each other."""
    project.write(
        {
            "deploy_x.py": "@rpd.job\n@rpd.mark.parametrize('x', [1])\n@rpd.mark.parametrize('x', [2])\ndef train(x): ...\n"
        }
    )
    assert "duplicate parametrization of 'x'" in project.error().message


def test_ids_that_collide_when_joined_are_an_error(project):
    """``a-b`` and ``c`` next to ``a`` and ``b-c``: the joined ids count."""
    project.write(
        {
            "deploy_x.py": "@rpd.job\n@rpd.mark.parametrize('x', ['c', 'b-c'])\n@rpd.mark.parametrize('y', ['a-b', 'a'])\ndef train(x, y): ...\n"
        }
    )
    message = project.error().message
    assert re.search(r"Duplicates: +a-b-c", message)


def test_joined_ids_are_numbered_where_they_may_be(job_ids):
    """Without strictness joined ids stay unique too."""
    body = "@rpd.job\n@rpd.mark.parametrize('x', ['c', 'b-c'])\n@rpd.mark.parametrize('y', ['a-b', 'a'])\ndef train(x, y): ...\n"
    result = job_ids(body, strict_parametrization_ids=False)
    assert len(set(result)) == len(result) == 4


@pytest.mark.parametrize(
    ("choice", "mark"),
    [
        ("skip", {"reason": "got empty parameter set for (x)"}),
        ("xfail", {"reason": "got empty parameter set for (x)", "run": False}),
    ],
)
def test_an_empty_set_may_be_a_node_that_does_not_run(project, choice, mark):
    """``empty_parameter_set_mark`` makes it one skipped or expectedly failing node."""
    project.write({"deploy_x.py": "@rpd.job\n@rpd.mark.parametrize('x', [])\ndef train(x): ...\n"})
    (node,) = project.collect(empty_parameter_set_mark=choice).nodes
    assert node.id == "deploy_x.py::train[NOTSET]"
    assert node.mark(choice).kwargs == mark


def test_a_wrong_choice_for_empty_sets_is_a_usage_error(project):
    """The setting is checked when it is needed."""
    project.write({"deploy_x.py": "@rpd.job\n@rpd.mark.parametrize('x', [])\ndef train(x): ...\n"})
    with pytest.raises(
        UsageError, match="empty_parameter_set_mark: expected one of fail_at_collect, skip, xfail, got 'pass'"
    ):
        project.collect(empty_parameter_set_mark="pass")


# --- fixtures -------------------------------------------------------------------------------------------------------


def test_fixture_params_multiply_before_marks(job_ids):
    """A fixture's parameters come first in the id, no matter which function asks for it."""
    body = "@rpd.fixture(params=['p', 2], ids=[None, 'two'])\ndef fx(request): ...\n@rpd.fixture\ndef through(fx): ...\n@rpd.job\n@rpd.mark.parametrize('x', [1])\ndef train(through, x): ...\n"
    assert job_ids(body) == ["[p-x1]", "[two-x1]"]


def test_fixture_params_reach_the_node_as_such(project):
    """``fixture_params`` hold the value for ``request.param``; params may have ids and marks."""
    project.write(
        {
            "deploy_x.py": "@rpd.fixture(params=[1, rpd.param(2, id='two', marks=rpd.mark.skip)])\ndef fx(request): ...\n@rpd.job\ndef train(fx): ...\n"
        }
    )
    first, second = project.collect().nodes
    assert [node.name for node in (first, second)] == ["train[fx1]", "train[two]"]
    assert [node.fixture_params["fx"].value for node in (first, second)] == [1, 2]
    assert [node.params for node in (first, second)] == [{}, {}]
    assert second.mark("skip") is not None
    assert second.parameters == {"fx": 2}


def test_indirect_values_go_to_the_fixture(project):
    """``indirect`` names the arguments whose value is the fixture's ``request.param``; it replaces the fixture's own."""
    project.write(
        {
            "deploy_x.py": "@rpd.fixture(params=[7, 8])\ndef fx(request): ...\n@rpd.job\n@rpd.mark.parametrize('fx, x', [('a', 1), ('b', 2)], indirect=['fx'])\ndef train(fx, x): ...\n"
        }
    )
    nodes = project.collect().nodes
    assert [(node.name, node.params, node.fixture_params["fx"].value) for node in nodes] == [
        ("train[a-x1]", {"x": 1}, "a"),
        ("train[b-x2]", {"x": 2}, "b"),
    ]


def test_equal_indirect_values_share_a_key(project):
    """Values that are equal and of one type may share a live fixture, within a job and between jobs."""
    mark = "@rpd.mark.parametrize('fx', [1, True, 1.0, [1], (1,)], indirect=True)"
    project.write(
        {
            "deploy_x.py": f"@rpd.fixture(scope='session')\ndef fx(request): ...\n@rpd.job\n{mark}\ndef a(fx): ...\n@rpd.job\n{mark}\ndef b(fx): ...\n"
        }
    )
    nodes = project.collect().nodes
    keys = {node.name: node.fixture_params["fx"].key for node in nodes}
    shared = [
        case for case in ("fx1", "fxTrue", "fx1.0", "fx3", "fx4") if keys[f"a[{case}]"] == keys[f"b[{case}]"]
    ]
    assert shared == ["fx1", "fxTrue", "fx1.0", "fx3", "fx4"]
    assert len({keys[f"a[{case}]"] for case in ("fx1", "fxTrue", "fx1.0")}) == 3


def test_an_overridden_fixture_multiplies_as_far_as_it_is_asked_for(project):
    """The params of an overridden fixture count if the override asks for it, and not otherwise."""
    conftest = "@rpd.fixture(params=['a', 'b'])\ndef fx(request): ...\n"
    job = "@rpd.job\ndef train(fx): ...\n"
    project.write(
        {
            "conftest.py": conftest,
            "deploy_asks.py": "@rpd.fixture\ndef fx(fx): ...\n" + job,
            "deploy_not.py": "@rpd.fixture\ndef fx(): ...\n" + job,
        }
    )
    assert project.ids() == ["deploy_asks.py::train[a]", "deploy_asks.py::train[b]", "deploy_not.py::train"]


def test_a_direct_parameter_may_outlive_the_job(project):
    """``scope=`` makes the argument a fixture of that scope, so that wide fixtures can ask for it."""
    project.write(
        {
            "deploy_x.py": """
            @rpd.fixture(scope="module")
            def wide(size): ...

            @rpd.job
            @rpd.mark.parametrize("size", ["s", "m"], scope="module")
            def train(wide): ...
            """
        }
    )
    first, _ = project.collect().nodes
    closure = first.definition.closure
    size = closure.nearest("size")
    assert (closure.names, size.scope, size.argnames) == (("size", "wide"), Scope.MODULE, ("request",))
    assert first.fixture_params["size"].value == "s"


def test_the_scope_of_an_indirect_parametrization_overrides_the_fixtures(project):
    """``scope=`` with ``indirect`` widens the fixture for these nodes, as one definition for all jobs."""
    job = "@rpd.job\n@rpd.mark.parametrize('fx', [1], indirect=True, scope='session')\ndef {}(fx): ...\n"
    project.write(
        {
            "deploy_x.py": "@rpd.fixture\ndef fx(request): ...\n"
            + job.format("a")
            + job.format("b")
            + "@rpd.job\ndef c(fx): ...\n"
        }
    )
    a, b, c = (node.definition.closure.nearest("fx") for node in project.collect().nodes)
    assert a is b
    assert (a.scope, c.scope) == (Scope.SESSION, Scope.JOB)


def test_the_order_of_id_parts_is_module_hook_then_fixtures_then_plugins_then_marks(project):
    """The parts of an id stand in the order in which parametrizations are applied."""
    project.write(
        {
            "conftest.py": "def rpd_generate_nodes(metafunc):\n    metafunc.parametrize('g', ['conftest'])\n",
            "deploy_x.py": """
            def rpd_generate_nodes(metafunc):
                metafunc.parametrize("h", ["module"])
            @rpd.fixture(params=["fixture"])
            def fx(request): ...
            @rpd.job
            @rpd.mark.parametrize("a", ["mark"])
            def train(fx, a, g, h): ...
            """,
        }
    )
    assert project.ids() == ["deploy_x.py::train[module-fixture-conftest-mark]"]


def test_a_cell_may_have_marks(project):
    """``rpd.param(marks=…)`` marks one node; marks of several axes add up."""
    project.write(
        {
            "deploy_x.py": "@rpd.job\n@rpd.mark.parametrize('x', [rpd.param(1, marks=rpd.mark.skip), 2])\n@rpd.mark.parametrize('y', [rpd.param(3, marks=[rpd.mark.xfail])])\ndef train(x, y): ...\n"
        }
    )
    first, second = project.collect().nodes
    assert [mark.name for mark in first.marks] == ["xfail", "skip", "parametrize", "parametrize"]
    assert [mark.name for mark in second.marks] == ["xfail", "parametrize", "parametrize"]
