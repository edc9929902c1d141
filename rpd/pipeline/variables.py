"""Variables: the values of ``--var``, ``--vars-file`` and ``--sweep``, checked against the deploy files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rpd.collect import Collection
from rpd.collect.visible_fixtures import ReadVariable
from rpd.config.config import CollectSettings
from rpd.errors import UsageError
from rpd.events import Events
from rpd.user_text import parse_toml, read_text
from rpd.values.node import Node
from rpd.values.suggestions import closest
from rpd.values.variable import ALL, takes_all


def read_variables(given: CollectSettings, folder: Path) -> Mapping[str, Any]:
    """Return the variables of the file, ``--vars-file`` (relative to ``folder``) and ``--var``, the later ones winning.

    Raise UsageError.
    """
    return MappingProxyType(
        {
            **given.variables,
            **_of_file(given.vars_file, folder),
            **dict(given.var),
        }
    )


def _of_file(vars_file: str | None, folder: Path) -> dict[str, Any]:
    if vars_file is None:
        return {}
    path = folder / vars_file
    try:
        text = read_text(path)
        values = json.loads(text) if path.suffix == ".json" else parse_toml(text)
    except OSError as error:
        raise UsageError(f"--vars-file {vars_file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        expected = "JSON" if path.suffix == ".json" else "TOML (or JSON in a file that ends in .json)"
        raise UsageError(f"--vars-file {vars_file}: expected {expected}: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"--vars-file {vars_file}: expected a table of names and values")
    return values


def check_names(given: CollectSettings, collection: Collection, events: Events, *, runs: bool) -> None:
    """Raise UsageError for flags that contradict each other or name something that no collected file declares.

    Unless it ``runs``, an undeclared ``--var`` is only a notice.
    """
    values = dict(given.var)
    names = [name for name, _ in given.sweep]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"--sweep {name} is given twice: pass all values at once, {name}=A,B,C")
        if name in values:
            raise UsageError(f"--sweep {name} and --var {name} contradict each other: pass one of them")
    if collection.errors:
        return
    declared = {fixture.name for fixture in collection.fixtures if fixture.is_variable}
    for name in names:
        if wrong := _undeclared(name, declared):
            raise UsageError(f"--sweep {name}: {wrong}")
    if _somebody_takes_all(collection):
        return
    for name in values:
        if wrong := _undeclared(name, declared):
            if runs:
                raise UsageError(f"--var {name}: {wrong}")
            events.notice(f"--var {name}: {wrong}")


def _undeclared(name: str, declared: Iterable[str]) -> str:
    """Return the error for a name that is not ``declared``; empty if it is."""
    if name in declared:
        return ""
    close = closest(name, declared)
    meant = f"; did you mean {close!r}?" if close else f": declare it with {name} = rpd.variable(…)"
    return f"no collected file declares this variable{meant}"


def _somebody_takes_all(collection: Collection) -> bool:
    """Return whether a job or fixture asks for ``variables`` itself, so that none has to be declared."""
    fixtures = (fixture.argnames for fixture in collection.fixtures if not fixture.is_variable)
    return any(
        ALL in names for names in (*fixtures, *(node.definition.argnames for node in collection.nodes))
    )


def check_variables(
    collect: CollectSettings, nodes: Iterable[Node], values: Mapping[str, Any], events: Events
) -> None:
    """Raise UsageError that names every variable that a node needs and that has no value.

    Checked now, because a node may have rented a pod before it gets to its variables. Values that no node
    uses are reported.
    """
    definitions = {node.definition for node in nodes if not node.marks or not node.mark("skip")}
    used: set[str] = set()
    problems: dict[str, None] = {}
    for definition in definitions:
        for name in definition.closure.names:
            used.add(name)
            fixture = definition.closure.nearest(name)
            if fixture is None or not isinstance(fixture.function, ReadVariable):
                continue
            try:
                fixture.function(values)
            except UsageError as error:
                problems[f"{error} (declared at {fixture.location})"] = None
    if problems:
        raise UsageError("\n".join(sorted(problems)))
    if any(takes_all(definition) for definition in definitions):
        return
    for flag, assignments in (("--var", collect.var), ("--sweep", collect.sweep)):
        for name, _ in assignments:
            if name not in used:
                events.notice(f"{flag} {name}: no node that runs uses this variable")
