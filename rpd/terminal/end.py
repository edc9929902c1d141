"""The end of a run: which of its sections are shown, by the flags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rpd.config import Config
from rpd.terminal import end_summary, end_tables
from rpd.terminal.screen import Screen
from rpd.values.report import NodeReport, RunSummary
from rpd.values.sort_order import Ranking, missing, ranked


class End:
    """Yields the sections of the end, each with a blank line before it. ``level`` counts ``-v`` up and ``-q`` down."""

    def __init__(self, config: Config, screen: Screen, level: int) -> None:
        self._config = config
        self._output = config.output
        self._screen = screen
        self._ink = screen.ink
        self._level = level
        self._is_verbose = level >= 1

    def failures(self, reports: Sequence[NodeReport]) -> Iterator[str]:
        """Yield FAILURES, and PASSES where they are asked for."""
        if self._level <= -2:
            return
        output, width = self._output, self._screen.width
        style = end_summary.Style(output.traceback, full=output.full_trace, log=output.show_capture != "no")
        yield from end_summary.failures(
            reports, width=width, verbose=self._is_verbose, ink=self._ink, style=style
        )
        if end_tables.wants_passes(output.report_chars):
            yield from end_summary.passes(reports, width=width, ink=self._ink)

    def results(self, reports: Sequence[NodeReport]) -> Iterator[str]:
        """Yield the table of results, in the order of ``--sort``."""
        if self._level >= 0:
            from rpd.terminal import results_table  # a dry run has no results

            order = ranked(reports, Ranking.parse(self._output.sort)) if self._output.sort else reports
            yield from results_table.tables(
                order, width=self._screen.width, verbose=self._is_verbose, ink=self._ink
            )

    def wrong_sort(self, reports: Sequence[NodeReport]) -> str:
        """Return the error in ``--sort``, now that all names are known; empty if there is none."""
        if self._level < 0 or not self._output.sort:
            return ""
        wrong = missing(reports, Ranking.parse(self._output.sort))
        return (
            f"--sort {self._output.sort}: {wrong}. `rpd report --sort NAME` can still sort them"
            if wrong
            else ""
        )

    def lists(self, reports: Sequence[NodeReport], notices: Sequence[str]) -> Iterator[str]:
        """Yield the lists of ``--durations``, ``--costs`` and ``-rw``, and the short summary."""
        if self._level <= -2:
            return
        output, ink, width = self._output, self._ink, self._screen.width
        if output.durations is not None:
            yield from end_tables.durations(
                reports,
                number=output.durations,
                least=output.durations_min,
                verbose=self._level >= 2,
                width=width,
                ink=ink,
            )
        if output.costs is not None:
            yield from end_tables.costs(reports, number=output.costs, width=width, ink=ink)
        if end_tables.wants_notices(output.report_chars):
            yield from end_tables.notices(notices, width=width, ink=ink)
        if not output.no_summary:
            yield from end_summary.short_summary(
                reports,
                width=width,
                verbose=self._is_verbose,
                crop=self._screen.is_interactive,
                ink=ink,
                chars=output.report_chars,
            )

    def pods_left(self, summary: RunSummary) -> Iterator[str]:
        """Yield which pods are not gone."""
        yield from end_summary.pods_left(summary, width=self._screen.width, ink=self._ink)

    def next_steps(self, summary: RunSummary) -> Iterator[str]:
        """Yield suggestions for the next step."""
        if self._level >= 0 and not self._output.no_summary:
            from rpd.terminal import next_steps

            steps = next_steps.next_steps(self._config, summary, width=self._screen.width, ink=self._ink)
            for number, line in enumerate(steps):
                yield from () if number else ("",)
                yield line
