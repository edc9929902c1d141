"""A dry run on the screen: the steps each node would take, and their possible cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rpd.config import Config
from rpd.hooks import hookimpl
from rpd.terminal import end_summary, planned_node
from rpd.terminal.styles import counted, money
from rpd.terminal.view import View
from rpd.values.dryrun import DryRunNode, Outlook
from rpd.values.report import NodeReport, Outcome, RunSummary

_BATCH = 2000
"""Nodes of a quiet dry run that are written at once."""


class DryRunView(View):
    """Draws the plan of each node; of finished nodes, only those that did not pass."""

    title = "rpd dry run"

    def __init__(self, config: Config, file: TextIO | None = None, **how: object) -> None:
        super().__init__(config, file, **how)  # type: ignore[arg-type]
        self._shows_nodes = self._level > -2 and not config.run.setup_plan
        self._batch: list[str] = []
        self._usd = 0.0
        self._unknown = 0
        self._above: DryRunNode | None = None
        """The node that was drawn whole last."""
        self._outlooks: dict[str, Outlook] = {}
        """By node: whether a live dry run found its pod in stock."""

    def close(self) -> None:
        """Write pending lines."""
        super().close()
        self._before_line()

    @hookimpl
    def rpd_dry_run_node(self, planned: DryRunNode) -> None:
        """Draw the plan of a node; with ``-q`` one line per node, in batches: there may be thousands."""
        if planned.worst_case_usd is None:
            self._unknown += 1
        else:
            self._usd += planned.worst_case_usd
        if planned.outlook is not None:
            self._outlooks[planned.node_id] = planned.outlook
        if not self._shows_nodes:
            return
        if self._level >= 0:
            self._screen.lines([*self._drawn(planned), ""])
            return
        self._batch.append(planned_node.one_line(planned))
        if len(self._batch) >= _BATCH:
            self._before_line()

    def _drawn(self, planned: DryRunNode) -> Iterable[str]:
        """Return the lines of a node; the nodes of a sweep ask for the same, which is shown once without ``-v``."""
        above = self._above
        if above is not None and self._level < 1 and planned_node.is_like(planned, above):
            return planned_node.draw_beside(planned, above, self._ink)
        self._above = planned
        return planned_node.draw(planned, self._ink)

    def _before_line(self) -> None:
        with self._lock:
            batch, self._batch = self._batch, []
        if batch:
            self._screen.line(self._ink.legible("\n".join(batch)))

    def _is_shown(self, report: NodeReport) -> bool:
        outcome = report.result.outcome
        is_skip_shown = outcome is Outcome.SKIPPED and self._level >= 0
        return self._level > -2 and (not outcome.is_ok or is_skip_shown)

    def _before_last(self) -> Iterable[str]:
        if self._outlooks:
            yield self._ink(planned_node.could_be_rented(self._outlooks.values()), "bold")

    def _last_line(self, summary: RunSummary) -> str:
        unknown = f" and {counted(self._unknown, 'node')} of unknown price" if self._unknown else ""
        return end_summary.last_line(
            summary,
            width=self._screen.width,
            ink=self._ink,
            crop=self._screen.is_interactive,
            worst_case=f"{money(self._usd)}{unknown}",
        )
