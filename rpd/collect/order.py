"""The order of nodes: those that share the parameter of a wide fixture stand together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from rpd.values.fixture import Scope
from rpd.values.node import Node

Key = tuple[Hashable, ...]


def regroup(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return ``nodes`` so that each parameter of a fixture wider than a job is set up as few times as can be.

    Stable otherwise: a group stands where its first node stood. Wider scopes group first and, within a scope, the
    fixture that is set up first.
    """
    keys = [_keys(node) for node in nodes]
    if not any(keys):
        return tuple(nodes)
    return tuple(nodes[index] for index in _grouped(list(range(len(nodes))), keys, 0))


def _keys(node: Node) -> tuple[Key, ...]:
    """Return what identifies each live value the node needs, the one set up first first."""
    if not node.fixture_params:
        return ()
    closure = node.definition.closure
    found: list[Key] = []
    for name in closure.names:
        param = node.fixture_params.get(name)
        fixture = closure.nearest(name)
        if param is None or fixture is None or fixture.scope is Scope.JOB:
            continue
        place = node.file if fixture.scope is Scope.MODULE else ""
        found.append((fixture, place, param.key))
    return tuple(found)


def _grouped(indexes: list[int], keys: list[tuple[Key, ...]], depth: int) -> list[int]:
    """Return ``indexes`` grouped by the key at ``depth``, and each group by the keys after it.

    A node that has no key there is a group of its own: it stays where it is, for it needs none of these values.
    """
    groups: dict[Key | int, list[int]] = {}
    for index in indexes:
        own = keys[index]
        groups.setdefault(own[depth] if depth < len(own) else index, []).append(index)
    ordered: list[int] = []
    for group in groups.values():
        ordered += group if len(group) == 1 else _grouped(group, keys, depth + 1)
    return ordered
