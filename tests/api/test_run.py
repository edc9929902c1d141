"""A run as a program starts it: on any thread, several at once, stopped, awaited, and without side effects."""

from __future__ import annotations

import _thread
import asyncio
import builtins
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import rpd
from rpd.emulator.launch import Launched
from rpd.errors import ExitCode, NodesFailed, UsageError
from rpd.record import history
from tests.waiting import DEADLINE

DEPLOY = """
import rpd
import site_settings

job = rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=1))

@job
def train(pod, record_metric, who):
    import site_settings as late
    assert late is site_settings
    record_metric("who", pod.run(f"echo {site_settings.NAME}-{who}").stdout.strip())
    record_metric("disk", rpd.job().container_disk_gb)

who = rpd.variable(default="nobody")
"""
HOLDS = """
import rpd

job = rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=1))

@job
def a_quick(): ...

@job
def b_holds(pod):
    pod.run("mkdir out; echo kept > out/r")
    pod.pull("out/")
    pod.run("sleep 900", name="holds")

@job
def c_never(): ...
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def of_the_process() -> dict[str, Any]:
    """Return the state of the process that a run must not change."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return {
        "signals": [signal.getsignal(number) for number in numbers],
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "path": list(sys.path),
        "helper": sys.modules.get("site_settings"),
        "import": builtins.__import__,
    }


