"""Past runs on the screen, as at their own end."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rpd.terminal import end_summary, results_table
from rpd.terminal.screen import Screen
from rpd.values.report import NodeReport, RunSummary


def print_results(reports: Sequence[NodeReport], *, color: str) -> None:
    """Print a table for each job."""
    screen = Screen(sys.stdout, color=color)
    screen.lines(_results(reports, screen))


def print_run(summary: RunSummary, *, color: str) -> None:
    """Print the end of a run: tables, nodes that did not pass, pods that are left, the last line."""
    screen = Screen(sys.stdout, color=color)
    ink, width = screen.ink, screen.width
    lines = _results(summary.reports, screen)
    lines += end_summary.short_summary(
        summary.reports, width=width, verbose=True, crop=screen.is_interactive, ink=ink
    )
    lines += end_summary.pods_left(summary, width=width, ink=ink)
    screen.lines(
        [*lines, "", end_summary.last_line(summary, width=width, ink=ink, crop=screen.is_interactive)]
    )


def _results(reports: Sequence[NodeReport], screen: Screen) -> list[str]:
    """Return a table for each job, those of a single node too: there is nothing else to see of it here."""
    return list(results_table.tables(reports, width=screen.width, verbose=True, ink=screen.ink, every=True))
