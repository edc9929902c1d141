"""NODES -> LANES: who shares a pod, in which order, how wide, and what it may cost at worst. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from rpd.values.fixture import Closure, FixtureDef, Scope
from rpd.values.node import Node
from rpd.values.plan import Lane, Plan

PROVISION = "provision"
"""The fixture that rents pods; a wider fixture that needs it holds a pod."""


def make_plan(nodes: Sequence[Node], *, width: int, worst_case: Callable[[Node], float | None]) -> Plan:
    """Return the plan for ``nodes`` in their order.

    Nodes that share a pod of module or session scope form one lane, at the place of its first node: nodes on one pod
    never overlap. A worker-scoped pod needs no lane of its own, since a slot runs one node at a time.
    """
    lanes: dict[Hashable, list[Node]] = {}
    shares: dict[Hashable, str] = {}
    for node in nodes:
        shared = _shared_pod(node)
        key = shared[1] if shared else node.id
        lanes.setdefault(key, []).append(node)
        shares[key] = shared[0] if shared else ""
    made = tuple(Lane(nodes=tuple(held), shares=shares[key]) for key, held in lanes.items())
    total = sum(cost for node in nodes if (cost := worst_case(node)) is not None)
    return Plan(lanes=made, width=width, worst_case_usd=total)


def uses_pod(node: Node) -> bool:
    """Whether a node asks for a pod, directly or through a fixture."""
    return PROVISION in node.definition.closure.definitions


def _shared_pod(node: Node) -> tuple[str, Hashable] | None:
    """Return the widest pod fixture of module or session scope a node uses, with what tells its instances apart."""
    closure = node.definition.closure
    if PROVISION not in closure.definitions:
        return None
    holders = [held for held in _pod_holders(closure) if held.scope in (Scope.MODULE, Scope.SESSION)]
    if not holders:
        return None
    widest = max(holders, key=lambda held: held.scope)
    place = node.file if widest.scope is Scope.MODULE else ""
    params = tuple(sorted((name, repr(held.key)) for name, held in node.fixture_params.items()))
    return widest.name, (widest, place, params)


def _pod_holders(closure: Closure) -> list[FixtureDef]:
    found = []
    for name in closure.names:
        if name == PROVISION:
            continue
        nearest = closure.nearest(name)
        if nearest is not None and PROVISION in nearest.argnames:
            found.append(nearest)
    return found
