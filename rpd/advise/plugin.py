"""The plugin that prints up to two lines of advice at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from rpd.advise.activity import of_node
from rpd.advise.advice import Use, cheaper_cards, idle_share, uses
from rpd.advise.sentences import card_lines, idle_line
from rpd.events import Events
from rpd.hooks import PluginManager, hookimpl
from rpd.runpod.address import api_url
from rpd.runpod.catalogue.cache import default_store
from rpd.runpod.catalogue.live import Question
from rpd.runpod.catalogue.model import Catalogue, shipped_catalogue
from rpd.values.report import RunSummary

LEAST_SECONDS = 60.0
"""Of a run with less pod time nothing can be said."""
MOST_NODES = 200
"""The end of a run does not wait for more nodes to be read; `rpd advise` reads them all."""
_WORTH_IDLE = 0.2


class Advice:
    """Prints, before the results, when GPUs were idle, and a GPU that would have been large enough."""

    def __init__(self, events: Events) -> None:
        self._events = events

    @hookimpl(tryfirst=True)
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Say it in at most two lines."""
        billed = sum(report.cost.billed_seconds for report in summary.reports)
        if billed < LEAST_SECONDS:
            return
        costly = sorted(summary.reports, key=lambda report: -report.cost.estimated_usd)[:MOST_NODES]
        lines = two_lines(uses((report, of_node(report)) for report in costly), _known_catalogue())
        for number, line in enumerate(lines):
            self._events.notice(f"{line} (rpd advise says more)" if number == len(lines) - 1 else line)


def two_lines(of: Sequence[Use], catalogue: Catalogue) -> list[str]:
    """Return the advice that is worth a line at the end of a run."""
    lines = [idle_line(of)] if (idle_share(of) or 0.0) >= _WORTH_IDLE else []
    for use in of:
        use.cheaper = cheaper_cards(use, catalogue)
        lines += list(card_lines(use))[:1]
        if len(lines) > 1:
            break
    return [line for line in lines if line][:2]


def _known_catalogue() -> Catalogue:
    """Return prices without asking anybody: those kept from the last time that RunPod was asked, else the shipped."""
    kept = default_store(api_url()).read(repr(Question()))
    return shipped_catalogue() if kept is None else kept


def add_advice(manager: PluginManager) -> None:
    """Register it, unless it is switched off (``-p no:advice``)."""
    if not manager.is_blocked("advice"):
        manager.register(Advice(Events(manager)), "advice")
