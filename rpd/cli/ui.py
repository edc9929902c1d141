"""``rpd ui``."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rpd.cli.output import say
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.record import history
from rpd.web.folders import is_run_folder
from rpd.web.live import LiveRuns
from rpd.web.server import serve


def main(config: Config, manager: PluginManager) -> int:
    """Serve the live page until Ctrl-C, and say where."""
    del manager
    if len(config.args) > 1:
        raise UsageError("rpd ui takes one path: a run folder, or a folder of run folders")
    runs = _runs(config)

    def ready(address: str) -> None:
        port = address.split("/")[2].partition(":")[2]
        say(f"open {address}")
        say("It only reads, and only this machine can open it; the address holds the key to it.")
        say(f"From elsewhere: ssh -L {port}:127.0.0.1:{port} this-machine, then open the same address there.")
        say("Ctrl-C ends it; runs go on.")
        if config.own.open_browser:
            import webbrowser

            webbrowser.open(address)

    try:
        asyncio.run(serve(runs, port=config.own.port, ready=ready))
    except KeyboardInterrupt:
        say()
    return ExitCode.OK


def _runs(config: Config) -> LiveRuns:
    """Return the runs to serve. Raises UsageError for a path that has none."""
    if not config.args:
        return LiveRuns(config.runs_path, is_run=False)
    place = config.invocation_dir / Path(config.args[0]).expanduser()
    if not place.is_dir():
        raise UsageError(f"{config.args[0]}: expected a run folder, or a folder of run folders")
    place = place.resolve()
    if is_run_folder(place):
        return LiveRuns(place, is_run=True)
    if history.runs(place):
        return LiveRuns(place, is_run=False)
    raise UsageError(f"{config.args[0]}: there is no run in it, and it is none")
