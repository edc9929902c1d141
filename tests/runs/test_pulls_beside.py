"""Pulls that repeat while a job runs, in whole runs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.record import history
from rpd.testing import RpdRun
from tests.runs.conftest import outcomes, run_dir_of
from tests.runs.test_resume import free_the_commands
from tests.waiting import wait_until

Project = Callable[[dict[str, str]], Path]

DEPLOY = """
import threading
import rpd

job = rpd.job(gpu=None, budget=rpd.Budget(cost_cap_usd=1))

def wait_for(path):
    tick = threading.Event()
    for _ in range(3000):
        if path.exists():
            return
        tick.wait(0.02)
    raise AssertionError(f"{path} did not come")

@job
def passes(pod, run_dir):
    assert pod.pull("ckpt/", every="0.05s") is None
    pod.run("mkdir -p ckpt; echo 1 > ckpt/one")
    wait_for(run_dir / "artifacts/ckpt/one")
    pod.run("echo 2 > ckpt/two")

@job
def fails(pod, run_dir):
    pod.pull("ckpt/", every="0.05s")
    pod.run("mkdir -p ckpt; echo 1 > ckpt/one")
    wait_for(run_dir / "artifacts/ckpt/one")
    pod.run("echo 2 > ckpt/two; exit 3")

@job
def fails_before(pod):
    pod.run("mkdir -p ckpt; echo 1 > ckpt/one; exit 3")
    pod.pull("ckpt/", every="1h")

@job
def never_writes(pod):
    pod.pull("ckpt/", every="1h")

@job
def need_not_write(pod):
    pod.pull("ckpt/", every="1h", required=False)

@job
def asks_wrongly(pod):
    pod.pull("ckpt/", every="now and then")
"""

EXPECTED = {
    "passes": "passed",
    "fails": "failed",
    "fails_before": "failed",
    "never_writes": "failed",
    "need_not_write": "passed",
    "asks_wrongly": "failed",
}


def test_checkpoints_come_home_on_every_outcome(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """They arrive while the job runs, and whole at its end; only a required place that stays empty fails a job."""
    folder = project({"deploy_x.py": DEPLOY})
    result = rpd(folder, "-n", "3")
    assert outcomes(result) == EXPECTED, result.out + result.err
    for name, files in {"passes": ["one", "two"], "fails": ["one", "two"], "fails_before": ["one"]}.items():
        report = result.report(name)
        ckpt = Path(report.folder) / "artifacts/ckpt"
        assert sorted(path.name for path in ckpt.iterdir()) == files, name
        (artifact,) = report.artifacts
        assert (artifact.local, artifact.files, artifact.verified) == ("artifacts/ckpt", len(files), True)
    assert "does not exist on the pod" in result.report("never_writes").result.reason
    assert "every='now and then'" in result.report("asks_wrongly").result.reason


def test_a_dry_run_tells_of_it(rpd: RpdRun, project: Project) -> None:
    """The step says how often."""
    folder = project({"deploy_x.py": DEPLOY})
    result = rpd(folder, "--dry-run", "-k", "never_writes")
    assert "pull /workspace/ckpt/ every 1h" in result.out


KILLED = """
import rpd

@rpd.job(gpu=None, budget=rpd.Budget(cost_cap_usd=1))
def fit(pod):
    pod.run("mkdir -p project")
    pod.pull("ckpt/", every="0.05s")
    pod.run("mkdir -p ckpt; echo 1 > ckpt/one; while [ ! -e project/go ]; do sleep 0.1; done; echo 2 > ckpt/two")
"""


def test_it_goes_on_in_a_resumed_run(rpd: RpdRun, project: Project, emulator: Launched) -> None:
    """The driver that carries on pulls on, though the step was done by the one that was killed."""
    folder = project({"deploy_x.py": KILLED})

    def has(name: str) -> bool:
        return bool(list((folder / "rpd-runs").glob(f"2*/*/artifacts/ckpt/{name}")))

    process = rpd.start(folder)
    try:
        wait_until(lambda: has("one"), what="the first pull")
    finally:
        process.send_signal(signal.SIGKILL)
        process.finish()
    free_the_commands(emulator, folder)
    result = rpd(folder, command="resume")
    assert result.exit_code == 0, result.out + result.err
    assert has("two")
    run_dir = run_dir_of(folder)
    assert run_dir is not None
    (report,) = history.reports(run_dir)
    assert [step.command.partition(" /")[0] for step in report.steps if step.kind == "pull"] == [
        "pull",
        "pull",
    ]
    assert [artifact.files for artifact in report.artifacts] == [2]
    assert emulator.pods() == []
