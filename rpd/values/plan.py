"""The plan: which nodes run in which order, who shares a pod, and what may join while the run goes on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rpd.values.frozen import EMPTY, frozen
from rpd.values.node import Node

if TYPE_CHECKING:
    from rpd.values.report import NodeReport


@frozen
class Lane:
    """Nodes that share a pod (or a single node): one after the other, or ``places`` of them side by side.

    ``gpus_each`` is how many of the pod's GPUs each of them gets then, 0 where it has the whole pod.
    """

    nodes: tuple[Node, ...]
    places: int = 1
    gpus_each: int = 0
    shares: frozenset[Hashable] = frozenset()
    """What identifies the pods it shares with lanes of a source: two lanes that have one in common never overlap."""


@frozen
class Ahead:
    """Nodes that a source may add while the run goes on: ``most`` of them at most.

    ``nodes`` has one of each kind: they stand for those to come where prices, secrets and images are looked at.
    """

    nodes: tuple[Node, ...]
    most: int
    is_set_aside: bool = False
    """Whether ``--budget`` keeps their worst case from the beginning: nothing else can use it up."""


class Source:
    """Hands out lanes while a run goes on; a plugin returns some from ``rpd_make_sources``.

    It may hold lanes that are known beforehand until they can start, and it may add nodes that nobody knew. rpd calls a
    source from several threads, one call at a time; all slots wait meanwhile, so it must be quick.
    """

    lanes: tuple[Lane, ...] = ()
    """What it will hand out that is known beforehand; these nodes are part of the plan."""
    ahead: tuple[Ahead, ...] = ()
    """What it may add; no more than that is handed out, and none of it may cost more than it was priced at."""
    is_part: bool = False
    """Whether it does a part again of what was done before: no later run takes its results for those of the whole."""

    @property
    def is_over(self) -> bool:
        """Whether it will never hand out anything again."""
        raise NotImplementedError

    def next(self) -> Lane | None:
        """Return a lane that can start now, None if there is none now: it is asked again when a node has ended.

        Raises RpdError for what makes the run pointless: nothing new starts then, and the run has failed.
        """
        raise NotImplementedError

    def ended(self, node: Node, report: NodeReport) -> None:
        """Called once for each node of the run that has ended, no matter which source handed it out."""

    @property
    def results(self) -> Mapping[str, Sequence[str]]:
        """By the id of a collected node in whose place it adds others: those whose results stand for it, best first."""
        return EMPTY

    def finished(self, other: Source) -> None:
        """Hear that another source has become over."""

    def keeps(self, shares: frozenset[Hashable]) -> bool:  # noqa: ARG002
        """Whether what a lane shared that has ended is kept for another one; if not, its pods are given back."""
        return True

    def refused(self, node: Node, reason: str) -> bool:  # noqa: ARG002
        """Hear that ``--budget`` has no room for a node it handed out; return whether the run goes on without it."""
        return False

    def ahead_of(self, node: Node) -> Ahead:  # noqa: ARG002
        """Return which part of ``ahead`` a node belongs to that it adds."""
        return self.ahead[0]

    def note(self, node: Node) -> Mapping[str, Any]:  # noqa: ARG002
        """Return what the journal keeps of a node that it adds, as JSON; a resumed run finds it in ``Earlier``."""
        return EMPTY


@frozen
class Earlier:
    """What is known of a run before it begins: of one that is resumed, which nodes were added, and what became of all.

    ``added`` are lines of its journal: ``id``, and what the source noted.
    """

    added: tuple[Mapping[str, Any], ...] = ()
    reports: tuple[NodeReport, ...] = ()
    """Of the nodes that are over."""
    folder: str = ""
    """Its run folder; empty for a new run."""


@frozen
class Plan:
    """Lanes in the order in which slots take them; ``width`` slots work at once.

    ``worst_case_usd`` is what all nodes cost if each runs into its cap, those that sources may add included.
    """

    lanes: tuple[Lane, ...]
    width: int = 1
    worst_case_usd: float = 0.0
    sources: tuple[Source, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that is known, in the order of the lanes."""
        own = tuple(node for lane in self.lanes for node in lane.nodes)
        held = (node for source in self.sources for lane in source.lanes for node in lane.nodes)
        return (*own, *held) if self.sources else own

    @property
    def kinds(self) -> tuple[Node, ...]:
        """Every node that is known, and one of each kind of those that may be added."""
        if not self.sources:
            return self.nodes
        return (*self.nodes, *(node for ahead in self.ahead for node in ahead.nodes))

    @property
    def ahead(self) -> tuple[Ahead, ...]:
        """What sources may add."""
        return tuple(ahead for source in self.sources for ahead in source.ahead)

    @property
    def most(self) -> int:
        """How many nodes there are at most."""
        return len(self.nodes) + sum(ahead.most for ahead in self.ahead)
