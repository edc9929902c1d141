"""The order of nodes: those that share the parameter of a wide fixture stand together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from rpd.values.fixture import FixtureDef, Scope
from rpd.values.frozen import frozen
from rpd.values.node import Node

_NOTHING = object()


@frozen(kw_only=False)
class Live:
    """One value of a parametrized wide fixture; ``place`` is the file where each file has its own."""

    fixture: FixtureDef
    place: str
    key: Hashable


def regroup(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return ``nodes`` so that as few values of wide parametrized fixtures as can be live at once and are set up anew.

    Stable otherwise: a group stands where its first node stood. Wider scopes group first and, within a scope, the
    fixture that is set up first.
    """
    ranks: dict[FixtureDef, int] = {}
    needs = [_needs(node, ranks) for node in nodes]
    if not ranks:
        return tuple(nodes)
    for each in needs:
        each.sort(key=lambda live: (-live.fixture.scope, ranks[live.fixture]))
    return tuple(nodes[index] for index in _grouped(list(range(len(nodes))), needs, 0, {}))


def _needs(node: Node, ranks: dict[FixtureDef, int]) -> list[Live]:
    """Return the wide parametrized values a node needs; ``ranks`` takes their fixtures in the order they are met.

    A rank that all nodes share lets jobs that name their fixtures in different orders be grouped alike. What a fixture
    asks for is met before it.
    """
    if not node.fixture_params:
        return []
    closure = node.definition.closure
    needed = []
    for name in closure.names:
        param = node.fixture_params.get(name)
        fixture = closure.nearest(name)
        # The values of a variable cost nothing to set up: a sweep over them keeps its order.
        if param is None or fixture is None or fixture.is_variable:
            continue
        if fixture.scope is not Scope.JOB:
            ranks.setdefault(fixture, len(ranks))
            needed.append(Live(fixture, node.file if fixture.scope is Scope.MODULE else "", param.key))
    return needed


def _grouped(
    indexes: list[int], needs: list[list[Live]], depth: int, last: dict[tuple[FixtureDef, str], Hashable]
) -> list[int]:
    """Return ``indexes`` grouped by what they need at ``depth``, and each group by what it needs after that.

    A node that needs nothing there stays where it is. ``last`` is the key each fixture had last: the group that can
    go on with it goes first.
    """
    groups: dict[Live | int, list[int]] = {}
    for index in indexes:
        own = needs[index]
        groups.setdefault(own[depth] if depth < len(own) else index, []).append(index)
    ordered: list[int] = []
    for need in sorted(groups, key=lambda each: not _goes_on(each, last)):
        if isinstance(need, Live):
            last[need.fixture, need.place] = need.key
        group = groups[need]
        is_done = all(len(needs[index]) <= depth + 1 for index in group)
        ordered += group if is_done else _grouped(group, needs, depth + 1, last)
    return ordered


def _goes_on(need: Live | int, last: dict[tuple[FixtureDef, str], Hashable]) -> bool:
    return isinstance(need, Live) and last.get((need.fixture, need.place), _NOTHING) == need.key
