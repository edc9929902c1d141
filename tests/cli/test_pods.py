"""``rpd ps``, ``rpd stop`` and ``rpd gc`` on an emulator."""

from __future__ import annotations

import json
import re
import signal

import pytest

from rpd.cli.pods import _lines, _release
from rpd.emulator.launch import Launched
from rpd.errors import ReleaseError
from rpd.pipeline.orphans import Claims
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
    listed = json.loads(project.command("ps", "--json").out)["pods"]
    assert [pod["state"] for pod in listed if pod["node"] == "deploy_a.py::hang"] == ["in use"]
    assert "is still running" in project.command("gc", "--yes").out
    running.send_signal(signal.SIGKILL)
    running.finish()
    return next(str(pod["id"]) for pod in listed if pod["node"] == "deploy_a.py::hang")


def test_the_life_of_a_kept_pod(jobs: Project, emulator: Launched) -> None:
    """``ps`` shows its owner, its cost with disks and its remaining time; ``stop --keep-disk`` keeps the disk."""
    run = jobs.run("-k", "keep", "--yes")
    assert run.exit_code == 0, run.out + run.err
    assert run.run_dir is not None
    pod = json.loads(jobs.command("ps", "--json").out)["pods"][0]
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
    assert jobs.command("ps", "--stale", "--exit-code", "--older-than", "1d").exit_code == 0
    stale = jobs.command("ps", "--stale", "--exit-code", "--json")
    assert (stale.exit_code, [each["state"] for each in json.loads(stale.out)["pods"]]) == (1, ["stopped"])
    assert 0 <= json.loads(stale.out)["pods"][0]["age_seconds"] < 3600
    for asked in (["keep"], ["--stopped"]):
        shown = jobs.command("stop", *asked, "--dry-run")
        assert (shown.exit_code, f"would be deleted: {pod['id']}" in shown.out) == (0, True)
    assert [pod["desired_status"] for pod in emulator.pods()] == ["EXITED"]
    unreachable = jobs.command("ssh", "keep", "--", "true")
    assert (unreachable.exit_code, "cannot be reached" in unreachable.err) == (1, True)
    assert jobs.command("stop", pod["name"]).exit_code == 0
    assert emulator.pods() == []


def test_what_stopped_pods_of_others_cost() -> None:
    """``ps`` adds up the disks of stopped pods that rpd did not make, and their cost a month."""
    running = PodInfo(id="a", name="mine", status=PodStatus.RUNNING, volume_gb=999)
    stopped = [PodInfo(id=name, name=name, status=PodStatus.EXITED, volume_gb=50) for name in ("b", "c")]
    *_, last = _lines([running, *stopped], Claims(), now=0.0)
    assert last == "not made by rpd: 2 stopped pods keep 100 GB, $20.00 a month"


def test_ages_and_totals_of_stopped_pods() -> None:
    """The age of a stopped pod counts from its stop; several are added up, with their cost a day."""
    stopped = [
        PodInfo(
            id=name,
            name=f"rpd-{name}",
            status=PodStatus.EXITED,
            volume_gb=50,
            last_status_change="Exited by user: Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)",
        )
        for name in ("b", "c")
    ]
    heading, first, *_, last = _lines(stopped, Claims(), now=3 * 86400.0)
    assert heading.split()[:5] == ["POD", "NODE", "RUN", "STATE", "AGE"]
    assert "3d" in first
    assert last.startswith("2 stopped pods made by rpd keep 100 GB: $20.00 a month, $0.67 a day;")


def test_gc_reaps_what_a_killed_run_left_and_nothing_else(jobs: Project, emulator: Launched) -> None:
    """Without ``--yes`` nothing happens; with it the left pod goes, a kept one stays, each with its reason."""
    assert jobs.run("-k", "keep", "--yes").exit_code == 0
    left = kill_a_run(jobs)
    shown = jobs.command("gc")
    pods = json.loads(jobs.command("gc", "--json").out)["pods"]
    assert [(each["id"] == left, each["would_delete"]) for each in pods] == [(True, True), (False, False)]
    assert jobs.command("gc", "--json", "--yes").exit_code == 4
    assert "1 of them would be deleted" in shown.out
    assert len(emulator.pods()) == 2
    assert (
        next(line for line in shown.out.splitlines() if left in line).count("ended without deleting it") == 1
    )
    done = jobs.command("gc", "--yes")
    assert (done.exit_code, f"deleted {left}" in done.out) == (0, True)
    assert [pod["id"] for pod in emulator.pods()] != [left]
    assert jobs.command("stop", "keep").exit_code == 0


