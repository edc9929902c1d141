"""Matches cases: from jobs that need jobs to nodes that need nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.collect.failures import at_function
from rpd.collect.needs import Links, Need
from rpd.errors import CollectionError
from rpd.values.frozen import frozen, replace
from rpd.values.node import Definition, Node

_TOLD = 3
"""So many cases are named in an error."""


class _Wrong(Exception):
    """Some cases of a job meet nothing, or too much; the text says which."""


@frozen
class Met:
    """Nodes with their needs resolved: the requested ones, and those that may have to come along."""

    nodes: tuple[Node, ...]
    others: tuple[Node, ...]
    errors: tuple[CollectionError, ...] = ()


def meet(nodes: Sequence[Node], links: Links, rootdir: Path) -> Met:
    """Return ``nodes``, and the nodes of jobs that they need, with the ids of each one's needs.

    Two cases match if they agree in every parameter that both have. Without ``all=True`` a case must match
    exactly one. A job whose cases match none, or several, is an error, reported at its place; its nodes are
    left out.
    """
    ids = {node.id for node in nodes}
    others = [node for node in links.more if node.id not in ids]
    cases = _Cases([*nodes, *others])
    errors: dict[Definition, CollectionError] = {}
    of_job: dict[Definition, list[Node]] = defaultdict(list)
    for node in (*nodes, *others):
        if links.needs.get(node.definition):
            of_job[node.definition].append(node)
    met_by: dict[str, tuple[str, ...]] = {}
    for definition, nodes_of_it in of_job.items():
        try:
            met_by.update(_met(nodes_of_it, links.needs[definition], cases))
        except _Wrong as error:
            text = f"In {definition.name}: {error}"
            errors[definition] = at_function(text, definition.function, rootdir=rootdir, name=definition.name)

    wrong = links.broken | errors.keys()

    def knowing(of: Iterable[Node]) -> tuple[Node, ...]:
        whole = (node for node in of if node.definition not in wrong)
        return tuple(replace(node, needs=met_by[node.id]) if node.id in met_by else node for node in whole)

    return Met(nodes=knowing(nodes), others=knowing(others), errors=tuple(errors.values()))


def _met(nodes: Sequence[Node], needs: Sequence[Need], cases: _Cases) -> Mapping[str, tuple[str, ...]]:
    """Return the needs of each node of one job, by id. Raise _Wrong."""
    met_by: dict[str, dict[str, None]] = {node.id: {} for node in nodes}
    for need in needs:
        lonely: list[Node] = []
        for node in nodes:
            met = cases.that_meet(node, need)
            if len(met) > 1 and not need.every:
                raise _Wrong(_too_many(node, need, met))
            if not met:
                lonely.append(node)
            met_by[node.id].update((each.id, None) for each in met)
        if lonely:
            raise _Wrong(_none(lonely, need, cases.of(need)))
    return {node_id: tuple(ids) for node_id, ids in met_by.items()}


class _Cases:
    """The nodes of jobs that are needed, found by the parameters that they share with those that need them."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._of: dict[tuple[str, str], list[Node]] = defaultdict(list)
        for node in nodes:
            self._of[node.file, node.definition.name].append(node)
        self._tables: dict[tuple[str, str, frozenset[str]], list[_Table]] = {}

    def of(self, need: Need) -> Sequence[Node]:
        """Return all cases of a job."""
        return self._of.get((need.file, need.name), ())

    def that_meet(self, node: Node, need: Need) -> Sequence[Node]:
        """Return the cases of a needed job that agree with ``node`` in every parameter that both have."""
        own = node.parameters
        key = (need.file, need.name, frozenset(own))
        tables = self._tables.get(key)
        if tables is None:
            tables = self._tables[key] = _tables(self.of(need), own)
        return [each for table in tables for each in table.fitting(own)]


class _Table:
    """Cases that have the same parameters, by the values of those that are ``shared``."""

    def __init__(self, shared: tuple[str, ...]) -> None:
        self._shared = shared
        self._by_values: dict[Hashable, list[Node]] = defaultdict(list)

    def add(self, node: Node) -> None:
        self._by_values[self._key(node.parameters)].append(node)

    def fitting(self, parameters: Mapping[str, Any]) -> Sequence[Node]:
        return self._by_values.get(self._key(parameters), ())

    def _key(self, parameters: Mapping[str, Any]) -> Hashable:
        return tuple(_comparable(parameters[name]) for name in self._shared)


def _tables(nodes: Iterable[Node], own: Collection[str]) -> list[_Table]:
    """Return the cases of a job by the names they share with ``own``; a hook may give them different parameters."""
    tables: dict[tuple[str, ...], _Table] = {}
    for node in nodes:
        shared = tuple(sorted(name for name in node.parameters if name in own))
        tables.setdefault(shared, _Table(shared)).add(node)
    return list(tables.values())


def _comparable(value: Any) -> Hashable:
    """Return a hashable that is equal for equal values; if a value has none, it equals only itself."""
    if isinstance(value, list | tuple):
        return (list, *map(_comparable, value))
    if isinstance(value, dict):
        return (dict, frozenset((_comparable(key), _comparable(each)) for key, each in value.items()))
    try:
        hash(value)
    except TypeError:
        return (object, id(value))
    return value  # type: ignore[no-any-return]


def _none(lonely: Sequence[Node], need: Need, cases: Sequence[Node]) -> str:
    """Say that cases meet nothing."""
    if not cases:
        return f"{lonely[0].name} needs {need}, which has no case: its parametrization is empty, or a hook dropped all"
    of = f"no case of {need.name} has the same parameters"
    return f"{_listed(lonely)} {'meets' if len(lonely) == 1 else 'meet'} nothing: {of}; there {_are(cases)}"


def _too_many(node: Node, need: Need, met: Sequence[Node]) -> str:
    """Say that a case meets several."""
    others = ", ".join(name for name in met[0].parameters if name not in node.parameters)
    differ = (
        f", which differ in {others}: parametrize {node.definition.name} by {others}, too, or"
        if others
        else ":"
    )
    return (
        f"{node.name} meets {len(met)} cases of {need.name} ({_listed(met)}){differ} "
        f"take all of them with needs({need.name}, all=True)"
    )


def _are(cases: Sequence[Node]) -> str:
    return f"{'is' if len(cases) == 1 else 'are'} {_listed(cases)}"


def _listed(nodes: Sequence[Node]) -> str:
    names = ", ".join(node.name for node in nodes[:_TOLD])
    more = len(nodes) - _TOLD
    return f"{names} and {more} more" if more > 0 else names
