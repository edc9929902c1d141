"""One driver a run: a second one is refused, and the key of a pod that stays is never removed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.runs.conftest import events, run_dir_of
from tests.runs.test_resume import DIES, run_and_die
from tests.waiting import wait_until

Project = Callable[[dict[str, str]], Path]

WAITS = """
import pathlib
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
def fit(pod):
    pod.run("mkdir -p out; echo r > out/r; echo begun; sleep 2")
    here = pathlib.Path(__file__).parent
    while not (here / "go").exists():
        pod.run("sleep 0.1")
    pod.pull("out/")
"""

FAILS_THEN_WAITS = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, n):
    pod.run("echo weights > model")
    if n == 1:
        pod.run("exit 3")
    pod.run("echo begun; sleep 1")
"""


def has_output(folder: Path, text: str) -> bool:
    run_dir = run_dir_of(folder)
    logs = run_dir.glob("*/output.log") if run_dir else []
    return any(text in log.read_text(encoding="utf-8") for log in logs)


def test_a_second_resume_is_refused_while_the_first_drives(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """It exits with 4 and names the first one's process; that one ends as if nothing had been, on the only pod."""
    folder = project({"deploy_a.py": WAITS})
    driver = rpd.start(folder)
    wait_until(lambda: has_output(folder, "begun"), what="the command")

    early = rpd(folder, command="resume")
    assert early.exit_code == 4
    assert f"pid {driver.process.pid} on" in early.err

    driver.send_signal(signal.SIGKILL)
    driver.finish()
    first = rpd.start(folder, command="resume")
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    wait_until(lambda: events(run_dir, "adopted"), what="the first resume to take over the pod")

    second = rpd(folder, command="resume")
    assert second.exit_code == 4
    assert f"is driven by another process (pid {first.process.pid} on" in second.err
    assert "then resume the run" in second.err

    (folder / "go").touch()
    ended = first.finish()
    assert ended.exit_code == 0, ended.out + ended.err
    assert len(events(run_dir, "intent")) == 1
    assert emulator.pods() == []
    assert not (run_dir / ".ssh").exists()


def test_resuming_keeps_the_key_of_a_pod_that_was_kept_before(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The pod of the failed node is kept by the killed process; after `rpd resume` its results can still be fetched."""
    folder = project({"deploy_a.py": FAILS_THEN_WAITS, "conftest.py": DIES})
    run_and_die(rpd, folder, "begun", "--yes", "--keep-failed", "30m")

    resumed = rpd(folder, command="resume")

    assert resumed.exit_code == 1, resumed.out + resumed.err
    (kept,) = emulator.pods()
    shown = rpd(folder, kept["id"], "--", "cat", "model", command="ssh")
    assert shown.out == "weights\n", shown.out + shown.err
    assert rpd(folder, kept["id"], command="stop").exit_code == 0
