"""Estimates: what nodes may cost at worst, and what they will cost if they go as they last did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rpd.config import Config
from rpd.errors import ProviderError
from rpd.events import Events
from rpd.pipeline.check_datacenters import check_datacenters
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.live_check import is_sold_out
from rpd.pipeline.price_source import Source
from rpd.pipeline.worst_case import Prices, make_overrides
from rpd.plan import uses_pod
from rpd.record import history
from rpd.runpod.address import EMULATOR
from rpd.values.frozen import frozen
from rpd.values.node import Node
from rpd.values.pod import Offer
from rpd.values.report import NodeReport, Outcome

_RUNS_READ = 30
"""How many runs back to look."""


@frozen
class Estimate:
    """One node: the first thing to try, and USD; None where nobody can say."""

    node: Node
    offer: Offer | None
    seconds: float | None
    expected_usd: float | None
    worst_case_usd: float | None
    trouble: str = ""
    """Why there is no offer."""
    is_sold_out: bool = False

    def table(self) -> dict[str, Any]:
        """Return it for JSON."""
        offer = self.offer
        return {
            "id": self.node.id,
            "gpu": offer.gpu_id if offer else None,
            "count": offer.count if offer else 0,
            "datacenter": offer.datacenter if offer else None,
            "cloud": offer.cloud if offer else None,
            "usd_per_hr": offer.usd_per_hr if offer else None,
            "expected_seconds": self.seconds,
            "expected_usd": self.expected_usd,
            "worst_case_usd": self.worst_case_usd,
            "trouble": self.trouble or None,
            "sold_out": self.is_sold_out,
        }


class Experience:
    """How long nodes, and the other nodes of their jobs, took on a pod when they passed."""

    def __init__(self, reports: Iterable[NodeReport]) -> None:
        self._by_node: dict[str, float] = {}
        self._by_job: dict[tuple[str, str], list[float]] = {}
        for report in reports:
            seconds = report.cost.billed_seconds
            if report.result.outcome is Outcome.PASSED and seconds > 0:
                self._by_node.setdefault(report.node.id, seconds)
                self._by_job.setdefault((report.node.file, report.node.job), []).append(seconds)

    def seconds(self, node: Node) -> float | None:
        """Return what the node took when it last passed, else what nodes of its job usually take, None if none did."""
        own = self._by_node.get(node.id)
        others = self._by_job.get((node.file, node.definition.name))
        return own if own is not None else median(others) if others else None


def past_reports(runs_path: Path, *, local: bool) -> Iterable[NodeReport]:
    """Yield the reports of the last runs, the newest first; of runs on an emulator only if this is one as well."""
    runs = [info for info in history.runs(runs_path) if info.backend.startswith(EMULATOR) is local]
    for info in runs[:_RUNS_READ]:
        yield from history.reports(Path(info.folder))


def estimate(config: Config, nodes: Sequence[Node], source: Source, events: Events) -> list[Estimate]:
    """Return an estimate for each of ``nodes`` at the prices of ``source``. Raises ProviderError, UsageError."""
    experience = Experience(past_reports(config.runs_path, local=source.name.startswith(EMULATOR)))
    provider = source.provider
    prices = Prices(lambda: provider, make_overrides(config), Foresight(config, nodes))
    for warning in check_datacenters(config.pods.datacenter_id, nodes, lambda: provider):
        events.notice(warning)
    estimates = [_estimate(node, prices, experience) for node in nodes]
    prices.tell_unforeseen(events)
    return estimates


def _estimate(node: Node, prices: Prices, experience: Experience) -> Estimate:
    if not uses_pod(node):
        return Estimate(node=node, offer=None, seconds=None, expected_usd=0.0, worst_case_usd=0.0)
    worst = prices.worst_case(node)
    offers, trouble = _offers(node, prices)
    offer = offers[0] if offers else None
    seconds = experience.seconds(node)
    rate = offer.usd_per_hr if offer else None
    expected = None if seconds is None or rate is None else min(seconds * rate / 3600, worst or 0.0)
    return Estimate(
        node=node,
        offer=offer,
        seconds=seconds,
        expected_usd=expected,
        worst_case_usd=None if offer is None else worst,
        trouble=trouble,
        is_sold_out=is_sold_out(offers),
    )


def _offers(node: Node, prices: Prices) -> tuple[Sequence[Offer], str]:
    """Return what would be tried, or why there is nothing. Raises ProviderError where no node could fare better."""
    try:
        offers = prices.offers(node)
    except ProviderError as error:
        if error.stops_run:
            raise
        return (), str(error)
    return offers, "" if offers else "nothing on offer"
