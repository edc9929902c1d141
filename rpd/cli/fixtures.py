"""``rpd fixtures``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence

from rpd.cli.collect import print_errors
from rpd.cli.command_options import FixturesOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import say
from rpd.cli.stderr_notices import Notices
from rpd.collect.source_lines import real_function
from rpd.collect.visible_fixtures import ReadVariable
from rpd.config import Config
from rpd.errors import ExitCode
from rpd.hooks import PluginManager
from rpd.pipeline.collect_and_select import Gathered, gather
from rpd.values.fixture import FixtureDef, Scope
from rpd.values.node import Node
from rpd.values.variable import REQUIRED

_OURS = __name__.partition(".")[0]


def main(config: Config, manager: PluginManager) -> int:
    """Print the fixtures that can be asked for, or (``--per-node``) those that each node uses.

    Names that begin with an underscore, and docstrings beyond their first line, are shown with ``-v`` only.
    """
    own: FixturesOptions = config.own
    manager.register(Notices(), "notices")
    gathered = gather(config, manager)
    print_errors(gathered.errors)
    if config.output.as_json:
        say_document(_document(gathered))
        return ExitCode.INTERRUPTED if gathered.errors else ExitCode.OK
    sections = _per_node(gathered.nodes) if own.per_node else _per_place(gathered)
    verbose = config.output.verbose > 0
    texts = [text for title, fixtures in sections if (text := _section(title, fixtures, verbose=verbose))]
    if texts:
        say("\n\n".join(texts))
    return ExitCode.INTERRUPTED if gathered.errors else ExitCode.OK


def _document(gathered: Gathered) -> dict[str, object]:
    """Return every fixture with its place, and the names that each node uses, in the order of set-up."""
    fixtures = [
        {
            "name": fixture.name,
            "scope": fixture.scope.label,
            "autouse": fixture.autouse,
            "from": _owner(fixture),
            "place": _place(fixture),
            "doc": _doc(fixture),
        }
        for fixture in gathered.collection.fixtures
    ]
    nodes = [{"id": node.id, "fixtures": list(node.definition.closure.names)} for node in gathered.nodes]
    return {"fixtures": fixtures, "nodes": nodes}


def _per_place(gathered: Gathered) -> Iterator[tuple[str, list[FixtureDef]]]:
    """Yield the fixtures of each file or plugin, in the order in which they become visible."""
    places: dict[str, list[FixtureDef]] = {}
    for fixture in gathered.collection.fixtures:
        places.setdefault(_owner(fixture), []).append(fixture)
    for place, fixtures in places.items():
        yield f"fixtures of {place}", fixtures


def _per_node(nodes: Iterable[Node]) -> Iterator[tuple[str, list[FixtureDef]]]:
    """Yield the fixtures that each node uses, in the order of set-up."""
    for node in nodes:
        closure = node.definition.closure
        used = [fixture for name in closure.names if (fixture := closure.nearest(name)) is not None]
        yield f"fixtures used by {node.id} ({node.definition.location})", used


def _section(title: str, fixtures: Sequence[FixtureDef], *, verbose: bool) -> str:
    shown = [fixture for fixture in fixtures if verbose or not fixture.name.startswith("_")]
    if not shown:
        return ""
    lines = [line for fixture in shown for line in _fixture_lines(fixture, verbose=verbose)]
    return "\n".join([f"--- {title} ---", *lines])


def _fixture_lines(fixture: FixtureDef, *, verbose: bool) -> Iterator[str]:
    scope = "" if fixture.scope is Scope.JOB else f" [{fixture.scope.label} scope]"
    autouse = " [autouse]" if fixture.autouse else ""
    yield f"{fixture.name}{scope}{autouse} -- {_place(fixture)}"
    doc = _doc(fixture) or "no docstring available"
    for line in doc.splitlines() if verbose else doc.splitlines()[:1]:
        yield f"    {line}".rstrip()


def _doc(fixture: FixtureDef) -> str:
    function = fixture.function
    if isinstance(function, ReadVariable):
        default = function.variable.default
        needed = "required" if default is REQUIRED else f"default {default!r}"
        return f"A variable: --var {fixture.name}=VALUE; {needed}."
    return inspect.getdoc(function) or ""


def _owner(fixture: FixtureDef) -> str:
    module = _module(fixture)
    if module == _OURS or module.startswith(f"{_OURS}."):
        return "rpd"
    return f"plugin {module}" if _is_elsewhere(fixture) else fixture.location.file


def _place(fixture: FixtureDef) -> str:
    """Return ``file:line``, short for files outside the root folder."""
    if not _is_elsewhere(fixture):
        return str(fixture.location)
    return f".../{_module(fixture).replace('.', '/')}.py:{fixture.location.line}"


def _is_elsewhere(fixture: FixtureDef) -> bool:
    return fixture.location.file.startswith("..") or "site-packages/" in fixture.location.file


def _module(fixture: FixtureDef) -> str:
    if isinstance(fixture.function, ReadVariable):
        return fixture.location.file.removesuffix(".py").rpartition("/")[2]
    return str(getattr(real_function(fixture.function), "__module__", ""))
