"""The fixtures found in plugins, conftests and deploy files, and which of them a file sees."""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Iterator, Mapping
from opcode import opmap
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from rpd.collect.failures import at_function, from_exception
from rpd.collect.marks import marks_of
from rpd.collect.source_lines import argument_names, location_of, real_function, relative
from rpd.config import Config
from rpd.errors import CollectionError, UsageError
from rpd.values.fixture import FIXTURE_ATTRIBUTE, FixtureDef, FixtureMarker, Scope
from rpd.values.frozen import EMPTY, frozen, replace
from rpd.values.job import JOB_ATTRIBUTE
from rpd.values.mark import Location, ParameterSet
from rpd.values.node import LINES_ATTRIBUTE
from rpd.values.variable import REQUIRED, Variable

_LOAD_GLOBAL, _EXTENDED = opmap["LOAD_GLOBAL"], opmap["EXTENDED_ARG"]
RESERVED = "request"
"""Always available; no fixture may have this name."""


@frozen
class View:
    """The fixtures that one file sees: each name with its definitions, the nearest last; ``autouse`` from outside in.

    ``broken`` are names whose declaration is wrong, which has been reported; ``foreign`` are fixtures of
    pytest, each with its file.
    """

    definitions: Mapping[str, tuple[FixtureDef, ...]] = EMPTY
    autouse: tuple[str, ...] = ()
    broken: frozenset[str] = frozenset()
    foreign: Mapping[str, str] = EMPTY

    def chain(self, name: str) -> tuple[FixtureDef, ...]:
        """Return the visible definitions of ``name``."""
        return self.definitions.get(name, ())


