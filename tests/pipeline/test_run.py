"""A run is called by any program, on any thread, and leaves the process to its caller."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from rpd.config import Config
from rpd.config.merge import make_config
from rpd.config.settings_file import find_root, read_file
from rpd.errors import ExitCode, UsageError
from rpd.execute import fixtures
from rpd.execute.node import runner
from rpd.hooks import PluginManager, make_plugin_manager
from rpd.pipeline.caller import Caller
from rpd.pipeline.run import Ended, run
from rpd.redaction import Redactor
from rpd.runpod.dry import provider
from rpd.stop import INTERRUPTED, Stop, StopLevel
from rpd.values.pod import Account

DEPLOY = """
import rpd

@rpd.job
def train(pod):
    assert rpd.job(spot=True).image == "IMAGE"
    pod.run("true")
"""


def settings_of(folder: Path, **flags: object) -> Config:
    root, file = find_root(folder)
    return make_config(
        command="run",
        rootdir=root,
        invocation_dir=root,
        config_file=file,
        file_values=read_file(file),
        flags=flags,
        args=(),
    )


def plugins() -> PluginManager:
    manager = make_plugin_manager()
    for module in (fixtures, runner, provider):
        manager.register(module, module.__name__)
    return manager


def write(folder: Path, image: str = "one:1") -> Path:
    folder.mkdir()
    (folder / "rpd.toml").write_text(f'[job]\nimage = "{image}"\n', encoding="utf-8")
    (folder / "deploy_x.py").write_text(DEPLOY.replace("IMAGE", image), encoding="utf-8")
    return folder


class Watching:
    """Holds a run at the end of its first node, and records its requests."""

    def __init__(self, go: threading.Event) -> None:
        self.at_end = threading.Event()
        self.images: list[str] = []
        self._go = go

    def rpd_node_report(self, report: object) -> None:
        self.at_end.set()
        assert self._go.wait(60)

    def rpd_run_started(self, plan: object) -> None:
        self.images += [node.job.image for node in plan.nodes]  # type: ignore[attr-defined]


def test_two_projects_run_at_once_on_threads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each with its own job defaults; signals, environment, streams and other threads stay the caller's."""
    go = threading.Event()
    before = (
        {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        dict(os.environ),
    )
    watching, ended = {}, {}

    def work(name: str) -> None:
        folder = write(tmp_path / name, image=f"{name}:1")
        manager = plugins()
        manager.register(watching[name], "watching")
        ended[name] = run(settings_of(folder, dry_run=True), manager, Redactor())

    threads = []
    for name in ("one", "two"):
        watching[name] = Watching(go)
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
    for each in watching.values():
        assert each.at_end.wait(60)
    # Both are in the middle of their dry run: this thread is none of theirs.
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=60).close()
    go.set()
    for thread in threads:
        thread.join()
    assert {name: each.images for name, each in watching.items()} == {"one": ["one:1"], "two": ["two:1"]}
    assert {name: each.exit_code for name, each in ended.items()} == {"one": ExitCode.OK, "two": ExitCode.OK}
    assert before == (
        {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        dict(os.environ),
    )
    assert capfd.readouterr() == ("", "")


class Expensive(provider.OfflineProvider):
    def account(self) -> Account:
        return Account(id="me", balance_usd=None)


class Renting:
    """A plugin that would rent, if anyone agreed, and receives the notices."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def rpd_notice(self, text: str) -> None:
        self.heard.append(text)

    def rpd_provider(self) -> Expensive:
        return Expensive()


def live(folder: Path, caller: Caller | None, renting: Renting | None = None) -> Ended:
    manager = plugins()
    manager.register(renting or Renting(), "renting")
    config = settings_of(folder, overrides=[("confirm_above_usd", "1")])
    return run(config, manager, Redactor(), caller=caller)


def test_who_cannot_be_asked_has_to_agree_beforehand(tmp_path: Path) -> None:
    """A caller that does not answer gets an error, one that refuses gets nothing; nothing is created.

    The pods to rent have been shown before anyone is asked.
    """
    folder = write(tmp_path / "one")
    with pytest.raises(UsageError, match=r"may cost up to \$10\.00, more than confirm_above_usd \(\$1\.00\)"):
        live(folder, None)
    asked: list[tuple[float, float]] = []

    def no(worst: float, limit: float) -> bool:
        asked.append((worst, limit))
        return False

    renting = Renting()
    assert live(folder, Caller(confirm=no), renting).exit_code is ExitCode.INTERRUPTED
    assert renting.heard == ["1 node on CPU in any data centre (secure) at $0.06 an hour, $10.00 at most"]
    assert asked == [(10.0, 1.0)]
    assert not (folder / "rpd-runs").exists()


def test_a_run_that_is_stopped_before_it_began(tmp_path: Path) -> None:
    """It creates nothing."""
    folder = write(tmp_path / "one")
    stop = Stop()
    stop.request(StopLevel.END, f"{INTERRUPTED}stop()")
    ended = live(folder, Caller(confirm=lambda worst, limit: True, stop=stop))
    assert ended.exit_code is ExitCode.INTERRUPTED
    assert not (folder / "rpd-runs").exists()
