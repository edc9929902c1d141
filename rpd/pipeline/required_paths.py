"""Required paths: files that must be on this machine before a pod is rented (the field ``required_paths`` of jobs)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.collect.visible_fixtures import ReadVariable
from rpd.errors import CollectionError, UsageError
from rpd.values.node import Definition, Node

_TEMPLATE = re.compile(r"\{([A-Za-z_]\w*)\}")


def split_missing(
    nodes: Sequence[Node], rootdir: Path, variables: Mapping[str, Any]
) -> tuple[tuple[Node, ...], tuple[CollectionError, ...]]:
    """Return the nodes whose required paths are there, and an error for each job of which one is not.

    In a path, ``{name}`` stands for a parameter or variable. One that has no value yet says nothing: the run asks for
    it.
    """
    seen: dict[Path, bool] = {}
    kept: list[Node] = []
    missing: dict[Definition, dict[str, None]] = {}
    for node in nodes:
        lacks = False
        for text in node.job.required_paths:
            wrong = _wrong(text, node, rootdir, variables, seen)
            if wrong:
                missing.setdefault(node.definition, {})[wrong] = None
                lacks = True
        if not lacks:
            kept.append(node)
    return tuple(kept), tuple(_error(definition, list(paths)) for definition, paths in missing.items())


def _wrong(text: str, node: Node, rootdir: Path, variables: Mapping[str, Any], seen: dict[Path, bool]) -> str:
    """Return the error in a required path of a node; empty if there is none."""
    values: dict[str, Any] = dict(node.parameters)
    for name in _TEMPLATE.findall(text):
        if name in values:
            continue
        fixture = node.definition.closure.nearest(name)
        if fixture is None or not isinstance(fixture.function, ReadVariable):
            return f"{text}: the job has no parameter or variable {name!r} for {{{name}}}"
        try:
            values[name] = fixture.function(variables)
        except UsageError:
            return ""
    written = Path(_TEMPLATE.sub(lambda match: str(values[match[1]]), text)).expanduser()
    path = Path(os.path.normpath((rootdir / node.file).parent / written))
    if path not in seen:
        seen[path] = path.exists()
    return "" if seen[path] else f"{path} is missing"


def _error(definition: Definition, wrong: Sequence[str]) -> CollectionError:
    place = definition.location
    lines = "\n".join(f"E   required_paths: {text}" for text in wrong)
    return CollectionError(f"{place}: in {definition.name}\n{lines}", file=place.file, line=place.line)