class Registry:
    """Every fixture found so far, by the place where it is visible."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._by_base: dict[str, list[FixtureDef]] = {}
        self._broken: set[str] = set()
        self._foreign: dict[str, str] = {}
        self._rescoped: dict[tuple[FixtureDef, Scope], FixtureDef] = {}
        self._parameters: dict[tuple[str, Scope], FixtureDef] = {}

    def add(self, holder: object, baseid: str) -> list[CollectionError]:
        """Add the fixtures of a module or plugin object; return the errors in them."""
        errors = []
        same_base = self._by_base.setdefault(baseid, [])
        if isinstance(holder, ModuleType) and "pytest" in vars(holder):
            self._foreign.update(
                dict.fromkeys(_pytest_fixtures(holder), _file_of(holder, self._config.rootdir))
            )
        for name, value, declared in _declarations(holder):
            try:
                if isinstance(declared, Variable):
                    same_base.append(self._variable(name, declared, holder, baseid))
                else:
                    same_base.append(self._fixture(name, value, declared, baseid))
            except CollectionError as error:
                errors.append(error)
                self._broken.add(getattr(declared, "name", None) or name)
        return errors

    def all(self) -> tuple[FixtureDef, ...]:
        """Return every fixture, plugins first, then by place."""
        return tuple(each for base in sorted(self._by_base) for each in self._by_base[base])

    def view(self, file: str) -> View:
        """Return the fixtures that ``file`` (relative) sees."""
        definitions: dict[str, tuple[FixtureDef, ...]] = {}
        autouse: dict[str, None] = {}
        for base in _bases(file):
            for each in self._by_base.get(base, ()):
                definitions[each.name] = (*definitions.get(each.name, ()), each)
                if each.autouse:
                    autouse[each.name] = None
        return View(
            definitions=definitions,
            autouse=tuple(autouse),
            broken=frozenset(self._broken),
            foreign=dict(self._foreign),
        )

    def rescoped(self, fixture: FixtureDef, scope: Scope) -> FixtureDef:
        """Return ``fixture`` with another scope, always the same object for the same arguments."""
        if fixture.scope is scope:
            return fixture
        key = (fixture, scope)
        if key not in self._rescoped:
            self._rescoped[key] = replace(fixture, scope=scope)
        return self._rescoped[key]

    def parameter(self, name: str, scope: Scope, place: Location) -> FixtureDef:
        """Return the fixture that hands out the argument ``name``, whose values outlive a job: the same for all jobs.

        ``place`` is the first job with such an argument.
        """
        key = (name, scope)
        if key not in self._parameters:
            self._parameters[key] = FixtureDef(
                name=name,
                function=_parameter,
                scope=scope,
                argnames=(RESERVED,),
                location=place,
                baseid=place.file,
            )
        return self._parameters[key]

    def _fixture(self, name: str, function: Any, marker: FixtureMarker, baseid: str) -> FixtureDef:
        rootdir = self._config.rootdir
        shown = marker.name or name
        try:
            problem = _fixture_problem(shown, function)
            argnames = () if problem else argument_names(function)
        except CollectionError as error:
            problem = f"fixture {shown!r}: {error}"
        if problem:
            raise at_function(problem, function, rootdir=rootdir)
        check_calls(function, rootdir)
        return FixtureDef(
            name=shown,
            function=function,
            scope=self._scope(shown, function, marker),
            argnames=argnames,
            location=location_of(function, rootdir),
            baseid=baseid,
            params=None if marker.params is None else tuple(_cell(value) for value in marker.params),
            ids=marker.ids,
            autouse=marker.autouse,
            is_generator=inspect.isgeneratorfunction(function),
        )

    def _variable(self, name: str, variable: Variable, holder: object, baseid: str) -> FixtureDef:
        """Return the fixture of a variable: one value, or with ``--sweep`` one parameter per value given there."""
        file = str(getattr(holder, "__file__", None) or "?")
        lines = getattr(holder, LINES_ATTRIBUTE, None)
        where = (
            _assignment(name, file, self._config.rootdir)
            if lines is None
            else Location(relative(file, self._config.rootdir), lines.get(name, 1))
        )
        if name == RESERVED:
            raise CollectionError(f"{where}: {_reserved('variables')}", file=where.file, line=where.line)
        texts = dict(self._config.collect.sweep).get(name)
        if texts is None:
            return FixtureDef(
                name=name,
                function=ReadVariable(name, variable),
                scope=Scope.SESSION,
                argnames=("variables",),
                location=where,
                baseid=baseid,
                is_variable=True,
            )
        read = ReadVariable(name, variable)
        return FixtureDef(
            name=name,
            function=_swept,
            scope=Scope.SESSION,
            argnames=("request",),
            location=where,
            baseid=baseid,
            params=tuple(_cell(read({name: text})) for text in texts),
            is_variable=True,
        )

    def _scope(self, name: str, function: Any, marker: FixtureMarker) -> Scope:
        if isinstance(marker.scope, Scope):
            return marker.scope
        where = location_of(function, self._config.rootdir)
        try:
            text = marker.scope(fixture_name=name, config=self._config)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            raise from_exception(
                error,
                rootdir=self._config.rootdir,
                full_trace=self._config.output.full_trace,
                otherwise=where,
                title=f"Error evaluating {marker.scope} while defining fixture {name!r}.\n"
                "Expected a function with the signature (*, fixture_name, config)",
            ) from None
        try:
            return Scope.parse(text)
        except CollectionError as error:
            raise at_function(
                f"the scope of fixture {name!r}: {error}", function, rootdir=self._config.rootdir
            ) from None


def _bases(file: str) -> Iterator[str]:
    """Yield the places where fixtures that ``file`` sees may be declared, from the outside in."""
    yield ""
    for index, letter in enumerate(file):
        if letter == "/":
            yield file[: index + 1]
    yield file


def _declarations(holder: object) -> Iterator[tuple[str, Any, FixtureMarker | Variable]]:
    """Yield (name, function, declaration) for each declaration in ``holder``, in the order of its namespace."""
    for name, value in _members(holder):
        if is_a(value, Variable):
            yield name, value, value
            continue
        marker = attached(value, FIXTURE_ATTRIBUTE)
        if isinstance(marker, FixtureMarker):
            yield name, value if isinstance(holder, ModuleType) else getattr(holder, name), marker


def _pytest_fixtures(module: ModuleType) -> Iterator[str]:
    """Yield the names of fixtures of pytest that are none of rpd."""
    for name, value in vars(module).items():
        is_pytests = type(value).__module__ == "_pytest.fixtures" or attached(value, "_pytestfixturefunction")
        if is_pytests and attached(value, FIXTURE_ATTRIBUTE) is None:
            yield name


def _file_of(module: ModuleType, rootdir: Path) -> str:
    return relative(str(module.__file__ or "?"), rootdir)


def _members(holder: object) -> Iterator[tuple[str, Any]]:
    if isinstance(holder, ModuleType):
        yield from list(vars(holder).items())
        return
    seen = dict(getattr(holder, "__dict__", {}))
    for each in reversed((holder if isinstance(holder, type) else type(holder)).__mro__):
        seen.update(vars(each))
    yield from seen.items()


def check_calls(function: Any, rootdir: Path) -> None:
    """Raise CollectionError if ``function`` calls a fixture itself instead of requesting its value."""
    inner = real_function(function)
    code: Any = getattr(inner, "__code__", None)
    names = getattr(inner, "__globals__", {})
    if not any(attached(names.get(name), FIXTURE_ATTRIBUTE) for name in _names_in(code)):
        return
    fixtures = {name for name in _global_names(code) if attached(names.get(name), FIXTURE_ATTRIBUTE)}
    if not fixtures:
        return
    from rpd.collect.calls import first_call  # few functions so much as name a fixture

    call = first_call(inner, fixtures)
    if call is not None:
        name, line = call
        place = Location(location_of(function, rootdir).file, line)
        text = (
            f"{place}: in {getattr(inner, '__name__', '?')}\n    {linecache.getline(code.co_filename, line).strip()}\n"
            f"E   fixture {name!r} called directly: ask for its value with an argument of that name"
        )
        raise CollectionError(text, file=place.file, line=place.line)


def _names_in(code: Any) -> Iterator[str]:
    """Yield all names in a function and those inside it, attributes too: what is none of them is not looked up."""
    if isinstance(code, CodeType):
        yield from code.co_names
        for const in code.co_consts:
            yield from _names_in(const)


def _global_names(code: Any) -> Iterator[str]:
    """Yield the global names that a function and those inside it look up; ``co_names`` would include attributes."""
    if not isinstance(code, CodeType):
        return
    operations = code.co_code
    high = 0
    for at in range(0, len(operations), 2):
        argument = high << 8 | operations[at + 1]
        high = argument if operations[at] == _EXTENDED else 0
        if operations[at] == _LOAD_GLOBAL:
            yield code.co_names[argument >> 1]  # its last bit says whether the name is about to be called
    for const in code.co_consts:
        yield from _global_names(const)


def is_a(value: object, kind: type) -> bool:
    """Return whether ``value`` is of type ``kind``.

    ``isinstance`` would also ask the object itself, which may raise.
    """
    return issubclass(type(value), kind)


def attached(value: object, attribute: str) -> Any:
    """Return the value that a decorator attached to ``value`` itself, None if nothing.

    Never trigger magic of odd objects.
    """
    try:
        namespace = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return namespace.get(attribute) if isinstance(namespace, Mapping) else None


def _cell(value: Any) -> ParameterSet:
    return value if isinstance(value, ParameterSet) else ParameterSet((value,))


def _reserved(what: str) -> str:
    return f"{RESERVED!r} is a reserved word for {what}, use another name"


def _fixture_problem(name: str, function: Any) -> str | None:
    if name == RESERVED:
        return _reserved("fixtures")
    if isinstance(function, type):
        return "class fixtures not supported: decorate a function"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"fixture {name!r} is async: fixtures run in threads, so use a plain function"
    if attached(function, JOB_ATTRIBUTE) is not None:
        return f"{name!r} is both a job and a fixture: make it one of them"
    if inspect.isfunction(function) and marks_of(function):
        return f"marks applied to fixtures have no effect: remove them from {name!r}"
    return None


@frozen(kw_only=False)
class ReadVariable:
    """The function of the fixture declared by ``rpd.variable``: looks up its value and converts it."""

    name: str
    variable: Variable

    def __call__(self, variables: Mapping[str, Any]) -> Any:
        """Return the value. Raise UsageError if there is none or it cannot be converted."""
        if self.name not in variables:
            if self.variable.default is REQUIRED:
                raise UsageError(f"variable {self.name!r} has no value: set it with --var {self.name}=VALUE")
            return self.variable.default
        value, type_ = variables[self.name], self.variable.type
        kind = getattr(type_, "__name__", repr(type_)).lstrip("_")
        if not isinstance(value, str):
            if type_ is float and type(value) is int:
                return float(value)
            if type_ in (int, float) and type(value) is not type_:
                raise UsageError(f"variable {self.name!r}: expected {kind}, got {value!r}")
            return value
        try:
            return type_(value)
        except Exception as error:
            raise UsageError(f"variable {self.name!r}: expected {kind}, got {value!r}: {error}") from error


def _swept(request: Any) -> Any:
    """Return the value of a variable with several values from ``--sweep``."""
    return request.param


def _parameter(request: Any) -> Any:
    return request.param


def _assignment(name: str, path: str, rootdir: Path) -> Location:
    pattern = re.compile(rf"{re.escape(name)}\s*[:=]")
    numbers = (number for number, line in enumerate(linecache.getlines(path), 1) if pattern.match(line))
    return Location(relative(path, rootdir), next(numbers, 0))
