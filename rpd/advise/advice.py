"""Advice about the nodes of a run: dollars by activity, idle GPUs, and cards that would have been large enough."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rpd.advise.activity import Activity, Doing
from rpd.runpod.catalogue.model import STOCK_ORDER, Catalogue, GpuRow
from rpd.values.frozen import frozen
from rpd.values.pod import Cloud
from rpd.values.report import NodeReport

MARGIN = 1.1
"""How much more memory than the peak a card should have: a sample every few seconds may miss the highest moment."""
USABLE = 0.97
"""How much of the memory in its name a card has for programs."""
MIB = 1024 * 1024
UNUSED_MB = 600.0
"""A driver takes so much of a GPU's memory while nothing runs on it."""
WORTH_SHARE = 0.15
"""A card that is cheaper by less is not worth a change."""
_CARDS = 3


@frozen
class Card:
    """A GPU type that is large enough for the job: USD per hour for as many as it has, and where it is in stock."""

    gpu_id: str
    memory_gb: int
    cloud: Cloud
    usd_per_hr: float
    stock: str = "unknown"
    places: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Use:
    """The spending of nodes of one job on one kind of pod (USD), and the load of their GPUs."""

    job: str
    gpu: str
    count: int = 0
    cloud: str = ""
    nodes: int = 0
    usd: float = 0.0
    rate: float = 0.0
    usd_by: dict[Doing, float] = field(default_factory=dict)
    idle_by: dict[Doing, float] = field(default_factory=dict)
    """USD for which the GPUs were seen to do nothing."""
    seconds: float = 0.0
    measured_seconds: float = 0.0
    idle_seconds: float = 0.0
    peak_mb: float | None = None
    total_mb: float | None = None
    busy: list[float] = field(default_factory=list)
    cheaper: tuple[Card, ...] = ()

    @property
    def idle_usd(self) -> float:
        """All money for which the GPUs were seen to do nothing."""
        return math.fsum(self.idle_by.values())

    @property
    def is_unused(self) -> bool:
        """Whether the GPUs were measured and nothing ever ran on them."""
        never_busy = self.measured_seconds > 0 and self.idle_seconds >= self.measured_seconds
        return never_busy and self.peak_mb is not None and self.peak_mb < UNUSED_MB

    @property
    def mean_busy(self) -> float | None:
        """How busy the GPUs were while commands worked, in percent."""
        return sum(self.busy) / len(self.busy) if self.busy else None


def uses(nodes: Iterable[tuple[NodeReport, Activity]]) -> list[Use]:
    """Return the use of each job and kind of pod, the most expensive first; nodes without a pod have none."""
    by_kind: dict[tuple[str, str, int, str], Use] = {}
    for report, activity in nodes:
        pod = report.pod
        if pod is None or not report.cost.estimated_usd:
            continue
        key = (f"{report.node.file}::{report.node.job}", pod.gpu, pod.count, pod.cloud)
        use = by_kind.setdefault(key, Use(job=key[0], gpu=pod.gpu, count=pod.count, cloud=pod.cloud))
        _add(use, report, activity)
    return sorted(by_kind.values(), key=lambda use: -use.usd)


def _add(use: Use, report: NodeReport, activity: Activity) -> None:
    usd = report.cost.estimated_usd
    use.nodes += 1
    use.usd += usd
    use.rate = max(use.rate, report.cost.rate_usd_per_hr)
    use.seconds += activity.seconds
    per_second = usd / activity.seconds if activity.seconds else 0.0
    for what, spent in activity.spent.items():
        use.usd_by[what] = use.usd_by.get(what, 0.0) + per_second * spent.seconds
        use.idle_by[what] = use.idle_by.get(what, 0.0) + per_second * spent.idle
        use.measured_seconds += spent.measured
        use.idle_seconds += spent.idle
    if activity.peak_mb is not None and activity.peak_mb > (use.peak_mb or 0.0):
        use.peak_mb, use.total_mb = activity.peak_mb, activity.total_mb
    if activity.busy is not None:
        use.busy.append(activity.busy)


def idle_share(of: Sequence[Use]) -> float | None:
    """Return the share (0 to 1) of the measured time in which the GPUs were idle; None without measurements."""
    measured = math.fsum(use.measured_seconds for use in of)
    return math.fsum(use.idle_seconds for use in of) / measured if measured else None


def idle_usd(of: Sequence[Use]) -> Mapping[Doing, float]:
    """Return the money for which GPUs did nothing, by activity, the most first."""
    total: dict[Doing, float] = {}
    for use in of:
        for what, usd in use.idle_by.items():
            total[what] = total.get(what, 0.0) + usd
    return dict(sorted(((what, usd) for what, usd in total.items() if usd > 0), key=lambda item: -item[1]))


def cheaper_cards(use: Use, catalogue: Catalogue) -> tuple[Card, ...]:
    """Return GPU types that are large enough for the job and cost clearly less per hour, the cheapest first.

    Those that are known to be sold out are left out. There are none where the memory was not measured.
    """
    if not use.gpu or use.peak_mb is None or not use.rate or use.is_unused:
        return ()
    needed = use.peak_mb * MARGIN * MIB
    clouds = [Cloud(use.cloud)] if use.cloud in set(Cloud) else [Cloud.SECURE]
    cards = [
        card
        for row in catalogue.gpus.values()
        if row.id != use.gpu and row.memory_gb * 10**9 * USABLE >= needed and _same_make(row.id, use.gpu)
        for cloud in clouds
        if (card := _card(row, cloud, use.count, catalogue)) is not None
        and card.usd_per_hr <= use.rate * (1 - WORTH_SHARE)
        and card.stock != "none"
    ]
    return tuple(sorted(cards, key=lambda card: (card.usd_per_hr, card.gpu_id))[:_CARDS])


def _same_make(gpu_id: str, other: str) -> bool:
    """Return whether programs for one run on the other: those for NVIDIA's do not run on AMD's."""
    return gpu_id.startswith("AMD") is other.startswith("AMD")


def _card(row: GpuRow, cloud: Cloud, count: int, catalogue: Catalogue) -> Card | None:
    price = row.price(cloud)
    if price is None or not row.rents(cloud, count):
        return None
    is_stock_known = catalogue.stock_known and cloud is Cloud.SECURE
    places = tuple(place for place, _ in catalogue.datacenters_with(row.id)) if is_stock_known else ()
    stock = catalogue.stock_in(row.id, None) if is_stock_known else "unknown"
    return Card(
        gpu_id=row.id,
        memory_gb=row.memory_gb,
        cloud=cloud,
        usd_per_hr=price * count,
        stock=stock if stock in STOCK_ORDER else "unknown",
        places=places,
    )
