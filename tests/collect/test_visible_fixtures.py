"""Fixtures as they are found."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import rpd
from rpd.collect.visible_fixtures import ReadVariable
from rpd.errors import UsageError
from rpd.hooks import register
from rpd.values.fixture import Scope


def found(project, body, name="value"):
    """Return the definition of ``name`` that a job in a file with that body sees."""
    project.write({"deploy_x.py": body + f"\n@rpd.job\ndef train({name}): ...\n"})
    collection = project.collect()
    assert [error.message for error in collection.errors] == []
    return collection.nodes[0].definition.closure.nearest(name)


def test_a_fixture_definition_says_what_was_declared(project):
    """Scope, arguments without default, place and kind come from the function."""
    fixture = found(
        project,
        "@rpd.fixture(scope='module')\ndef value(gpu_name, *, variables, n=1):\n    yield 1\n@rpd.fixture(scope='session')\ndef gpu_name(): ...",
    )
    assert (fixture.scope, fixture.argnames, fixture.is_generator) == (
        Scope.MODULE,
        ("gpu_name", "variables"),
        True,
    )
    assert (str(fixture.location), fixture.baseid) == ("deploy_x.py:2", "deploy_x.py")


def test_a_fixture_may_have_another_name_than_its_function(project):
    """``name=`` is the name that is asked for."""
    assert (
        found(project, "@rpd.fixture(name='value')\ndef make_value(): ...").function.__name__ == "make_value"
    )


def test_an_imported_fixture_is_a_fixture_of_the_file(project):
    """Fixtures may live in a helper and be imported where they are wanted."""
    project.write({"common.py": "@rpd.fixture\ndef value(): ...\n"})
    assert found(project, "import rpd\nfrom common import value\n").location.file == "common.py"


def test_plugins_bring_fixtures_as_modules_and_as_instances(project):
    """Fixtures are found in whatever is registered, methods included."""

    class Plugin:
        @rpd.fixture
        def value(self, gpu):
            return 7

    register(project.manager, Plugin(), "plugin")
    fixture = found(project, "")
    assert (fixture.argnames, fixture.baseid, fixture.function(gpu=None)) == (("gpu",), "", 7)


def test_a_later_plugin_overrides_an_earlier_one(project):
    """Of two plugins the one registered later is nearer."""

    def plugin(result):
        @rpd.fixture
        def value():
            return result

        return SimpleNamespace(value=value)

    for result in (1, 2):
        register(project.manager, plugin(result), f"plugin{result}")
    assert found(project, "").function() == 2


def test_a_scope_may_be_computed(project):
    """A function of fixture name and configuration gives the scope."""
    body = "def wide(*, fixture_name, config):\n    return 'session' if config.run.width == 1 else fixture_name\n@rpd.fixture(scope=wide)\ndef value(): ..."
    assert found(project, body).scope is Scope.SESSION


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("@rpd.fixture\ndef request(): ...", "'request' is a reserved word for fixtures, use another name"),
        ("@rpd.fixture\nclass value: ...", "class fixtures not supported"),
        ("@rpd.fixture\nasync def value(): ...", "fixture 'value' is async"),
        ("@rpd.fixture\n@rpd.mark.skip\ndef value(): ...", "marks applied to fixtures have no effect"),
        (
            "@rpd.fixture(scope=lambda **_: 'wide')\ndef value(): ...",
            "expected one of job, module, worker, session, got 'wide'",
        ),
        ("@rpd.fixture(scope=lambda: 'job')\ndef value(): ...", "while defining fixture 'value'"),
        (
            "@rpd.fixture(scope='function')\ndef value(): ...",
            "fixture.scope: expected one of job, module, worker, session, got 'function'",
        ),
    ],
)
def test_wrong_fixtures_are_errors_with_their_place(project, body, text):
    """A wrong fixture is reported once, at its declaration."""
    project.write({"deploy_x.py": body + "\n"})
    error = project.error()
    assert text in error.message
    assert error.file == "deploy_x.py"
    assert error.line in (2, 3)


def test_a_job_cannot_be_a_fixture(project):
    """A function that is both gets an error that says so."""
    project.write({"deploy_x.py": "@rpd.job\n@rpd.fixture\ndef value(): ...\n"})
    assert {"'value' is both a job and a fixture" in error.message for error in project.collect().errors} == {
        True
    }


def test_who_asks_for_a_wrong_fixture_is_sent_to_its_error(project):
    """A wrong fixture is not called unknown."""
    project.write({"deploy_x.py": "@rpd.fixture\nasync def value(): ...\n@rpd.job\ndef train(value): ...\n"})
    first, second = project.collect().errors
    assert "is async" in first.message
    assert "fixture 'value' has an error in its declaration" in second.message


def test_all_fixtures_are_part_of_the_collection(project):
    """``rpd fixtures`` sees the fixtures of plugins, conftests and files."""
    project.write(
        {"conftest.py": "@rpd.fixture\ndef one(): ...\n", "a/deploy_x.py": "@rpd.fixture\ndef two(): ...\n"}
    )
    seen = [(each.baseid, each.name) for each in project.collect().fixtures]
    assert seen == [
        ("", "gpu"),
        ("", "pod"),
        ("", "staged_dir"),
        ("", "variables"),
        ("", "one"),
        ("a/deploy_x.py", "two"),
    ]


def test_odd_objects_in_a_namespace_are_left_alone(project):
    """Objects that answer to every attribute are neither fixtures nor jobs."""
    project.write(
        {
            "deploy_x.py": "from unittest.mock import MagicMock, call\nodd = MagicMock()\nclass Angry:\n    def __getattr__(self, name):\n        raise RuntimeError(name)\nangry = Angry()\n@rpd.job\ndef train(): ...\n"
        }
    )
    assert project.ids() == ["deploy_x.py::train"]


# --- variables ------------------------------------------------------------------------------------------------------


def test_a_variable_is_a_session_fixture_that_reads_the_variables(project):
    """``rpd.variable`` declares a fixture of the name it is bound to."""
    fixture = found(project, "other = 1\nvalue = rpd.variable(default=0.5)")
    assert (fixture.scope, fixture.argnames, str(fixture.location)) == (
        Scope.SESSION,
        ("variables",),
        "deploy_x.py:3",
    )
    assert fixture.function(variables={}) == 0.5


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        (rpd.variable(default=0.1), "0.5", 0.5),
        (rpd.variable(default=0.1), 1, 1.0),
        (rpd.variable(default=3), "7", 7),
        (rpd.variable(default=False), "yes", True),
        (rpd.variable(default=None), "text", "text"),
        (rpd.variable(type=int), "7", 7),
        (rpd.variable(default=(), type=lambda text: text.split(",")), "a,b", ["a", "b"]),
        (rpd.variable(default=()), ["from", "a", "file"], ["from", "a", "file"]),
    ],
)
def test_text_is_converted_to_the_variables_type(declared, given, expected):
    """Text of the command line gets the type declared or that of the default; typed values of files stay."""
    value = ReadVariable("lr", declared)(variables={"lr": given})
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("declared", "given", "text"),
    [
        (rpd.variable(), {}, "variable 'lr' has no value: set it with --var lr=VALUE"),
        (rpd.variable(default=0.1), {"lr": "fast"}, "variable 'lr': expected float, got 'fast'"),
        (rpd.variable(default=True), {"lr": "maybe"}, "variable 'lr': expected boolean, got 'maybe'"),
    ],
)
def test_a_variable_without_a_usable_value_is_a_usage_error(declared, given, text):
    """The message names the variable, the expected type and the given value."""
    with pytest.raises(UsageError, match=text.replace("(", r"\(")):
        ReadVariable("lr", declared)(variables=given)


WRONG = {
    "a direct call in a job": (
        """
        @rpd.fixture
        def data(): return 1
        @rpd.job
        def train():
            x = 1
            return data()
        """,
        "deploy_x.py", 7, "fixture 'data' called directly",
    ),
    "a direct call in a fixture, in a comprehension": (
        """
        @rpd.fixture
        def data(n): return 1
        @rpd.fixture
        def more():
            return [data(n) for n in (1, 2)]
        """,
        "deploy_x.py", 6, "fixture 'data' called directly",
    ),
    "a fixture called request": (
        "@rpd.fixture\ndef request(): ...\n", "deploy_x.py", 2, "'request' is a reserved word for fixtures"
    ),
    "a fixture named request": (
        "@rpd.fixture(name='request')\ndef other(): ...\n", "deploy_x.py", 2, "'request' is a reserved word"
    ),
    "a variable called request": (
        "request = rpd.variable()\n", "deploy_x.py", 2, "'request' is a reserved word for variables"
    ),
    "a ring": (
        """
        @rpd.fixture
        def one(two): ...
        @rpd.fixture
        def two(one): ...
        @rpd.job
        def train(one): ...
        """,
        "deploy_x.py", 4, "recursive dependency involving fixture 'one' detected: one -> two -> one",
    ),
    "a wrong scope": (
        "@rpd.fixture(scope='function')\ndef data(): ...\n", "deploy_x.py", 2, "'function'"
    ),
    "a wrong scope of a parameter": (
        "@rpd.job\n@rpd.mark.parametrize('x', [1], scope='package')\ndef train(x): ...\n",
        "deploy_x.py", 2, "'package'",
    ),
    "a condition that is no expression": (
        "@rpd.job\n@rpd.mark.skipif('1 +')\ndef train(): ...\n", "deploy_x.py", 2, "'1 +'"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "file", "line", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_fixture_is_told_with_its_place(project, text, file, line, message):
    """File, line and the word that is wrong."""
    project.write({"deploy_x.py": text})
    error = project.error()
    assert (error.file, error.line) == (file, line)
    assert message in error.message
    assert f"{file}:{line}" in error.message


def test_naming_a_fixture_is_not_calling_it(project):
    """Passing a fixture on, shadowing it or calling it as a method is no mistake."""
    project.write(
        {
            "deploy_x.py": """
            @rpd.fixture
            def data(): return 1
            @rpd.job
            def one(data): return data
            @rpd.job
            def two():
                data = dict
                return data()
            @rpd.job
            def three(pod): return pod.data(data)
            """
        }
    )
    assert len(project.collect().nodes) == 3


ODD = """
class Odd:
    def __getattribute__(self, name): raise RuntimeError(name)
    def __bool__(self): raise RuntimeError
    def __eq__(self, other): raise RuntimeError
    __hash__ = None
odd = Odd()
pytest = Odd()
"""


def test_objects_that_raise_on_every_attribute_are_passed_over(project):
    """Whatever a deploy file or conftest holds besides jobs and fixtures is ignored."""
    project.write({"conftest.py": ODD, "deploy_x.py": f"{ODD}rpd_odd = Odd()\n@rpd.job\ndef train(): ...\n"})
    collection = project.collect()
    assert (collection.errors, len(collection.nodes)) == ((), 1)