def test_a_damaged_journal_costs_nobody_a_pod(jobs: Project, emulator: Launched) -> None:
    """``gc`` leaves a living run alone whose journal it cannot read.

    ``ps`` and ``gc`` continue and name the files.
    """
    running = jobs.rpd.start(jobs.folder, "-k", "hang", "--yes")
    wait_until(lambda: any(jobs.folder.glob("rpd-runs/2*/*hang*/output.log")), "the command")
    (journal,) = jobs.folder.glob("rpd-runs/2*/events.jsonl")
    whole = journal.read_bytes()
    journal.write_bytes(b"\0" * 40 + whole[40:])
    (jobs.folder / "rpd-runs" / "broken" / "events.jsonl").mkdir(parents=True)
    (pod,) = emulator.pods()
    for command in ("ps", "gc"):
        printed = jobs.command(command, *(["--yes"] if command == "gc" else []))
        assert printed.exit_code == (1 if command == "gc" else 0), printed.err
        assert f"{journal}: line 1 is damaged" in printed.err
        assert "broken/events.jsonl cannot be read" in printed.err
        assert pod["id"] in printed.out
    assert [each["id"] for each in emulator.pods()] == [pod["id"]]
    journal.write_bytes(whole)
    running.send_signal(signal.SIGINT)
    running.finish()
    assert emulator.pods() == []


def test_a_pod_that_will_not_go_is_exit_code_6(capsys: pytest.CaptureFixture[str]) -> None:
    """A release that cannot be confirmed names the pod and exits 6; the other pods are still released."""
    pods = [PodInfo(id=name, name=f"rpd-{name}", status=PodStatus.RUNNING) for name in ("a", "b")]
    released = []

    def delete(pod: PodInfo) -> None:
        if pod.id == "a":
            raise ReleaseError(pod.id, pod.name, "RunPod still lists it")
        released.append(pod.id)

    assert _release(pods, delete, "deleted") == 6
    text = capsys.readouterr()
    assert (released, text.out) == (["b"], "deleted b  rpd-b\n")
    assert "rpd stop a" in text.err


STOPS = """
import rpd
from pathlib import Path

@rpd.job(
    gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=1), storage=rpd.Storage(volume_gb=50),
    lifecycle=rpd.Lifecycle(on_success="stop"),
)
@rpd.mark.parametrize("n", [1, 2])
def work(pod, n):
    pod.run("true")
"""


def test_all_stopped_pods_go_at_once(project: Project, emulator: Launched) -> None:
    """Only those of local runs, and only those stopped long enough ago; ``ps`` shows since when, and the sum."""
    project.write({"deploy_a.py": STOPS})
    assert project.run("--yes").exit_code == 0
    stranger = emulator.pods()[0]["name"].replace("work", "else")
    ids = [pod["id"] for pod in emulator.pods()]
    table = project.command("ps").out
    assert "SINCE" in table
    assert re.search(r"rpd's cost \$\d+\.\d\d so far", table)
    assert "rpd stop --stopped" in table
    listed = json.loads(project.command("ps", "--json").out)["pods"]
    assert all(pod["usd_so_far"] > 0 and pod["since"].endswith("+00:00") for pod in listed)

    young = project.command("stop", "--stopped", "--older-than", "7d")
    assert (young.exit_code, young.out.count("it was stopped")) == (0, 2), young.out
    elsewhere = Project(project.folder / "elsewhere")
    elsewhere.write({"rpd.toml": ""})
    others = elsewhere.command("stop", "--stopped")
    assert (others.exit_code, others.out.count("no run here made it")) == (0, 2), others.out + stranger
    assert len(emulator.pods()) == 2

    gone = project.command("stop", "--stopped")
    assert gone.exit_code == 0
    assert all(f"deleted {pod_id}" in gone.out for pod_id in ids)
    assert emulator.pods() == []
    assert "no stopped pods" in project.command("stop", "--stopped").out


@pytest.mark.parametrize(
    "args",
    [
        ["--older-than", "7d"],
        ["--stopped", "x"],
        ["--stopped", "--keep-disk"],
        ["--stopped", "--older-than", "x"],
    ],
)
def test_what_does_not_go_with_stopped(project: Project, args: list[str]) -> None:
    """Each is a usage error before anything is asked."""
    assert project.command("stop", *args).exit_code == 4


def test_stop_needs_something_that_exists(jobs: Project) -> None:
    """An unknown pod is a usage error, and so is no argument."""
    assert jobs.command("stop", "nope").exit_code == 4
    assert jobs.command("stop").exit_code == 4
