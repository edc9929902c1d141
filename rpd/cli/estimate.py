"""``rpd estimate``: what nodes may cost at worst, and what they will cost if they go as they last did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rpd.cli.collect import print_errors, tell_nothing
from rpd.cli.document import say_document
from rpd.cli.notices import Notices
from rpd.cli.output import note, say
from rpd.cli.price_source import SHIPPED, price_source
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, ProviderError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.pipeline.check_datacenters import check_datacenters
from rpd.pipeline.collect_and_select import gather
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.live_check import is_sold_out
from rpd.pipeline.worst_case import Prices, make_overrides
from rpd.plan import uses_pod
from rpd.record import history
from rpd.runpod.address import EMULATOR
from rpd.values.duration import format_duration
from rpd.values.node import Node
from rpd.values.pod import Offer
from rpd.values.report import NodeReport, Outcome

_RUNS_READ = 30
"""How many runs back to look."""

_HEAD = ("NODE", "FIRST OFFER", "$/H", "TIME", "EXPECTED", "WORST")


@dataclass(frozen=True, slots=True, kw_only=True)
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


def main(config: Config, manager: PluginManager) -> int:
    """Print the expected and the worst cost of each node and of all."""
    manager.register(Notices(), "notices")
    gathered = gather(config, manager)
    print_errors(gathered.errors)
    if gathered.errors:
        return ExitCode.INTERRUPTED
    if not gathered.nodes:
        tell_nothing(config, gathered)
        return ExitCode.NOTHING_COLLECTED
    with price_source(config) as source:
        local = source.name.startswith(EMULATOR)
        experience = Experience(past_reports(config.runs_path, local=local))
        provider = source.provider
        prices = Prices(lambda: provider, make_overrides(config), Foresight(config, gathered.nodes))
        for warning in check_datacenters(config.pods.datacenter_id, gathered.nodes, lambda: provider):
            Events(manager).notice(warning)
        estimates = [_estimate(node, prices, experience) for node in gathered.nodes]
        prices.tell_unforeseen(Events(manager))
    if config.output.as_json:
        say_document(_document(estimates, source.name))
    else:
        if source.live is None:
            note(f"rpd: {SHIPPED}")
        _print(estimates, quiet=config.output.quiet > 0)
    sold_out = [held.node.id for held in estimates if held.is_sold_out]
    if not sold_out:
        return ExitCode.OK
    more = f" and {len(sold_out) - 1} more" if len(sold_out) > 1 else ""
    note(f"rpd: what {sold_out[0]}{more} asks for is sold out now (see `rpd gpus`)")
    return ExitCode.SOLD_OUT


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


def _totals(estimates: Sequence[Estimate]) -> tuple[float, int, float]:
    """Return the expected USD, of how many nodes it is, and the worst USD."""
    expected = [held.expected_usd for held in estimates if held.expected_usd is not None]
    return sum(expected), len(expected), sum(held.worst_case_usd or 0.0 for held in estimates)


def _document(estimates: Sequence[Estimate], source: str) -> dict[str, Any]:
    expected, known, worst = _totals(estimates)
    return {
        "source": source,
        "nodes": [held.table() for held in estimates],
        "expected_usd": expected,
        "expected_for_nodes": known,
        "worst_case_usd": worst,
    }


def _print(estimates: Sequence[Estimate], *, quiet: bool) -> None:
    if not quiet:
        rows = [_HEAD, *map(_cells, estimates)]
        say(
            "\n".join(table(rows, right=range(2, len(_HEAD)), cut={0: 24, 1: 16}, leave_out=(3, 1))),
            end="\n\n",
        )
    say(_summary(estimates))


def _summary(estimates: Sequence[Estimate]) -> str:
    expected, known, worst = _totals(estimates)
    unknown = len(estimates) - known
    told = f"expected {_usd(expected)}"
    if unknown and expected == 0:
        told = "expected unknown (none of the jobs has passed here yet)"
    elif unknown:
        told += f" without {unknown} whose jobs have not passed here yet"
    count = f"{len(estimates)} node{'' if len(estimates) == 1 else 's'}"
    return f"{count}: {told}, at worst {_usd(worst)}"


def _cells(held: Estimate) -> tuple[str, ...]:
    if not uses_pod(held.node):
        return held.node.id, "no pod", "", "", _usd(0.0), _usd(0.0)
    rate = held.offer.usd_per_hr if held.offer else None
    return (
        held.node.id,
        str(held.offer) if held.offer else held.trouble,
        "?" if rate is None else f"{rate:.2f}",
        "?" if held.seconds is None else format_duration(held.seconds),
        "?" if held.expected_usd is None else _usd(held.expected_usd),
        "?" if held.worst_case_usd is None else _usd(held.worst_case_usd),
    )


def _usd(amount: float) -> str:
    return f"${amount:.2f}" if amount == 0 or amount >= 0.01 else f"${amount:.4f}"
