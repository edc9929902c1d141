"""Reports for elsewhere: an HTML file, and a table for GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rpd.config import Config
from rpd.errors import UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.record.report_output import write_report
from rpd.redaction import Redactor
from rpd.values.report import NodeReport
from rpd.values.sort_order import Ranking, ranked


def add_reports(
    config: Config, manager: PluginManager, redactor: Redactor, environ: Mapping[str, str] = os.environ
) -> None:
    """Register the reports that a flag or the environment asks for. Raises UsageError."""
    events = Events(manager)
    if config.output.html is not None and not manager.is_blocked("html"):
        path = config.invocation_dir / Path(config.output.html).expanduser()
        if path.is_dir():
            raise UsageError(f"--html {config.output.html}: expected a file, but this is a folder")

        from rpd.html import HtmlReport  # few runs write one

        def order(reports: Sequence[NodeReport]) -> Sequence[NodeReport]:
            return ranked(reports, Ranking.parse(config.output.sort)) if config.output.sort else reports

        report = HtmlReport(path, redactor=redactor, write=write_report, events=events, order=order)
        manager.register(report, "html")
    step_summary = environ.get("GITHUB_STEP_SUMMARY")
    if step_summary and not config.run.dry_run and not manager.is_blocked("step summary"):
        from rpd.step_summary import StepSummary

        summary = StepSummary(Path(step_summary), redactor=redactor, events=events)
        manager.register(summary, "step summary")
