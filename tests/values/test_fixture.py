"""Fixtures as they are declared."""

from __future__ import annotations

import pytest

import rpd
from rpd.errors import DefinitionError
from rpd.values.fixture import FIXTURE_ATTRIBUTE, Closure, FixtureDef, Scope
from rpd.values.mark import Location


def test_the_decorator_returns_the_function_itself():
    """A fixture function stays a function; the declaration is attached to it."""

    def plain(): ...

    @rpd.fixture(scope="session", params=(n for n in (1, 2)), ids=["a", "b"], autouse=True, name="other")
    def full(): ...

    assert rpd.fixture(plain) is plain
    definition = vars(full)[FIXTURE_ATTRIBUTE]
    assert (definition.scope, definition.params, definition.ids, definition.autouse, definition.name) == (
        Scope.SESSION,
        (1, 2),
        ("a", "b"),
        True,
        "other",
    )
    assert vars(plain)[FIXTURE_ATTRIBUTE].scope is Scope.JOB


@pytest.mark.parametrize("scope", ["function", "", None, 3])
def test_an_unknown_scope_is_told_with_the_known_ones(scope):
    """Scopes are job, module, worker and session."""
    with pytest.raises(
        DefinitionError, match=r"fixture\.scope: expected one of job, module, worker, session, got"
    ):
        rpd.fixture(scope=scope)


@pytest.mark.parametrize("declare", [lambda: rpd.fixture("session"), lambda: rpd.fixture()(5)])
def test_only_functions_are_fixtures(declare):
    """A positional option is a common slip with its own error."""
    with pytest.raises(DefinitionError, match="fixture: expected a function"):
        declare()


def test_a_function_is_one_fixture():
    """Declaring a function twice contradicts itself."""
    with pytest.raises(DefinitionError, match="applied more than once"):
        rpd.fixture(rpd.fixture(lambda: None))


def test_wider_scopes_are_greater():
    """Scopes compare by how long a value lives."""
    assert Scope.JOB < Scope.MODULE < Scope.WORKER < Scope.SESSION
    assert [Scope.parse(scope.label) for scope in Scope] == list(Scope)


def test_a_closure_finds_what_is_needed_and_what_is_only_visible():
    """``nearest`` and ``chain`` give the last definition; unneeded fixtures can be found by name."""
    first, second, other = (
        FixtureDef(
            name=name, function=lambda: None, scope=Scope.JOB, argnames=(), location=Location("x.py", 1)
        )
        for name in ("a", "a", "b")
    )
    closure = Closure(
        names=("a",), definitions={"a": (first, second)}, visible={"a": (first,), "b": (other,)}
    )
    assert closure.nearest("a") is second
    assert closure.nearest("b") is None
    assert [closure.chain(name) for name in ("a", "b", "c")] == [(first, second), (other,), ()]
