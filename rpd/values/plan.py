"""The plan: which nodes run in which order, and who shares a pod."""

from __future__ import annotations

from rpd.values.frozen import frozen
from rpd.values.node import Node


@frozen
class Lane:
    """Nodes that share a pod (or a single node): one after the other, or ``places`` of them side by side.

    ``gpus_each`` is how many of the pod's GPUs each of them gets then, 0 where it has the whole pod.
    """

    nodes: tuple[Node, ...]
    places: int = 1
    gpus_each: int = 0


@frozen
class Plan:
    """Lanes in the order in which slots take them; ``width`` slots work at once.

    ``worst_case_usd`` is what all nodes cost if each runs into its cap.
    """

    lanes: tuple[Lane, ...]
    width: int = 1
    worst_case_usd: float = 0.0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, in the order of the lanes."""
        return tuple(node for lane in self.lanes for node in lane.nodes)
