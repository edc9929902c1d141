"""The graph of one invocation: its nodes with their needs, and which of them run only for others."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from rpd.collect.needs import Links
from rpd.errors import CollectionError
from rpd.graph.choosing import complete
from rpd.graph.earlier_results import Past
from rpd.graph.left import Left
from rpd.graph.meeting import meet
from rpd.graph.topological_order import needed_by, ring_in
from rpd.values.node import Node
from rpd.values.report import NodeReport


class Graph:
    """The requested nodes and those they may bring along; ``errors`` join those of collecting.

    Needs of selected nodes are selected with them; with ``must_take`` they must be in ``past`` instead. Needs
    that are left out after that are looked for in ``past``, if given, before they run all the same.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        links: Links,
        rootdir: Path,
        *,
        past: Past | None,
        must_take: bool,
        notice: Callable[[str], object],
    ) -> None:
        met = meet(nodes, links, rootdir)
        ring = ring_in((*met.nodes, *met.others), rootdir)
        self.errors: tuple[CollectionError, ...] = (*met.errors, *((ring,) if ring else ()))
        self.nodes = tuple(node for node in met.nodes if not (ring and node.needs))
        self.brought: frozenset[str] = frozenset()
        """Nodes that only run because others need them."""
        self.taken: tuple[NodeReport, ...] = ()
        """Reports of earlier runs whose results nodes use, as those of nodes that need not run."""
        self.others = tuple(node for node in met.others if not (ring and node.needs))
        """Nodes that nobody asked for and that may be needed."""
        self.left = Left()
        """What the nodes leave for each other while they run."""
        self._past = past
        self._must_take = must_take
        self._notice = notice
        self._asked: frozenset[str] = frozenset()
        self._collected = frozenset(node.id for node in self.nodes)
        self._known: Mapping[str, Node] = {node.id: node for node in (*self.nodes, *self.others)}

    def collected(self, safe: Sequence[Node]) -> tuple[Node, ...]:
        """Return those nodes of ``safe`` that were asked for; no other than these is ever brought along."""
        self._known = {node.id: node for node in safe}
        return tuple(filter(self.was_asked_for, safe))

    def with_needs(self, nodes: Sequence[Node]) -> list[Node]:
        """Return the nodes that were selected and, before each, those it needs (not where they are to be taken)."""
        self._asked = frozenset(node.id for node in nodes)
        if self._must_take:
            return list(nodes)
        return needed_by(nodes, self._known)

    def complete(self, nodes: Sequence[Node], done: Container[str]) -> list[Node]:
        """Return the remaining nodes, in an order in which they can run, with needs that have no result yet.

        Raise UsageError if a result must be taken from an earlier run and is not there.
        """
        chosen = complete(
            nodes,
            self._known,
            done=done,
            past=self._past,
            must_take=self._must_take,
            notice=self._notice,
        )
        self.taken = chosen.taken
        self.left.stand_for(chosen.stands)
        self.left.planned = frozenset(node.id for node in chosen.nodes)
        self.brought = frozenset(node.id for node in chosen.nodes) - self._asked
        return list(chosen.nodes)

    def go_on(
        self, nodes: Sequence[Node], stands: Mapping[str, Sequence[str]], gone: Mapping[str, str]
    ) -> None:
        """Continue with the nodes that an earlier process left, and with the results that it had chosen.

        ``stands`` are the ids of nodes that replace others; ``gone`` says why results are no longer there.
        """
        self.left.planned = frozenset(node.id for node in nodes)
        self.brought &= self.left.planned
        self.left.stand_for(stands)
        self.left.lack(gone)

    def was_asked_for(self, node: Node) -> bool:
        """Return whether a node was selected for its own sake, or could have been."""
        return node.id in self._collected

    def tell_brought(self, nodes: Sequence[Node], worst_case: Callable[[Node], float]) -> str:
        """Return how many nodes run because others need them, and their worst case (USD)."""
        brought = [node for node in nodes if node.id in self.brought]
        usd = sum(map(worst_case, brought))
        count = "1 node runs" if len(brought) == 1 else f"{len(brought)} nodes run"
        return (
            f"{count} because others need {'it' if len(brought) == 1 else 'them'}, ${usd:.2f} of the worst case "
            "(--no-needs: take it from the last run that has it)"
        )
