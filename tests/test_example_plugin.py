"""The example of a plugin: it works as a module named with ``-p`` and as an installed package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.testing import RpdRun, RunResult

PLUGIN = Path(__file__).parent.parent / "examples" / "plugin"

DEPLOY = """
import rpd

@rpd.job
@rpd.mark.loud
def preflight(notify):
    notify("the data is there")

@rpd.job
def broken():
    assert False
"""

Run = Callable[..., RunResult]


def import_path(*folders: Path) -> str:
    """Return a search path with ``folders`` on it, and rpd itself."""
    return ":".join(map(str, (*folders, PLUGIN.parents[1])))


@pytest.fixture
def run(tmp_path: Path, rpd_run: RpdRun) -> Run:
    (tmp_path / "rpd.toml").write_text("", encoding="utf-8")
    (tmp_path / "deploy_a.py").write_text(DEPLOY, encoding="utf-8")

    def call(*args: str, path: str = import_path(PLUGIN), command: str = "run") -> RunResult:
        return rpd_run(tmp_path, *args, command=command, env={"PYTHONPATH": path})

    return call


def test_the_plugin_tells_of_a_run(run: Run, tmp_path: Path) -> None:
    """With ``-p`` its option, mark, fixture and hooks work together."""
    result = run("-p", "rpd_notify", "--notify-file", "news.txt")
    assert result.exit_code == 1, result.err
    assert (tmp_path / "news.txt").read_text(encoding="utf-8").splitlines() == [
        "the data is there",
        "passed deploy_a.py::preflight",
        "2 nodes, 1 failed, $0.00",
    ]


def test_the_plugin_is_silent_without_its_option(run: Run, tmp_path: Path) -> None:
    """Without ``--notify-file`` nothing is written, and the fixture still works."""
    assert run("-p", "rpd_notify").report("preflight").result.outcome == "passed"
    assert not (tmp_path / "news.txt").exists()


def test_the_plugin_shows_in_the_lists(run: Run) -> None:
    """Help, marks and fixtures show the additions of the plugin."""
    assert re.search(r"plugin rpd_notify:\n +--notify-file FILE", run("-p", "rpd_notify", "--help").out)
    assert "@rpd.mark.loud: tell of this node" in run("-p", "rpd_notify", command="markers").out
    listed = run("-p", "rpd_notify", command="fixtures").out
    assert "--- fixtures of plugin rpd_notify ---\nnotify [session scope] -- .../rpd_notify.py:" in listed


def test_without_the_plugin_its_mark_is_unknown(run: Run) -> None:
    """Its mark is registered by the plugin alone."""
    result = run()
    assert result.exit_code == 2
    assert "'loud' not found in `markers`" in result.err


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example in it, as an installer lays it out."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = tmp_path_factory.mktemp("site")
    info = folder / f"rpd_notify-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = "\n".join(f"{name} = {target}" for name, target in project["entry-points"]["rpd"].items())
    (info / "entry_points.txt").write_text(f"[rpd]\n{points}\n", encoding="utf-8")
    (folder / "rpd_notify.py").write_text(
        (PLUGIN / "rpd_notify.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    return folder


def test_the_installed_plugin_is_loaded(run: Run, tmp_path: Path, installed: Path) -> None:
    """Installed, it is loaded through its entry point, and can be kept out by its name."""
    path = import_path(installed)
    run("--notify-file", "news.txt", path=path)
    assert (tmp_path / "news.txt").exists()
    result = run("-p", "no:notify", "--notify-file", "news.txt", path=path)
    assert result.exit_code == 4
    assert "--notify-file" in result.err
