"""Orders nodes by their needs, and finds cycles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from rpd.collect.failures import at_function
from rpd.errors import CollectionError
from rpd.values.node import Node


def ring_in(nodes: Iterable[Node], rootdir: Path) -> CollectionError | None:
    """Return an error for nodes that need each other in a cycle; None if there is none."""
    by_id = {node.id: node for node in nodes}
    try:
        TopologicalSorter({node.id: node.needs for node in by_id.values() if node.needs}).prepare()
    except CycleError as error:
        ring: Sequence[str] = error.args[1][::-1]  # graphlib lists a need before the node that needs it
        first = by_id[ring[0]]
        chain = ", which needs ".join(by_id[node_id].name for node_id in ring[1:])
        text = f"{first.name} needs {chain}: none of them could ever run"
        return at_function(text, first.definition.function, rootdir=rootdir, name=first.definition.name)
    return None


def needed_by(nodes: Iterable[Node], known: Mapping[str, Node]) -> list[Node]:
    """Return ``nodes`` in their order and, before the first that needs it, each node of ``known`` that one needs.

    There must be no ring among them.
    """
    ordered: dict[str, Node] = {}
    for node in nodes:
        waiting = [node]
        while waiting:
            last = waiting[-1]
            missing = [known[each] for each in last.needs if each not in ordered and each in known]
            if missing:
                waiting += reversed(missing)
                continue
            waiting.pop()
            ordered.setdefault(last.id, last)
    return list(ordered.values())
