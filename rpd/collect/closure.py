"""The closure of a job: every fixture it needs, in the order of set-up. Pure: calls nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.collect.source_lines import location_of, signature_lines
from rpd.collect.visible_fixtures import RESERVED, View
from rpd.errors import CollectionError
from rpd.values.fixture import Closure, FixtureDef, Scope
from rpd.values.frozen import replace
from rpd.values.suggestions import closest


def reachable(names: Iterable[str], view: View, stop: Collection[str] = ()) -> tuple[str, ...]:
    """Return ``names`` and every fixture they need, wider scopes first; unknown names are kept.

    Names in ``stop`` are parametrized directly: their fixtures, and those that only they need, are not
    included.
    """
    reached: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in reached or name == RESERVED:
            return
        reached[name] = None
        if name not in stop:
            for argument in _chain_argnames(view.chain(name), name):
                visit(argument)

    for name in names:
        visit(name)
    return tuple(sorted(reached, key=lambda name: -_scope(name, view, stop)))


def _scope(name: str, view: View, direct: Collection[str]) -> Scope:
    chain = () if name in direct else view.chain(name)
    return chain[-1].scope if chain else Scope.JOB


def _chain_argnames(chain: Sequence[FixtureDef], name: str) -> Iterable[str]:
    """Yield the arguments of a fixture, and of those it overrides, as far as each asks for its own name."""
    for definition in reversed(chain):
        yield from (argname for argname in definition.argnames if argname != name)
        if name not in definition.argnames:
            return


def make_closure(
    function: Callable[..., Any], names: Sequence[str], view: View, *, direct: Collection[str], rootdir: Path
) -> Closure:
    """Return the closure of ``function``, which needs ``names`` (autouse ones first).

    ``direct`` contains the arguments that are parametrized directly. Raise CollectionError for an unknown
    fixture, for a cycle, and for a fixture that needs one of narrower scope.
    """
    walk = _Walk(function, view, direct, rootdir)
    for name in reachable(names, view, direct):
        walk.visit(name)
    ordered = tuple(walk.order)
    needed = {name: view.chain(name) for name in ordered if name not in direct}
    return Closure(names=ordered, definitions=needed, visible=view.definitions)


class _Walk:
    """A depth-first walk along the arguments; ``order`` is the post-order: dependencies before dependents."""

    def __init__(
        self, function: Callable[..., Any], view: View, direct: Collection[str], rootdir: Path
    ) -> None:
        self.order: dict[str, None] = {}
        self._function = function
        self._view = view
        self._direct = direct
        self._rootdir = rootdir
        self._path: list[tuple[str, FixtureDef]] = []

    def visit(self, name: str, depth: int = 1) -> None:
        """Visit the definition of ``name`` that is ``depth`` from the end of its chain."""
        if name in self._direct:
            self._check_scope(name, None)
            self.order[name] = None
            return
        chain = self._view.chain(name)
        if name in self.order and depth == 1:
            if self._path:
                self._check_scope(name, chain[-depth])
            return
        if depth > len(chain):
            raise self._missing(name)
        definition = chain[-depth]
        self._check_scope(name, definition)
        if any(fixture is definition for _, fixture in self._path):
            raise self._ring(definition)
        self._path.append((name, definition))
        for argname in definition.argnames:
            if argname != RESERVED:
                self.visit(argname, depth + 1 if argname == name else 1)
        self._path.pop()
        if depth == 1:
            self.order[name] = None

    def _check_scope(self, name: str, definition: FixtureDef | None) -> None:
        if not self._path:
            return
        asking = self._path[-1][1]
        scope = Scope.JOB if definition is None else definition.scope
        if scope < asking.scope:
            raise self._mismatch(name, scope, definition)

    def _mismatch(self, name: str, scope: Scope, definition: FixtureDef | None) -> CollectionError:
        asking_name, asking = self._path[-1]
        kind, place = ("parameter", "") if definition is None else ("fixture", f" ({definition.location})")
        asks = f"{asking.scope.label} scoped fixture {asking_name!r} ({asking.location})"
        asked = f"the {scope.label} scoped {kind} {name!r}{place}"
        remedy = f"make {asking_name!r} {scope.label} scoped, or {name!r} {asking.scope.label} scoped"
        return self._error([f"ScopeMismatch: {asks} asks for {asked}", remedy])

    def _ring(self, definition: FixtureDef) -> CollectionError:
        start = next(index for index, (_, fixture) in enumerate(self._path) if fixture is definition)
        ring = [*(name for name, _ in self._path[start:]), definition.name]
        return self._error(
            [f"recursive dependency involving fixture {definition.name!r} detected: {' -> '.join(ring)}"]
        )

    def _missing(self, name: str) -> CollectionError:
        if self._path and self._path[-1][0] == name:
            why = "it asks for its own name and overrides no other fixture"
            return self._error([f"recursive dependency involving fixture {name!r} detected: {why}"])
        if name in self._view.broken:
            return self._error([f"fixture {name!r} has an error in its declaration: see that error"])
        available = sorted(each for each in self._view.definitions if not each.startswith("_"))
        candidates = sorted({*available, *self._direct, RESERVED})
        close = closest(name, candidates)
        notes = [f"available fixtures: {', '.join(sorted({*available, RESERVED}))}"]
        if name in self._view.foreign:
            notes += [
                f"{name!r} in {self._view.foreign[name]} is a pytest fixture: declare it with @rpd.fixture"
            ]
        elif close:
            notes += [f"did you mean {close!r}?"]
        notes += ["use 'rpd fixtures [PATH]' for help on them."]
        return self._error([f"fixture {name!r} not found"], notes)

    def _error(self, texts: Sequence[str], notes: Sequence[str] = ()) -> CollectionError:
        """Return an error with the functions from the job down to the wrong one, each with place and source."""
        job = (location_of(self._function, self._rootdir), self._function)
        written = [job, *((fixture.location, fixture.function) for _, fixture in self._path)]
        lines = []
        for place, function in written:
            lines.append(f"file {place.file}, line {place.line}")
            lines += [f"  {line}" for line in signature_lines(function)]
        last = written[-1][0]
        lines += [f"E       {text}" for text in texts] + [f">       {note}" for note in notes]
        return CollectionError("\n".join([*lines, "", str(last)]), file=last.file, line=last.line)


def pick(view: View, changes: Mapping[str, FixtureDef]) -> View:
    """Return ``view`` with the nearest definition of some names replaced."""
    if not changes:
        return view
    changed = {name: (*view.chain(name)[:-1], each) for name, each in changes.items()}
    return replace(view, definitions={**view.definitions, **changed})
