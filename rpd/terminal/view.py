"""A run on the screen, live or dry: its head, finished nodes, notices, and its end."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from rpd.config import Config
from rpd.errors import Cause
from rpd.hooks import hookimpl
from rpd.redaction import NO_SECRETS, Redactor
from rpd.terminal import end_summary
from rpd.terminal.end import End
from rpd.terminal.head import head
from rpd.terminal.report_line import ReportLine
from rpd.terminal.screen import Screen
from rpd.terminal.styles import OUTCOME_STYLES
from rpd.uptime import uptime
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.report import NodeReport, Outcome, RunSummary

_WORD = 8
"""Columns of the word that begins a line, with the gap."""


class View:
    """Writes the lines of a run to ``file``; ``LiveView`` and ``DryRunView`` define the differences.

    Hooks may be called from any thread. Secrets are masked in every line. ``clock`` counts seconds. ``close``
    restores the terminal and may be called at any time and more than once.
    """

    title = "rpd run"

    def __init__(
        self,
        config: Config,
        file: TextIO | None = None,
        *,
        redactor: Redactor = NO_SECRETS,
        clock: Callable[[], float] = uptime,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._output = config.output
        self._clock = clock
        self._screen = Screen(
            file or sys.stdout, color=config.output.color, redactor=redactor, environ=environ
        )
        self._ink = self._screen.ink
        self._level = config.output.verbose - config.output.quiet
        self._lock = threading.RLock()
        self._deselected = 0
        self._outcomes: dict[str, Outcome] = {}
        self._notices: list[str] = []
        self._report_line = ReportLine(self._screen, _WORD)
        self._end = End(config, self._screen, self._level)
        atexit.register(self.close)

    def close(self) -> None:
        """Write pending lines, and restore the terminal."""
        atexit.unregister(self.close)

    # --- the beginning ----------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_collected(self, deselected: int) -> None:
        """Remember how many nodes were deselected, for the head."""
        self._deselected = deselected

    @hookimpl
    def rpd_run_started(
        self, config: Config, plan: Plan, backend: str, folder: Path | None, done: Sequence[NodeReport]
    ) -> None:
        """Write the head."""
        if config.output.print_run_dir and folder:
            self._screen.line(str(folder))
        if self._level < 0 or config.output.no_header:
            return
        self._screen.lines(
            head(
                self._screen,
                title=self.title,
                backend=backend,
                rootdir=config.rootdir,
                config_file=config.config_file,
                folder=folder,
                nodes=plan.most,
                is_most=bool(plan.ahead),
                deselected=self._deselected,
                done=done,
                facts=self._facts(plan),
                has_own_emulator=config.run.local or config.api is not None,
            )
        )

    def _facts(self, plan: Plan) -> list[str]:  # noqa: ARG002
        """Return more facts for the head."""
        return []

    # --- finished nodes ---------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_node_report(self, node: Node, report: NodeReport) -> None:
        """Write the line of a finished node."""
        outcome = report.result.outcome
        with self._lock:
            before = self._outcomes.get(node.id)
            self._outcomes[node.id] = outcome
            count = self._over(node, report)
        if before is not outcome and self._is_shown(report):
            self._show(report, count)

    def _over(self, node: Node, report: NodeReport) -> str:  # noqa: ARG002
        """Count a node that is over; return how many are, for its line."""
        return ""

    def _is_shown(self, report: NodeReport) -> bool:
        """Return whether a node that is over gets a line."""
        return self._level >= 0 or (self._level == -1 and not report.result.outcome.is_ok)

    def _show(self, report: NodeReport, count: str) -> None:
        self._before_line()
        result = report.result
        text = self._report_line.text(report, count)
        node_id = self._report_line.cropped(report.node.id, text)
        self._tell(result.word.upper(), node_id, text, OUTCOME_STYLES[result.outcome])
        # All interrupted nodes share one sentence.
        is_known = result.cause is Cause.INTERRUPTED and self._level < 1
        if result.outcome is not Outcome.PASSED and (result.cause or result.reason) and not is_known:
            because = end_summary.because(report).partition("\n")[0]
            shown = self._report_line.cropped(because, " " * 6, at_end=True)
            self._screen.line(self._ink(f"        {shown}", "dim"))

    def _before_line(self) -> None:
        """Write text that has to precede the next line."""

    def _tell(self, word: str, who: str, text: str = "", style: str = "") -> None:
        line = f"{who}  {text}" if text else who
        self._screen.line(f"{self._ink(f'{word:<{_WORD - 1}}', style)} {self._ink(line)}")

    @hookimpl
    def rpd_notice(self, text: str) -> None:
        """Write a sentence for the person at the screen."""
        self._before_line()
        self._notices.append(text)
        sentences = self._ink.legible(text).splitlines()
        lines = [line if line.startswith(" ") else f"rpd: {line}" for line in sentences]
        if self._screen.is_interactive:  # elsewhere a sentence stays on one line, for grep
            width = self._screen.width - 1
            lines = [part for line in lines for part in _wrapped(line, width)]
        self._screen.lines([self._ink(line, "yellow") for line in lines])

    # --- the end ----------------------------------------------------------------------------------------------------

    @hookimpl(trylast=True)
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Write failures, tables, pods that are left, the short summary and the last line."""
        self.close()
        lines = list(self._sections(summary.reports, summary))
        if lines and self._level > -2:
            lines.append("")
        lines += [*self._before_last(), self._last_line(summary)]
        if self._output.print_run_dir and summary.folder:
            lines.append(summary.folder)
        self._screen.lines(lines)

    def _sections(self, reports: Sequence[NodeReport], summary: RunSummary) -> Iterable[str]:
        """Yield the sections before the last line."""
        yield from self._end.failures(reports)
        yield from self._end.lists(reports, self._notices)
        yield from self._end.pods_left(summary)

    def _before_last(self) -> Iterable[str]:
        """Yield the lines right before the last line."""
        return ()

    def _last_line(self, summary: RunSummary) -> str:
        """Return the last line: counts, time, money."""
        raise NotImplementedError


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line of a sentence in parts; an indented one is a command, which stays whole to be copied."""
    if line.startswith(" "):
        return [line]
    import textwrap  # programs that read the output get whole lines

    return textwrap.wrap(line, width, subsequent_indent="     ")
