"""Fixtures as declared (the decorator), as found (FixtureDef) and as needed by one job function (Closure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeVar, overload

from rpd.errors import DefinitionError
from rpd.values.frozen import EMPTY, frozen
from rpd.values.mark import Location, ParameterSet

F = TypeVar("F", bound=Callable[..., Any])

FIXTURE_ATTRIBUTE = "__rpd_fixture__"


class Scope(IntEnum):
    """How long one value of a fixture lives; a wider scope is greater."""

    JOB = 0
    MODULE = 1
    WORKER = 2
    SESSION = 3

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Return the scope of that name. Raise DefinitionError."""
        try:
            return cls[text.upper()]
        except (KeyError, AttributeError):
            names = ", ".join(scope.label for scope in cls)
            raise DefinitionError("fixture", "scope", f"expected one of {names}", text) from None

    @property
    def label(self) -> str:
        """The name a user writes."""
        return self.name.lower()


@frozen
class FixtureMarker:
    """The value that ``@rpd.fixture`` attaches to a function; the collector turns it into a FixtureDef."""

    scope: Scope | Callable[..., str]
    params: tuple[Any, ...] | None
    ids: Sequence[Any] | Callable[[Any], Any] | None
    autouse: bool
    name: str | None


@overload
def fixture(function: F) -> F: ...
@overload
def fixture(
    *,
    scope: str | Callable[..., str] = ...,
    params: Iterable[Any] | None = ...,
    ids: Sequence[Any] | Callable[[Any], Any] | None = ...,
    autouse: bool = ...,
    name: str | None = ...,
) -> Callable[[F], F]: ...
def fixture(
    function: Callable[..., Any] | None = None,
    *,
    scope: str | Callable[..., str] = "job",
    params: Iterable[Any] | None = None,
    ids: Sequence[Any] | Callable[[Any], Any] | None = None,
    autouse: bool = False,
    name: str | None = None,
) -> Any:
    """Declare a fixture: a value that jobs and other fixtures request by its name.

    ``scope`` is ``job``, ``module``, ``worker`` or ``session``, or a function ``(fixture_name, config) ->
    scope``. A function that yields once is torn down after its ``yield``. Return the function itself, with a
    value attached. Raise DefinitionError for an unknown scope and for anything but a function.
    """
    if params is not None and (isinstance(params, str | bytes) or not isinstance(params, Iterable)):
        raise DefinitionError("fixture", "params", "expected a sequence of values", params)
    if (
        ids is not None
        and not callable(ids)
        and (isinstance(ids, str | bytes) or not isinstance(ids, Iterable))
    ):
        raise DefinitionError("fixture", "ids", "expected a sequence or a function", ids)
    if name is not None and (not isinstance(name, str) or not name.isidentifier()):
        raise DefinitionError("fixture", "name", "expected the name of an argument", name)
    if not isinstance(autouse, bool):
        raise DefinitionError("fixture", "autouse", "expected True or False", autouse)
    marker = FixtureMarker(
        scope=scope if callable(scope) else Scope.parse(scope),
        params=None if params is None else tuple(params),
        ids=ids if ids is None or callable(ids) else tuple(ids),
        autouse=autouse,
        name=name,
    )

    def attach(target: F) -> F:
        if not callable(target):
            raise DefinitionError("fixture", "", "expected a function (options go by name: scope=…)", target)
        if FIXTURE_ATTRIBUTE in getattr(target, "__dict__", {}):
            raise DefinitionError("fixture", "", "applied more than once to the same function", target)
        setattr(target, FIXTURE_ATTRIBUTE, marker)
        return target

    return attach if function is None else attach(function)


@frozen(eq=False)
class FixtureDef:
    """One fixture, found in a plugin, a conftest or a deploy file; compared by identity.

    ``baseid`` is where it is visible: ``""`` everywhere (plugins), a folder (``"exp/"``: conftest) or a file
    (``"exp/deploy_x.py"``). ``params`` is None, or one set of one value each; ``ids`` is as declared.
    """

    name: str
    function: Callable[..., Any]
    scope: Scope
    argnames: tuple[str, ...]
    location: Location
    baseid: str = ""
    params: tuple[ParameterSet, ...] | None = None
    ids: Sequence[Any] | Callable[[Any], Any] | None = None
    autouse: bool = False
    is_generator: bool = False
    is_variable: bool = False
    """Whether ``rpd.variable`` declared it."""

    @property
    def module(self) -> str:
        """The module of its function; empty for one that has none, such as a function made by ``exec``."""
        return getattr(self.function, "__module__", None) or ""

    @property
    def is_built_in(self) -> bool:
        """Whether it is one of rpd's own."""
        return _is_of_rpd(self.module)


@lru_cache(maxsize=256)
def _is_of_rpd(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


@frozen(eq=False, hidden=("visible",))
class Closure:
    """All fixtures that one job function needs, directly or not. Pure: nothing in it was called.

    ``names`` is the order of set-up: wider scopes first, autouse first within a scope, each after those it
    needs. ``definitions[name]`` lists the visible definitions, the nearest last: a fixture that requests its
    own name gets the one before itself.
    """

    names: tuple[str, ...] = ()
    definitions: Mapping[str, tuple[FixtureDef, ...]] = EMPTY
    visible: Mapping[str, tuple[FixtureDef, ...]] = EMPTY
    """Every fixture the job could request while it runs (``request.getfixturevalue``), needed or not."""

    def nearest(self, name: str) -> FixtureDef | None:
        """Return the definition of ``name`` that the job gets, None for a directly parametrized argument."""
        candidates = self.definitions.get(name)
        return candidates[-1] if candidates else None

    def chain(self, name: str) -> tuple[FixtureDef, ...]:
        """Return the definitions of ``name``, needed or only visible, the nearest last; empty if there are none."""
        return self.definitions.get(name) or self.visible.get(name, ())


@lru_cache(maxsize=4096)
def needs(closure: Closure, definition: FixtureDef) -> frozenset[str]:
    """Return the names of all fixtures that ``definition`` needs in ``closure``, its own included."""
    names = {definition.name}
    waiting = list(definition.argnames)
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            for each in closure.chain(name):
                waiting.extend(each.argnames)
    return frozenset(names)
