"""NODES -> LANES: who shares a pod, in which order, how wide, and the worst case of the cost. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from rpd.values.fixture import Scope, needs
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.plan import Lane, Plan, Source

PROVISION = "provision"
"""The fixture that rents pods; a wider fixture that needs it holds a pod."""


def make_plan(
    nodes: Sequence[Node],
    *,
    width: int,
    worst_case: Callable[[Node], float | None],
    sources: Sequence[Source] = (),
) -> Plan:
    """Return the plan for ``nodes`` in their order, and for the lanes that ``sources`` hand out.

    Nodes that share a pod of module or session scope form one lane, at the place of its first node: nodes on
    one pod never overlap, unless each of them takes only some of its GPUs (mark ``slots``). A worker-scoped
    pod needs no separate lane, since a slot runs one node at a time.
    """
    plan = Plan(lanes=make_lanes(nodes), width=width, sources=tuple(sources))
    total = sum(cost for node in plan.nodes if (cost := worst_case(node)) is not None)
    for ahead in plan.ahead:
        total += ahead.most * max((worst_case(node) or 0.0 for node in ahead.nodes), default=0.0)
    return replace(plan, worst_case_usd=total)


def make_lanes(nodes: Sequence[Node]) -> tuple[Lane, ...]:
    """Return lanes for ``nodes`` in their order; those that share a pod form one."""
    return tuple(_lane(group) for group in _groups(nodes))


def single_lane(node: Node) -> Lane:
    """Return a lane of one node for a source; it does not overlap with others that use a pod it shares."""
    return Lane(nodes=(node,), shares=frozenset(_shared_pods(node)))


def uses_pod(node: Node) -> bool:
    """Return whether a node asks for a pod, directly or through a fixture."""
    return PROVISION in node.definition.closure.definitions


def _groups(nodes: Sequence[Node]) -> list[list[Node]]:
    """Return the nodes grouped so that whatever two of them share, they are in one group; order is kept.

    A node may hold several shared pods and so join groups that were apart until then: the later one moves into the
    earlier, and leaves a forwarding address.
    """
    groups: list[list[Node]] = []
    moved: dict[int, int] = {}
    home: dict[Hashable, int] = {}

    def address(number: int) -> int:
        while number in moved:
            number = moved[number]
        return number

    for node in nodes:
        keys = list(_shared_pods(node))
        numbers = sorted({address(home[key]) for key in keys if key in home})
        if numbers:
            number = numbers[0]
            for joined in numbers[1:]:
                groups[number].extend(groups[joined])
                groups[joined] = []
                moved[joined] = number
            groups[number].append(node)
        else:
            number = len(groups)
            groups.append([node])
        home.update(dict.fromkeys(keys, number))
    if not moved:
        return groups
    order = {node.id: place for place, node in enumerate(nodes)}
    return [sorted(group, key=lambda node: order[node.id]) for group in groups if group]


def _shared_pods(node: Node) -> Iterator[Hashable]:
    """Yield a key for each pod of module or session scope that a node uses."""
    closure = node.definition.closure
    if PROVISION not in closure.definitions:
        return
    for name in closure.names:
        holder = closure.nearest(name)
        if holder is None or name == PROVISION or PROVISION not in holder.argnames:
            continue
        if holder.scope in (Scope.MODULE, Scope.SESSION):
            names = needs(closure, holder)
            params = tuple((key, param.key) for key, param in node.fixture_params.items() if key in names)
            yield holder, node.file if holder.scope is Scope.MODULE else "", params


def _lane(nodes: Sequence[Node]) -> Lane:
    per_node = [_gpus_taken(node) for node in nodes]
    each = max((taken for taken in per_node if taken), default=0)
    count = min((node.job.gpu.count if node.job.gpu else 0) for node in nodes)
    places = count // each if each and all(per_node) and len(nodes) > 1 else 1
    return Lane(nodes=tuple(nodes), places=max(1, places), gpus_each=each if places > 1 else 0)


def _gpus_taken(node: Node) -> int:
    """Return how many GPUs of its pod a node takes by its mark ``slots(gpu=N)``; 0 means all of them."""
    mark = node.mark("slots") if node.marks else None
    taken = mark.kwargs.get("gpu", mark.args[0] if mark.args else 1) if mark else 0
    return taken if isinstance(taken, int) and taken > 0 else 0
