"""``rpd run``."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from rpd.cli.collect import print_errors, summary_line
from rpd.config import Config
from rpd.hooks import PluginManager
from rpd.pipeline.run import run
from rpd.record.redact import Redactor
from rpd.terminal import Terminal


def main(config: Config, manager: PluginManager) -> int:
    """Run, with the terminal listening."""
    redactor = Redactor()
    with ExitStack() as stack:
        if not manager.is_blocked("terminal"):
            terminal = Terminal(config, redact=redactor.text)
            stack.callback(terminal.close)
            manager.register(terminal, "terminal")
        ended = run(config, manager, redactor)
    print_errors(ended.gathered.errors)
    if ended.summary is None:
        print(f"rpd: nothing was run: {summary_line(ended.gathered)}", file=sys.stderr)
    return ended.exit_code
