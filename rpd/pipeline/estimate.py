"""Estimates: the worst case of each node, and its expected cost if it runs as it last did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rpd.config import Config
from rpd.errors import ProviderError
from rpd.events import Events
from rpd.pipeline.check_datacenters import check_datacenters
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.price_source import Source
from rpd.pipeline.worst_case import Prices, make_overrides
from rpd.plan import uses_pod
from rpd.record import history
from rpd.runpod.address import EMULATOR
from rpd.runpod.catalogue.offers import is_sold_out
from rpd.values.frozen import frozen, replace
from rpd.values.node import Node
from rpd.values.plan import Ahead, Earlier
from rpd.values.pod import Offer
from rpd.values.report import NodeReport, Outcome

_RUNS_READ = 30
"""How many runs back to look."""


@frozen
class Estimate:
    """One node: the first offer to try, and USD; None if unknown."""

    node: Node
    offer: Offer | None
    seconds: float | None
    expected_usd: float | None
    worst_case_usd: float | None
    trouble: str = ""
    """Why there is no offer."""
    is_sold_out: bool = False
    times: int = 1
    """How many such nodes there may be: the trials of a search. ``seconds`` are of one, USD of all."""

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
            "times": self.times,
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
        """Return the node's duration when it last passed, else the usual one of its job; None if none passed."""
        own = self._by_node.get(node.id)
        others = self._by_job.get((node.file, node.definition.name))
        if own is not None or not others:
            return own
        from statistics import median  # who has no past need not load it

        return median(others)


def place_of(source: str) -> str:
    """Return, from the name of a source of prices, where passes of a job count: ``RunPod`` or ``an emulator``."""
    return "an emulator" if source.startswith(EMULATOR) else "RunPod"


def past_reports(runs_path: Path, *, local: bool) -> Iterable[NodeReport]:
    """Yield the reports of the last runs, the newest first; of runs on an emulator only if this is one as well."""
    runs = [info for info in history.runs(runs_path) if info.backend.startswith(EMULATOR) is local]
    for info in runs[:_RUNS_READ]:
        yield from history.reports(Path(info.folder))


def estimate(config: Config, nodes: Sequence[Node], source: Source, events: Events) -> list[Estimate]:
    """Return an estimate for each of ``nodes`` at the prices of ``source``, of a search for all of its trials.

    Raise ProviderError, UsageError.
    """
    experience = Experience(past_reports(config.runs_path, local=source.name.startswith(EMULATOR)))
    provider = source.provider
    prices = Prices(lambda: provider, make_overrides(config), Foresight(config, nodes))
    for warning in check_datacenters(config.pods.datacenter_id, nodes, lambda: provider):
        events.notice(warning)
    all_nodes = list(nodes)
    sources = events.make_sources(config=config, nodes=all_nodes, earlier=Earlier())
    all_nodes += [node for each in sources for lane in each.lanes for node in lane.nodes]
    estimates = [_estimate(node, prices, experience) for node in all_nodes]
    parts: dict[str, list[Estimate]] = {}
    for ahead in (ahead for each in sources for ahead in each.ahead):
        part = _most(ahead, [_estimate(node, prices, experience) for node in ahead.nodes])
        parts.setdefault(part.node.id, []).append(part)
    estimates += map(_together, parts.values())
    prices.tell_unforeseen(events)
    places = {node.id: place for place, node in enumerate(nodes)}
    return sorted(estimates, key=lambda row: places.get(row.node.id, len(places)))


def _most(ahead: Ahead, kinds: Sequence[Estimate]) -> Estimate:
    """Return the estimate of all nodes that a source may add: of so many of the kind that may cost most."""
    costliest = max(kinds, key=lambda row: (row.worst_case_usd or 0.0, row.expected_usd or 0.0))
    return replace(
        costliest,
        times=ahead.most,
        expected_usd=None if costliest.expected_usd is None else costliest.expected_usd * ahead.most,
        worst_case_usd=None if costliest.worst_case_usd is None else costliest.worst_case_usd * ahead.most,
    )


def _together(parts: Sequence[Estimate]) -> Estimate:
    """Return one estimate for all that stands for one node; its offer is that of the first part."""
    expected = [part.expected_usd for part in parts]
    worst = [part.worst_case_usd for part in parts]
    return replace(
        parts[0],
        times=sum(part.times for part in parts),
        expected_usd=None if None in expected else sum(usd or 0.0 for usd in expected),
        worst_case_usd=None if None in worst else sum(usd or 0.0 for usd in worst),
        is_sold_out=any(part.is_sold_out for part in parts),
        trouble=next((part.trouble for part in parts if part.trouble), ""),
    )


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
    """Return the offers to try, or why there are none. Raise ProviderError if that would affect every node."""
    try:
        offers = prices.offers(node)
    except ProviderError as error:
        if error.stops_run:
            raise
        return (), str(error)
    return offers, "" if offers else "nothing on offer"
