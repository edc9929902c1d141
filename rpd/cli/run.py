"""``rpd run``."""

from __future__ import annotations

from rpd.config import Config
from rpd.hooks import PluginManager
from rpd.pipeline.run import run


def main(config: Config, manager: PluginManager) -> int:
    """Run, with the terminal listening."""
    if not manager.is_blocked("terminal"):
        from rpd.terminal import Terminal

        manager.register(Terminal(config), "terminal")
    ended = run(config, manager)
    if config.print_run_dir and ended.summary is not None and ended.summary.folder:
        print(ended.summary.folder)
    return ended.exit_code
