"""The pods that a node will rent, read from the source of its job and fixtures without calling them.

The common ways to rent can be read: ``provision()``, ``provision(gpu=gpu)``, ``provision(SERVER,
spot=True)``. A call in a loop, or one with computed arguments, cannot; the price is then unknown beforehand.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

from rpd.errors import DefinitionError
from rpd.execute.asked import asked_while_running
from rpd.user_text import parse_python
from rpd.values.fixture import FixtureDef, Scope, needs
from rpd.values.frozen import EMPTY, frozen
from rpd.values.job import Budget, Gpu, Job, Lifecycle, Storage
from rpd.values.mark import Location
from rpd.values.node import Definition

PROVISION = "provision"
_PLAIN_CALLS = (Gpu, Storage, Budget, Lifecycle)
"""Callables that an argument may use: they do nothing but check their fields."""
_REPEATING = (
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.comprehension,
    ast.Lambda,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
)


class Unforeseen(Exception):
    """The pod is known only once it is rented; the text names the place."""


@frozen(kw_only=False)
class Argument:
    """A value that a function gets from a fixture or a parameter of this name."""

    name: str


@frozen
class Rental:
    """One pod: the job it is rented with (None: the node's own), and the fields that are changed.

    ``holder`` is the fixture that rents it, None for the job function itself. Values may be of type Argument.
    """

    holder: FixtureDef | None
    job: object = None
    changes: Mapping[str, object] = EMPTY

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the fixtures and parameters that decide about the pod."""
        return tuple(
            value.name for value in (self.job, *self.changes.values()) if isinstance(value, Argument)
        )

    @property
    def is_shared(self) -> bool:
        """Whether several nodes may use the pod, so that any of them may be the one to rent it."""
        return self.holder is not None and self.holder.scope is not Scope.JOB


@lru_cache(maxsize=4096)
def rentals(definition: Definition) -> tuple[Rental, ...]:
    """Return the pods that each node of a job rents or shares. Raise Unforeseen."""
    rented: list[Rental] = []
    if PROVISION in definition.argnames:
        rented += _read(definition.function, None, definition.location)
    for holder in _holders(definition):
        if holder.is_built_in:
            rented.append(Rental(holder=holder, changes={"gpu": Argument("gpu")}))
        else:
            rented += _read(holder.function, holder, holder.location)
    return tuple(rented)


def _holders(definition: Definition) -> Iterator[FixtureDef]:
    """Yield the fixtures of a job that use ``provision``, including those it may request while it runs."""
    closure = definition.closure
    late: set[str] = set()
    functions = [
        definition.function,
        *(fixture.function for chain in closure.definitions.values() for fixture in chain),
    ]
    for name in {name for function in functions for name in asked_while_running(function)}:
        if name == PROVISION:
            raise Unforeseen(f"{definition.location} asks for {PROVISION!r} while it runs")
        if chain := closure.chain(name):
            late |= needs(closure, chain[-1])
    for name in dict.fromkeys((*closure.names, *sorted(late))):
        for fixture in reversed(closure.chain(name) if name in late else closure.definitions.get(name, ())):
            if PROVISION in fixture.argnames:
                yield fixture
            if name not in fixture.argnames:
                break  # the fixture it overrides is not called


def _read(function: Callable[..., Any], holder: FixtureDef | None, where: Location) -> list[Rental]:
    """Return the rentals of a function's ``provision`` calls. Raise Unforeseen."""
    plain = inspect.unwrap(function)
    if not isinstance(plain, FunctionType):
        raise Unforeseen(f"{where} cannot be read")
    body = _source_tree(plain, where)
    reader = _Reader(
        plain, {arg.arg for arg in (*body.args.args, *body.args.kwonlyargs)}, _assigned(body), where
    )
    calls = reader.calls(body)
    return [
        Rental(
            holder=holder,
            job=reader.value(call.args[0]) if call.args else None,
            changes={word.arg: reader.value(word.value) for word in call.keywords if word.arg},
        )
        for call in calls
    ]


def _source_tree(function: FunctionType, where: Location) -> ast.FunctionDef:
    try:
        import textwrap  # few fixtures rent pods themselves

        tree = parse_python(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        raise Unforeseen(f"the source of {where} cannot be read") from None
    first = tree.body[0] if tree.body else None
    if not isinstance(first, ast.FunctionDef):
        raise Unforeseen(f"{where} cannot be read")
    return first


def _assigned(tree: ast.AST) -> set[str]:
    """Return the names that a function binds itself: their values are not known before it runs."""
    names = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    }
    bound = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
             for alias in node.names}  # fmt: skip
    return names | bound


