"""The screen: implements the hooks of a run and draws it."""

from __future__ import annotations

from typing import TextIO

from rpd.config import Config
from rpd.redaction import Redactor
from rpd.terminal.view import View


def make_view(config: Config, file: TextIO, redactor: Redactor) -> View:
    """Return the view of the kind of run that ``config`` asks for."""
    if config.run.dry_run:
        from rpd.terminal.dry_run_view import DryRunView

        return DryRunView(config, file, redactor=redactor)
    from rpd.terminal.live_view import LiveView

    return LiveView(config, file, redactor=redactor)
