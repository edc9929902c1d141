"""``rpd ui``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rpd.cli.command_options import UiOptions
from rpd.cli.output import say
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.record import history
from rpd.web.live_runs import LiveRuns
from rpd.web.run_folders import is_run_folder
from rpd.web.server import serve


def main(config: Config, manager: PluginManager) -> int:
    """Serve the live page until Ctrl-C, and say where."""
    own: UiOptions = config.own
    del manager
    if len(config.args) > 1:
        raise UsageError("rpd ui takes one path: a run folder, or a folder of run folders")
    runs = _runs(config.runs_path, config.args, config.invocation_dir)

    def ready(address: str) -> None:
        port = address.split("/")[2].partition(":")[2]
        say(f"open {address}")
        say("It is read-only, and only this machine can open it, with the key in the address.")
        say(f"From elsewhere: ssh -L {port}:127.0.0.1:{port} this-machine, then open the same address there.")
        say("Ctrl-C stops the page; runs continue.")
        if own.open_browser:
            import webbrowser

            webbrowser.open(address)

    try:
        asyncio.run(serve(runs, port=own.port, ready=ready))
    except KeyboardInterrupt:
        say()
    return ExitCode.OK


def _runs(runs_path: Path, args: Sequence[str], invocation_dir: Path) -> LiveRuns:
    """Return the runs to serve. Raise UsageError for a path that has none."""
    if not args:
        return LiveRuns(runs_path, is_run=False)
    place = invocation_dir / Path(args[0]).expanduser()
    if not place.is_dir():
        raise UsageError(f"{args[0]}: expected a run folder, or a folder of run folders")
    place = place.resolve()
    if is_run_folder(place):
        return LiveRuns(place, is_run=True)
    if history.runs(place):
        return LiveRuns(place, is_run=False)
    raise UsageError(f"{args[0]}: neither a run folder nor a folder that has one")
