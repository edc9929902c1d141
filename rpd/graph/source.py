"""The source of a graph: holds each node back until the nodes it needs are over. No pod waits meanwhile."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

from rpd.graph.earlier_results import PASSED
from rpd.plan import make_lanes, single_lane
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.plan import Lane, Source
from rpd.values.report import CACHED, NodeReport


class GraphSource(Source):
    """Hands out lanes of one node each, in the order of the plan, as soon as all needs of a node have passed.

    If a need did not pass, the node is handed out at once, to be reported as skipped. Nodes that neither need
    others nor are needed keep the lanes they would have without a graph. ``over`` are the ids of finished
    nodes; ``others`` those of nodes that other sources took, each over when its source is. ``stand`` is then
    called with the nodes that replace it, and returns whether one of them has results.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        over: Iterable[str] = (),
        *,
        others: Collection[str] = (),
        stand: Callable[[str, Sequence[str]], bool] = lambda _node_id, _ids: False,
    ) -> None:
        self._stand = stand
        self.lanes = _lanes(nodes)
        self._users: dict[str, list[int]] = {}
        self._missing: list[int] = []
        done = frozenset(over)
        planned_ids = {*others, *(node.id for lane in self.lanes for node in lane.nodes)}
        for place, lane in enumerate(self.lanes):
            needs = [
                need for node in lane.nodes for need in node.needs if need in planned_ids and need not in done
            ]
            self._missing.append(len(needs))
            for need in needs:
                self._users.setdefault(need, []).append(place)
        self._ready = [place for place, missing in enumerate(self._missing) if not missing]
        self._left = len(self.lanes)

    @property
    def is_over(self) -> bool:
        return not self._left

    def next(self) -> Lane | None:
        if not self._ready:
            return None
        self._left -= 1
        lane = self.lanes[heapq.heappop(self._ready)]
        return self._with_neighbours(lane) if lane.shares and _takes_slots(lane) else lane

    def _with_neighbours(self, lane: Lane) -> Lane:
        """Return a lane with all nodes that can start now and take some of the GPUs of the same pod."""
        places = sorted(
            place
            for place in self._ready
            if self.lanes[place].shares == lane.shares and _takes_slots(self.lanes[place])
        )
        if not places:
            return lane
        self._ready = [place for place in self._ready if place not in places]
        heapq.heapify(self._ready)
        self._left -= len(places)
        nodes = [*lane.nodes, *(node for place in places for node in self.lanes[place].nodes)]
        return replace(make_lanes(nodes)[0], shares=lane.shares)

    def ended(self, node: Node, report: NodeReport) -> None:
        self._over(node.id, passed=_passed(report))

    def finished(self, other: Source) -> None:
        for node_id, ids in other.results.items():
            self._over(node_id, passed=self._stand(node_id, ids))

    def _over(self, node_id: str, *, passed: bool) -> None:
        for place in self._users.pop(node_id, ()):
            left = self._missing[place]
            if left <= 0:
                continue  # another need did not pass
            self._missing[place] = left - 1 if passed else 0
            if not self._missing[place]:
                heapq.heappush(self._ready, place)

    def keeps(self, shares: frozenset[Hashable]) -> bool:
        return any(not shares.isdisjoint(self.lanes[place].shares) for place in self._ready)


def _lanes(nodes: Sequence[Node]) -> tuple[Lane, ...]:
    """Return the lanes for nodes, in the order of their first ones."""
    places = {node.id: place for place, node in enumerate(nodes)}
    needed = {need for node in nodes for need in node.needs}
    alone = [node for node in nodes if not node.needs and node.id not in needed]
    linked = [single_lane(node) for node in nodes if node.needs or node.id in needed]
    shared = frozenset(key for lane in linked for key in lane.shares)
    grouped = (replace(lane, shares=shared & _shares(lane)) for lane in make_lanes(alone))
    return tuple(sorted((*linked, *grouped), key=lambda lane: places[lane.nodes[0].id]))


def _takes_slots(lane: Lane) -> bool:
    return all(node.mark("slots") for node in lane.nodes)


def _shares(lane: Lane) -> frozenset[Hashable]:
    return frozenset(key for node in lane.nodes for key in single_lane(node).shares)


def _passed(report: NodeReport) -> bool:
    return report.result.outcome in PASSED or report.result.reason.startswith(CACHED)
