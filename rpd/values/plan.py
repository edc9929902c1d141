"""The plan: the order of nodes, who shares a pod, and which nodes may join during the run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rpd.values.frozen import EMPTY, frozen
from rpd.values.node import Node

if TYPE_CHECKING:
    from rpd.values.report import NodeReport


@frozen
class Lane:
    """Nodes that share a pod (or a single node): one after the other, or ``places`` of them in parallel.

    ``gpus_each`` is how many of the pod's GPUs each of them gets then, 0 if each has the whole pod.
    """

    nodes: tuple[Node, ...]
    places: int = 1
    gpus_each: int = 0
    shares: frozenset[Hashable] = frozenset()
    """Keys of the pods it shares with lanes of a source: two lanes with a common key never overlap."""


@frozen
class Ahead:
    """Nodes that a source may add during the run: at most ``most``.

    ``nodes`` has one of each kind, for the checks of prices, secrets and images.
    """

    nodes: tuple[Node, ...]
    most: int
    is_set_aside: bool = False
    """Whether ``--budget`` keeps their worst case from the start: nothing else can use it up."""


class Source:
    """Hands out lanes during a run; a plugin returns some from ``rpd_make_sources``.

    It may hold planned lanes until they can start, and it may add nodes that were not planned. rpd calls a source
    from several threads, one call at a time; all slots wait meanwhile, so it must be quick.
    """

    lanes: tuple[Lane, ...] = ()
    """The lanes it will hand out that are known beforehand; their nodes are part of the plan."""
    ahead: tuple[Ahead, ...] = ()
    """The nodes it may add; it hands out no more than that, and none may cost more than it was priced at."""
    is_part: bool = False
    """Whether it repeats a part of earlier work: later runs do not take its results for those of the whole."""

    @property
    def is_over(self) -> bool:
        """Whether it will never hand out anything again."""
        raise NotImplementedError

    def next(self) -> Lane | None:
        """Return a lane that can start now, None if there is none; called again when a node has ended.

        Raise RpdError for an error that makes the run pointless: nothing new starts then, and the run has
        failed.
        """
        raise NotImplementedError

    def ended(self, node: Node, report: NodeReport) -> None:
        """Called once for each node of the run that has ended, no matter which source handed it out."""

    @property
    def results(self) -> Mapping[str, Sequence[str]]:
        """By the id of a collected node in whose place it adds others: those whose results stand for it, best first."""
        return EMPTY

    def finished(self, other: Source) -> None:
        """Called when another source is over."""

    def keeps(self, shares: frozenset[Hashable]) -> bool:  # noqa: ARG002
        """Return whether the values shared by an ended lane are kept for another one.

        If not, its pods are released.
        """
        return True

    def refused(self, node: Node, reason: str) -> bool:  # noqa: ARG002
        """Called when ``--budget`` has no room for a node it handed out.

        Return whether the run continues without it.
        """
        return False

    def ahead_of(self, node: Node) -> Ahead:  # noqa: ARG002
        """Return which part of ``ahead`` a node belongs to that it adds."""
        return self.ahead[0]

    def note(self, node: Node) -> Mapping[str, Any]:  # noqa: ARG002
        """Return the journal's record of a node that it adds, as JSON; a resumed run finds it in ``Earlier``."""
        return EMPTY


@frozen
class Earlier:
    """The known past of a run before it starts: if it is resumed, which nodes were added, and the reports.

    ``added`` are lines of its journal: ``id``, and the record of the source.
    """

    added: tuple[Mapping[str, Any], ...] = ()
    reports: tuple[NodeReport, ...] = ()
    """Of the finished nodes."""
    folder: str = ""
    """Its run folder; empty for a new run."""


@frozen
class Plan:
    """Lanes in the order in which slots take them; ``width`` slots work at once.

    ``worst_case_usd`` is the cost if every node reaches its cap, including nodes that sources may add.
    """

    lanes: tuple[Lane, ...]
    width: int = 1
    worst_case_usd: float = 0.0
    sources: tuple[Source, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that is known, in the order of the lanes."""
        own = tuple(node for lane in self.lanes for node in lane.nodes)
        from_sources = (node for source in self.sources for lane in source.lanes for node in lane.nodes)
        return (*own, *from_sources) if self.sources else own

    @property
    def kinds(self) -> tuple[Node, ...]:
        """Every node that is known, and one of each kind of those that may be added."""
        if not self.sources:
            return self.nodes
        return (*self.nodes, *(node for ahead in self.ahead for node in ahead.nodes))

    @property
    def ahead(self) -> tuple[Ahead, ...]:
        """The nodes that sources may add."""
        return tuple(ahead for source in self.sources for ahead in source.ahead)

    @property
    def most(self) -> int:
        """How many nodes there are at most."""
        return len(self.nodes) + sum(ahead.most for ahead in self.ahead)
