"""The order of nodes: those that share a parameter of a wide fixture are grouped."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from rpd.values.fixture import FixtureDef, Scope
from rpd.values.frozen import frozen
from rpd.values.node import Node

_NOTHING = object()


@frozen(kw_only=False)
class Live:
    """One value of a parametrized wide fixture; ``place`` is the file, if each file has its own."""

    fixture: FixtureDef
    place: str
    key: Hashable


def regroup(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return ``nodes`` reordered so that few values of wide parametrized fixtures are alive at once or set up twice.

    Stable otherwise: a group takes the place of its first node. Wider scopes group first and, within a scope,
    the fixture that is set up first.
    """
    ranks: dict[FixtureDef, int] = {}
    needs = [_needs(node, ranks) for node in nodes]
    if not ranks:
        return tuple(nodes)
    for each in needs:
        each.sort(key=lambda live: (-live.fixture.scope, ranks[live.fixture]))
    return tuple(nodes[index] for index in _grouped(list(range(len(nodes))), needs, 0, {}))


def _needs(node: Node, ranks: dict[FixtureDef, int]) -> list[Live]:
    """Return the wide parametrized values that a node needs.

    ``ranks`` records their fixtures in the order of first use.

    Ranks are shared by all nodes, so that jobs which name their fixtures in different orders are grouped
    alike. A fixture ranks after those it needs.
    """
    if not node.fixture_params:
        return []
    closure = node.definition.closure
    needed = []
    for name in closure.names:
        param = node.fixture_params.get(name)
        fixture = closure.nearest(name)
        # Setting up a variable costs nothing: a sweep over variables keeps its order.
        if param is None or fixture is None or fixture.is_variable:
            continue
        if fixture.scope is not Scope.JOB:
            ranks.setdefault(fixture, len(ranks))
            needed.append(Live(fixture, node.file if fixture.scope is Scope.MODULE else "", param.key))
    return needed


def _grouped(
    indexes: list[int], needs: list[list[Live]], depth: int, last: dict[tuple[FixtureDef, str], Hashable]
) -> list[int]:
    """Return ``indexes`` grouped by their need at ``depth``, and each group by the needs after that.

    A node without a need there keeps its place. ``last`` is the last key of each fixture: the group that can
    continue with it goes first.
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
