"""Draws the graph of needs: as a tree for a terminal, or as a Mermaid diagram."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rpd.values.node import Node

Price = Callable[[Node], float | None]
"""The most a node may cost in USD, None if it is not known."""


def tree(nodes: Sequence[Node], price: Price | None = None) -> Iterator[str]:
    """Yield the nodes that no other needs, and below each its needs. The needs of a node are shown once.

    With ``price``, show the worst case of each node, and for top nodes that including all they need.
    """
    by_id = {node.id: node for node in nodes}
    needed = {need for node in nodes for need in node.needs}
    shown: set[str] = set()
    for node in nodes:
        if node.id not in needed:
            yield f"{node.id}{_cost(node, by_id, price, is_whole=True)}"
            shown.add(node.id)
            yield from _below(node, by_id, shown, price)


def _below(node: Node, by_id: Mapping[str, Node], shown: set[str], price: Price | None) -> Iterator[str]:
    """Yield the needs of ``node`` as branches. The walk has its own stack, since a chain may be long."""
    waiting = _branches(node, "")
    while waiting:
        need, prefix, is_last = waiting.pop()
        below = by_id.get(need)
        branch = f"{prefix}{'└── ' if is_last else '├── '}{need}"
        if below is None:
            yield f"{branch}  (not selected)"
            continue
        if below.needs and need in shown:
            yield f"{branch}  (see above)"
            continue
        yield f"{branch}{_cost(below, by_id, price)}"
        shown.add(need)
        waiting += _branches(below, f"{prefix}{'    ' if is_last else '│   '}")


def _branches(node: Node, prefix: str) -> list[tuple[str, str, bool]]:
    """Return the needs of a node, in reverse, each with its prefix and whether it is the last one."""
    return [(need, prefix, place == 0) for place, need in enumerate(reversed(node.needs))]


def _cost(node: Node, by_id: Mapping[str, Node], price: Price | None, *, is_whole: bool = False) -> str:
    if price is None:
        return ""
    own = f"  <= ${price(node) or 0.0:.2f}"
    if not is_whole or not node.needs:
        return own
    total = sum(price(each) or 0.0 for each in _with_all_needs(node, by_id))
    return f"{own}, with all that it needs <= ${total:.2f}"


def _with_all_needs(node: Node, by_id: Mapping[str, Node]) -> list[Node]:
    needed = {node.id: node}
    waiting = [node]
    while waiting:
        for need in waiting.pop().needs:
            if need in by_id and need not in needed:
                needed[need] = by_id[need]
                waiting.append(by_id[need])
    return list(needed.values())


def mermaid(nodes: Sequence[Node]) -> Iterator[str]:
    """Yield a Mermaid flowchart: an arrow from each node to those that need it."""
    names = {node.id: f"n{number}" for number, node in enumerate(nodes)}
    yield "flowchart LR"
    for node in nodes:
        yield f'  {names[node.id]}["{_label(node.id)}"]'
    for node in nodes:
        for need in node.needs:
            if need in names:
                yield f"  {names[need]} --> {names[node.id]}"


def _label(text: str) -> str:
    """Return a text with the markup of Mermaid written as entities."""
    return "".join(each if each.isalnum() or each in " ._-/:[]=," else f"#{ord(each)};" for each in text)
