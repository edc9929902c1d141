"""``rpd ps``, ``rpd stop`` and ``rpd gc`` on an emulator."""

from __future__ import annotations

import json
import signal

import pytest

from rpd.cli.pods import _lines, _release
from rpd.emulator.launch import Launched
from rpd.errors import ReleaseError
from rpd.values.pod import PodInfo, PodStatus
from tests.cli.conftest import Project
from tests.waiting import wait_until

JOBS = """
import rpd

job = rpd.job(
    gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1), storage=rpd.Storage(volume_gb=50),
    container_disk_gb=30, lifecycle=rpd.Lifecycle(on_success="preserve"),
)

@job
def keep(pod):
    pod.run("true")

@job
def hang(pod):
    pod.run("echo begun; sleep 300")
"""


@pytest.fixture
def jobs(project: Project, emulator: Launched) -> Project:
    project.write({"deploy_a.py": JOBS})
    return project


def kill_a_run(project: Project) -> str:
    """Kill the driver of ``hang`` while its command runs, and return the id of its pod."""
    running = project.rpd.start(project.folder, "-k", "hang", "--yes")
    wait_until(lambda: any(project.folder.glob("rpd-runs/2*/*hang*/output.log")), "the command")
    listed = json.loads(project.command("ps", "--json").out)
    assert [pod["state"] for pod in listed if pod["node"] == "deploy_a.py::hang"] == ["in use"]
    assert "still goes on" in project.command("gc", "--yes").out
    running.send_signal(signal.SIGKILL)
    running.finish()
    return next(str(pod["id"]) for pod in listed if pod["node"] == "deploy_a.py::hang")


def test_the_life_of_a_kept_pod(jobs: Project, emulator: Launched) -> None:
    """``ps`` tells whose it is, what it costs with its disks and how long it has; ``stop --keep-disk`` keeps the disk."""
    run = jobs.run("-k", "keep", "--yes")
    assert run.exit_code == 0, run.out + run.err
    assert run.run_dir is not None
    pod = json.loads(jobs.command("ps", "--json").out)[0]
    assert (pod["run"], pod["node"], pod["state"]) == (run.run_dir.name, "deploy_a.py::keep", "kept")
    assert pod["total_usd_per_hr"] == pytest.approx(pod["usd_per_hr"] + 80 * 0.10 / 730)
    assert pod["seconds_left"] > 0
    table = jobs.command("ps").out
    assert "kept" in table
    assert "1 pod, $" in table

    assert "kept on purpose" in jobs.command("gc", "--yes").out
    stopped = jobs.command("stop", "keep", "--keep-disk")
    assert (stopped.exit_code, "$10.00 a month" in stopped.out) == (0, True)
    assert [pod["desired_status"] for pod in emulator.pods()] == ["EXITED"]
    assert "keeps 50 GB: $10.00 a month" in jobs.command("ps").out
    assert "stopped on purpose" in jobs.command("gc", "--yes").out
    unreachable = jobs.command("ssh", "keep", "--", "true")
    assert (unreachable.exit_code, "cannot be reached" in unreachable.err) == (1, True)
    assert jobs.command("stop", pod["name"]).exit_code == 0
    assert emulator.pods() == []


def test_what_stopped_pods_of_others_cost() -> None:
    """``ps`` adds up what the stopped pods that rpd did not make keep, and cost a month."""
    running = PodInfo(id="a", name="mine", status=PodStatus.RUNNING, volume_gb=999)
    stopped = [PodInfo(id=name, name=name, status=PodStatus.EXITED, volume_gb=50) for name in ("b", "c")]
    *_, last = _lines([running, *stopped], {}, now=0.0)
    assert last == "not made by rpd: 2 stopped pods keep 100 GB, $20.00 a month"


def test_gc_reaps_what_a_killed_run_left_and_nothing_else(jobs: Project, emulator: Launched) -> None:
    """Without ``--yes`` nothing happens; with it the left pod goes, a kept one stays, each with its reason."""
    assert jobs.run("-k", "keep", "--yes").exit_code == 0
    left = kill_a_run(jobs)
    shown = jobs.command("gc")
    assert "1 of them would be deleted" in shown.out
    assert len(emulator.pods()) == 2
    assert (
        next(line for line in shown.out.splitlines() if left in line).count("ended without giving it back")
        == 1
    )
    done = jobs.command("gc", "--yes")
    assert (done.exit_code, f"deleted {left}" in done.out) == (0, True)
    assert [pod["id"] for pod in emulator.pods()] != [left]
    assert jobs.command("stop", "keep").exit_code == 0


def test_a_pod_that_will_not_go_is_exit_code_6(capsys: pytest.CaptureFixture[str]) -> None:
    """A release that cannot be confirmed names the pod and exits 6; the other pods are released all the same."""
    pods = [PodInfo(id=name, name=f"rpd-{name}", status=PodStatus.RUNNING) for name in ("a", "b")]
    released = []

    def delete(pod: PodInfo) -> None:
        if pod.id == "a":
            raise ReleaseError(pod.id, pod.name, "RunPod still lists it")
        released.append(pod.id)

    assert _release(pods, delete, "deleted") == 6
    told = capsys.readouterr()
    assert (released, told.out) == (["b"], "deleted b  rpd-b\n")
    assert "rpd stop a" in told.err


def test_stop_needs_something_that_exists(jobs: Project) -> None:
    """A pod nobody has is a usage error; so is nothing."""
    assert jobs.command("stop", "nope").exit_code == 4
    assert jobs.command("stop").exit_code == 4
