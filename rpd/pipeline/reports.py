"""Reports for elsewhere: a table for GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.redaction import Redactor


def add_reports(manager: PluginManager, redactor: Redactor, environ: Mapping[str, str] = os.environ) -> None:
    """Register the reports that the environment asks for."""
    step_summary = environ.get("GITHUB_STEP_SUMMARY")
    if step_summary and not manager.is_blocked("step summary"):
        from rpd.step_summary import StepSummary

        summary = StepSummary(Path(step_summary), redactor=redactor, events=Events(manager))
        manager.register(summary, "step summary")
