"""The plugin of a measurement: one node per job and GPU type, ended when its series is long enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rpd.hooks import hookimpl
from rpd.measure.speed import Points
from rpd.values.duration import format_duration
from rpd.values.frozen import replace
from rpd.values.job import Budget, Gpu, Lifecycle
from rpd.values.node import Node
from rpd.values.report import NodeReport

START_SECONDS = 300.0
"""How long a job may take until its first number: downloads, compilers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU type to measure on: as many as the job has, and their price (USD per hour)."""

    gpu_id: str
    count: int
    usd_per_hr: float


@dataclass(slots=True, kw_only=True)
class Measured:
    """One node on one card: the points of its series, and how it ended."""

    node: str
    card: Card
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    began: float | None = None
    """When its job began, on the clock of the points."""
    report: NodeReport | None = None

    @property
    def points(self) -> Mapping[str, Points]:
        """Its series by name."""
        return self.series


class Measuring:
    """Replaces the nodes of a run: ``cards`` are those of each node to measure, by its id."""

    def __init__(
        self, cards: Mapping[str, Sequence[Card]], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cards = cards
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self.measured: dict[str, Measured] = {}

    @property
    def count(self) -> int:
        """How many nodes there are to measure."""
        return sum(map(len, self._cards.values()))

    @hookimpl(trylast=True)
    def rpd_modify_nodes(self, nodes: list[Node]) -> None:
        """Leave one node for each job and card."""
        made = []
        for node in nodes:
            for card in self._cards.get(node.id, ()):
                changed = self._on(node, card)
                self.measured[changed.id] = Measured(node=node.id, card=card)
                made.append(changed)
        nodes[:] = made

    def _on(self, node: Node, card: Card) -> Node:
        job = node.job
        limits = Budget(
            cost_cap_usd=job.budget.cost_cap_usd,
            max_runtime=self._seconds + START_SECONDS,
            ssh_ready_timeout=job.budget.ssh_ready_timeout,
        )
        gpu = (
            replace(job.gpu, ids=(card.gpu_id,), min_vram_gb=None)
            if job.gpu is not None
            else Gpu(card.gpu_id, count=card.count)
        )
        short = card.gpu_id.removeprefix("NVIDIA ").replace(" ", "-")
        case = f"{node.case}-{short}" if node.case else short
        name = node.id.partition("[")[0] if node.case else node.id
        own = replace(job, gpu=gpu, budget=limits, lifecycle=Lifecycle())
        return replace(node, id=f"{name}[{case}]", case=case, own_job=own)

    @hookimpl
    def rpd_node_started(self, node: Node) -> None:
        """Forget the series of an earlier attempt."""
        measured = self.measured.get(node.id)
        if measured is not None:
            measured.series, measured.began = {}, None

    @hookimpl
    def rpd_step_started(self, node: Node) -> None:
        """Note when the job gets to work."""
        measured = self.measured.get(node.id)
        if measured is not None and measured.began is None:
            measured.began = self._clock()

    @hookimpl
    def rpd_metric(self, node: Node, name: str, step: float) -> None:
        """Note when a point was heard."""
        measured = self.measured.get(node.id)
        if measured is not None:
            with self._lock:
                measured.series.setdefault(name, []).append((self._clock(), step))

    @hookimpl(tryfirst=True)
    def rpd_prune(self, node: Node) -> str | None:
        """End a node whose series has gone on for long enough."""
        measured = self.measured.get(node.id)
        if measured is None:
            return None
        first = min(points[0][0] for points in measured.series.values())
        return (
            f"measured for {format_duration(self._seconds)}"
            if self._clock() - first >= self._seconds
            else None
        )

    @hookimpl
    def rpd_node_report(self, report: NodeReport) -> None:
        """Keep how a node ended."""
        measured = self.measured.get(report.node.id)
        if measured is not None:
            measured.report = report