class _Reader:
    """Reads the arguments of calls in one function."""

    def __init__(
        self, function: FunctionType, arguments: set[str], assigned: set[str], where: Location
    ) -> None:
        self._globals = function.__globals__
        self._unknown = assigned | set(function.__code__.co_freevars)
        self._arguments = arguments
        self._where = where

    def calls(self, body: ast.FunctionDef) -> list[ast.Call]:
        """Return the calls of ``provision``. Raise Unforeseen for one that may be repeated or made elsewhere."""
        calls: list[ast.Call] = []
        for statement in body.body:
            self._visit(statement, calls)
        return calls

    def _visit(self, tree: ast.AST, calls: list[ast.Call]) -> None:
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == PROVISION:
            if len(tree.args) > 1 or any(word.arg is None for word in tree.keywords):
                raise self._unforeseen()
            calls.append(tree)
            inner: Iterator[ast.AST] = iter((*tree.args, *tree.keywords))
        else:
            if isinstance(tree, ast.Name) and tree.id == PROVISION:
                raise self._unforeseen()
            if isinstance(tree, _REPEATING) or getattr(tree, "generators", None):
                if any(isinstance(part, ast.Name) and part.id == PROVISION for part in ast.walk(tree)):
                    raise self._unforeseen()
                return
            inner = ast.iter_child_nodes(tree)
        for child in inner:
            self._visit(child, calls)

    def value(self, tree: ast.expr) -> object:
        """Return the value of an argument. Raise Unforeseen."""
        match tree:
            case ast.Constant():
                return tree.value
            case ast.Tuple() | ast.List():
                return tuple(self.value(each) for each in tree.elts)
            case ast.Name() | ast.Attribute():
                return self._named(tree)
            case ast.Call():
                return self._made(tree)
        raise self._unforeseen()

    def _named(self, tree: ast.Name | ast.Attribute) -> object:
        if isinstance(tree, ast.Attribute):
            owner = self._named(tree.value) if isinstance(tree.value, ast.Name | ast.Attribute) else None
            if isinstance(owner, ModuleType) and hasattr(owner, tree.attr):
                return getattr(owner, tree.attr)
            raise self._unforeseen()
        if tree.id in self._unknown:
            raise self._unforeseen()
        if tree.id in self._arguments:
            return Argument(tree.id)
        if tree.id in self._globals:
            return self._globals[tree.id]
        raise self._unforeseen()

    def _made(self, tree: ast.Call) -> object:
        kind = self._named(tree.func) if isinstance(tree.func, ast.Name | ast.Attribute) else None
        if not any(kind is plain for plain in _PLAIN_CALLS) or any(
            word.arg is None for word in tree.keywords
        ):
            raise self._unforeseen()
        arguments = [self.value(each) for each in tree.args]
        words = {word.arg or "": self.value(word.value) for word in tree.keywords}
        if any(isinstance(each, Argument) for each in (*arguments, *words.values())):
            raise self._unforeseen()
        try:
            return kind(*arguments, **words)  # type: ignore[operator]
        except (DefinitionError, TypeError):
            raise self._unforeseen() from None

    def _unforeseen(self) -> Unforeseen:
        return Unforeseen(f"{self._where} decides while it runs which pods it rents")


def as_gpu(value: object) -> Gpu | None:
    """Return the Gpu that the value of a ``gpu`` fixture or parameter means. Raise Unforeseen if it means none."""
    if value is None or isinstance(value, Gpu):
        return value
    if isinstance(value, str):
        return Gpu(value)
    raise Unforeseen("gpu is neither a Gpu(…) nor the id of one")


def job_of(rental: Rental, job: Job, value_of: Callable[[str], object]) -> Job:
    """Return the job that a node of ``job`` rents a pod with. Raise Unforeseen, DefinitionError.

    ``value_of`` returns the future value of an argument of the function that rents it.
    """

    def resolved(argument: object) -> Any:
        return value_of(argument.name) if isinstance(argument, Argument) else argument

    first = resolved(rental.job)
    if not isinstance(first, Job | None):
        raise Unforeseen("it is rented with something that is not a job")
    changes = {name: resolved(argument) for name, argument in rental.changes.items()}
    if "gpu" in changes:
        changes["gpu"] = as_gpu(changes["gpu"])
    return (first or job).derive(**changes)