def test_four_projects_at_once(
    clean_emulator: Launched, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each thread has its own files of the same names, its own defaults for jobs, and its own results."""
    rpd.nodes(root=write(tmp_path / "none"))  # earlier tests of this process may have left their import hook
    before = of_the_process()
    outcomes: dict[str, rpd.RunOutcome] = {}
    together = threading.Barrier(4, timeout=DEADLINE)

    class Waits:
        """Holds every run until all four have begun."""

        def rpd_run_started(self) -> None:
            together.wait()

    def work(number: int) -> None:
        name = f"p{number}"
        folder = write(
            tmp_path / name,
            deploy_x__py=DEPLOY,
            site_settings__py=f"NAME = {name!r}\n",
            rpd__toml=f"[job]\ncontainer_disk_gb = {30 + number}\n",
        )
        outcomes[name] = rpd.run(root=folder, var={"who": number}, plugins=[Waits()], yes=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics = {name: dict(outcome.report("train").metrics) for name, outcome in outcomes.items()}
    assert metrics == {f"p{n}": {"who": f"p{n}-{n}", "disk": 30 + n} for n in range(4)}
    assert all(outcome.ok and outcome.folder and outcome.folder.is_dir() for outcome in outcomes.values())
    assert of_the_process() == before
    assert capfd.readouterr() == ("", "")


class Heard:
    """A plugin that says when a step begins."""

    def __init__(self) -> None:
        self.holds = threading.Event()

    def rpd_step_started(self, step: Any) -> None:
        if step.name == "holds":
            self.holds.set()


def test_a_run_is_watched_and_stopped(clean_emulator: Launched, tmp_path: Path) -> None:
    """Reports come as nodes end; ``stop`` ends it in order, with the files pulled, and every pod is given back."""
    heard = Heard()
    folder = write(tmp_path / "p", deploy_x__py=HOLDS)
    running = rpd.start(root=folder, plugins=[heard], yes=True, html="page.html")
    reports = iter(running)
    assert next(reports).node.job == "a_quick"
    assert heard.holds.wait(DEADLINE)
    assert running.states == {
        "deploy_x.py::a_quick": "passed",
        "deploy_x.py::b_holds": "running",
        "deploy_x.py::c_never": "queued",
    }
    assert [report.node.job for report in running.reports] == ["a_quick"]
    board = running._repr_html_()
    assert "b_holds" in board
    assert "1 of 3 nodes done" in board
    assert "running" in str(running)
    with pytest.raises(TimeoutError, match="still running"):
        running.result(0.01)
    with pytest.raises(UsageError, match="stop: expected one of drain, end, abandon, got 'now'"):
        running.stop("now")  # type: ignore[arg-type]
    running.stop()
    assert [report.result.cause for report in reports] == ["interrupted"]
    outcome = running.result()
    assert running.done
    assert outcome.exit_code is ExitCode.INTERRUPTED
    assert any(notice.startswith("stop(): starting nothing new") for notice in outcome.notices)
    assert (Path(outcome.report("b_holds").folder) / "artifacts" / "out" / "r").read_text() == "kept\n"
    assert "b_holds" in (folder / "page.html").read_text(encoding="utf-8")
    assert clean_emulator.pods() == []
    with pytest.raises(NodesFailed, match="b_holds: error") as caught:
        outcome.raise_for_outcome()
    assert [report.node.job for report in caught.value.reports] == ["b_holds"]
    assert "1 not run" in str(outcome)


def test_an_interrupt_ends_it_in_order(clean_emulator: Launched, tmp_path: Path) -> None:
    """Ctrl-C in a program, or in a notebook, is raised once the run is over and its pods are released."""

    class Interrupts:
        def rpd_step_started(self, step: Any) -> None:
            if step.name == "holds":
                _thread.interrupt_main()

    folder = write(tmp_path / "p", deploy_x__py=HOLDS)
    with pytest.raises(KeyboardInterrupt):
        rpd.run("deploy_x.py::b_holds", root=folder, plugins=[Interrupts()], yes=True)
    assert clean_emulator.pods() == []
    (info,) = history.runs(folder / "rpd-runs")
    assert info.exit_code == 2
    assert info.argv == ("run", "--yes", "deploy_x.py::b_holds")


def test_in_an_asyncio_program(tmp_path: Path) -> None:
    """Reports and the outcome can be awaited while the event loop keeps running."""
    text = "import rpd\n@rpd.job\n@rpd.mark.parametrize('seed', [1, 2, 3])\ndef train(pod, seed): ...\n"
    folder = write(tmp_path / "p", deploy_x__py=text)

    async def program() -> tuple[list[int], bool, int]:
        running, ticks = rpd.start(root=folder, dry_run=True), 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        seeds = [report.node.parameters["seed"] async for report in running]
        outcome = await running
        ticking.cancel()
        return seeds, outcome.ok, ticks

    seeds, ok, ticks = asyncio.run(program())
    assert (seeds, ok) == ([1, 2, 3], True)
    assert ticks > 0
    assert not (folder / "rpd-runs").exists()


MISTAKES: dict[str, tuple[Any, str]] = {
    "a setting": (lambda: rpd.run(widht=3), "widht: unknown setting; did you mean 'width'"),
    "a value": (lambda: rpd.start(width=0), "width: expected a whole number"),
    "a file": (lambda: rpd.run("nope.py", dry_run=True), "file or directory not found: nope.py"),
    "a node": (lambda: rpd.run("deploy_x.py::trian", dry_run=True), "did you mean deploy_x.py::train"),
    "a flag as a path": (lambda: rpd.run("--local"), "settings are keyword arguments"),
    "a flag": (lambda: rpd.run(flags=["local"]), "flags: expected words such as '--site=cloud', got 'local'"),
    "an unknown flag": (lambda: rpd.start(flags=["--site=1"]), "unknown argument --site=1"),
    "a folder": (lambda: rpd.nodes(root="nowhere"), "root: no such folder"),
    "no job": (lambda: rpd.run(len), "len is not a job: decorate it with @rpd.job"),
    "no function": (lambda: rpd.run(3), "expected a path, a node id or a job function, got 3"),
    "two that exclude each other": (lambda: rpd.start(local=True, dry_run=True), "exclude each other"),
    "a plugin": (lambda: rpd.start(plugins=["no_such_plugin"]), "plugin no_such_plugin: cannot be imported"),
    "a hook": (lambda: rpd.start(plugins=[Misspelt()]), "unknown hook rpd_node_reprot"),
    "money": (lambda: rpd.run(yes=False, confirm_above_usd=0.5), "nobody to ask: set yes"),
    "nothing to forecast": (lambda: rpd.forecast(keyword="nope"), "no node is selected"),
    "a count": (lambda: rpd.prices(count=0), "count: expected a whole number from 1, got 0"),
    "values without a function": (lambda: rpd.run(parametrize={"a": 1}), "expected job functions"),
}  # fmt: skip


class Misspelt:
    def __init__(self) -> None:
        self.rpd_node_reprot = lambda report: None


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_typed_error_and_creates_nothing(
    mistake: str, clean_emulator: Launched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the mistake at the call."""
    text = "import rpd\n@rpd.job(budget=rpd.Budget(cost_cap_usd=1))\ndef train(pod): ...\n"
    monkeypatch.chdir(write(tmp_path / "p", deploy_x__py=text))
    act, message = MISTAKES[mistake]
    with pytest.raises(UsageError) as caught:
        act()
    assert message in str(caught.value)
    assert [path.name for path in Path.cwd().iterdir() if path.name != "__pycache__"] == ["deploy_x.py"]


def test_a_file_that_runs_itself_while_it_is_imported(tmp_path: Path) -> None:
    """The error says how to write that, instead of waiting for itself for ever."""
    text = "import rpd\n@rpd.job\ndef train(pod): ...\nrpd.run(__file__, dry_run=True)\n"
    (error,) = rpd.nodes(root=write(tmp_path / "p", deploy_x__py=text)).errors
    assert "deploy_x.py calls rpd while rpd imports it: put the call below `if __name__" in str(error)


def test_a_broken_file_is_part_of_the_answer(tmp_path: Path) -> None:
    """Nodes that can be collected come with the errors; a forecast and a run stop instead of leaving out the rest."""
    good = "import rpd\n@rpd.job\ndef train(pod): ...\n"
    folder = write(tmp_path / "p", deploy_a__py=good, deploy_b__py="1 / 0\n")
    nodes = rpd.nodes(root=folder)
    assert nodes.ids == ("deploy_a.py::train",)
    assert [error.place for error in nodes.errors] == ["deploy_b.py:1"]
    assert "deploy_b.py:1" in str(nodes)
    with pytest.raises(rpd.errors.CollectionFailed, match=r"deploy_b\.py:1"):
        nodes.raise_for_errors()
    with pytest.raises(rpd.errors.CollectionFailed):
        rpd.forecast(root=folder)
    outcome = rpd.run(root=folder, dry_run=True)
    assert (outcome.exit_code, len(outcome.errors), len(outcome.reports)) == (ExitCode.INTERRUPTED, 1, 0)
    with pytest.raises(rpd.errors.CollectionFailed):
        outcome.raise_for_outcome()


# --- functions that are given themselves ------------------------------------------------------------------------------


@rpd.fixture(params=["a", "b"])
def letter(request):
    return request.param


@rpd.job
def spelled(letter, seed, budget):
    return letter


def typed_in(name="train"):
    """Return a function as a notebook has it: without a file."""
    names: dict[str, Any] = {"__name__": "__main__"}
    text = f"import rpd\n@rpd.job\ndef {name}(pod, seed):\n    pod.run(f'echo {{seed}}')\n"
    exec(compile(text, "/tmp/ipykernel_1/123.py", "exec"), names)
    return names[name]


def test_functions_bring_their_fixtures_and_take_values(tmp_path: Path) -> None:
    """A keyword that is an argument gives it values: a list is a node for each; a fixture next to it counts."""
    nodes = rpd.nodes(spelled, seed=[1, 2], parametrize={"budget": 3}, root=tmp_path)
    assert [node.parameters for node in nodes] == [
        {"seed": seed, "budget": 3, "letter": letter} for letter in ("a", "b") for seed in (1, 2)
    ]
    assert {Path(tmp_path, node.file).resolve() for node in nodes} == {Path(__file__).resolve()}
    one, _ = rpd.nodes(spelled, root=tmp_path, parametrize={"seed,budget": [(3, 4)]})
    assert one.parameters == {"seed": 3, "budget": 4, "letter": "a"}
    with pytest.raises(UsageError, match="parametrize: none of the given functions asks for 'sed'"):
        rpd.nodes(spelled, seed=1, parametrize={"budget": 1, "sed": 2})
    with pytest.raises(UsageError, match="budget: both a setting and an argument of a job"):
        rpd.run(spelled, seed=1, budget=3, dry_run=True, root=tmp_path)
    with pytest.raises(UsageError, match="sede: unknown setting; did you mean 'seed'"):
        rpd.nodes(spelled, sede=1)


def test_functions_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand for a file in the root folder, which a notebook gives its name; a second definition is a new one."""
    outcome = rpd.run(typed_in(), seed=[1, 2], dry_run=True, root=tmp_path)
    assert [(r.node.id, r.steps[0].command) for r in outcome.reports] == [
        ("interactive::train[seed1]", "echo 1"),
        ("interactive::train[seed2]", "echo 2"),
    ]
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/sweeps.ipynb")
    assert rpd.nodes(typed_in(), typed_in("test"), seed=3, root=tmp_path).ids == (
        "sweeps.ipynb::train[seed3]",
        "sweeps.ipynb::test[seed3]",
    )
    with pytest.raises(UsageError, match="two functions are called 'train': rename one of them"):
        rpd.nodes(typed_in(), typed_in(), seed=3, root=tmp_path)
