"""A full disk on this machine: pods run on and are released, nothing new starts, and files are kept if possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.journal import replay
from rpd.journal.journal import FILE_NAME
from rpd.record import history
from rpd.testing import RpdRun, RunResult
from tests.runs.conftest import events, write_project
from tests.waiting import wait_until

HEAD = """
import os, pathlib, time
import rpd

HERE = pathlib.Path(__file__).parent
DISK = pathlib.Path(os.environ["DISK"])

def fill(name="ballast"):
    with (DISK / name).open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass

def free(name="ballast"):
    (DISK / name).unlink()

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", [1, 2])
def fit(pod, n, run_dir):
"""
OUTPUT = b"%s\n" % "\n".join(map(str, range(1, 300_001))).encode()
"""2 MB."""


@pytest.fixture
def project(tmp_path: Path, small_disk: Path) -> Callable[[str], Path]:
    """``project(body)`` writes a project with a sweep of two whose runs lie on the small disk."""

    def write(body: str) -> Path:
        files = {"rpd.toml": f'runs_dir = "{small_disk}/runs"\n', "deploy_a.py": HEAD + body}
        return write_project(tmp_path / "project", files)

    return write


def settled(result: RunResult, runs: Path) -> Path:
    """Check the facts that hold whatever was full; return the run folder."""
    text = result.out + result.err
    assert "Traceback" not in text, text
    assert "internal error" not in text, text
    assert result.exit_code == 1, text
    (run_dir,) = runs.glob("2*/")
    return run_dir


def test_a_log_that_finds_no_room_is_fetched_once_there_is_some(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """The command keeps running, a notice appears, no second node starts, and in the end the log is complete."""
    body = """
    pod.run("mkdir out; echo r > out/r; echo first")
    fill()
    pod.run("seq 300000; while [ ! -e /workspace/go ]; do sleep 0.05; done")
    pod.pull("out/")
"""
    folder = project(body)
    driver = rpd.start(folder, "--yes", env={"DISK": str(small_disk)})
    wait_until(lambda: "cannot write" in driver.out + driver.err, what="the notice of a full disk")
    (small_disk / "ballast").unlink()
    (pod,) = emulator.pods()
    freed = rpd(
        folder, pod["id"], "--", "touch", "/workspace/go", command="ssh", env={"DISK": str(small_disk)}
    )
    assert freed.exit_code == 0, freed.err

    result = driver.finish()

    run_dir = settled(result, small_disk / "runs")
    (report,) = history.reports(run_dir)
    assert report.result.outcome.value == "passed"
    assert (Path(report.folder) / "output.log").read_bytes() == b"first\n" + OUTPUT
    assert "its log is fetched from the pod once there is room" in result.out + result.err
    assert "starting nothing new" in result.out + result.err
    assert emulator.pods() == []
    assert replay.unreleased(run_dir / FILE_NAME) == ()
    assert not (run_dir / ".ssh").exists()


def test_a_disk_that_stays_full_loses_no_pod(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """The log gives way to the manifest and the journal, which tell of the node and of the pod's release."""
    folder = project('    fill()\n    pod.run("seq 300000; echo over")\n')
    (small_disk / "early").write_bytes(bytes(6 << 20))

    result = rpd(folder, "--yes", "--junitxml", f"{small_disk}/j.xml", env={"DISK": str(small_disk)})

    run_dir = settled(result, small_disk / "runs")
    text = " ".join((result.out + result.err).split())
    assert "is full (No space left on device)" in text
    assert emulator.pods() == []
    assert len(events(run_dir, "intent")) == 1


def test_results_that_find_no_room_are_no_reason_to_rent_again(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """The pull fails with cause local, and the pod with the only copy is kept, as its lifecycle has it."""
    body = """
    pod.run("mkdir out; head -c 4000000 /dev/urandom > out/model")
    fill()
    try:
        pod.pull("out/")
    finally:
        free()
"""
    folder = project(body)

    result = rpd(folder, "--yes", env={"DISK": str(small_disk)})

    run_dir = settled(result, small_disk / "runs")
    (report,) = history.reports(run_dir)
    assert (report.result.cause, report.result.attempts) == (Cause.LOCAL, 1)
    assert "Make room on this machine's disk" in report.result.reason
    assert len(events(run_dir, "intent")) == 1
    (kept,) = emulator.pods()
    assert f"pod {kept['id']} is kept" in result.out + result.err
    fetched = rpd(
        folder, kept["id"], "--", "wc", "-c", "out/model", command="ssh", env={"DISK": str(small_disk)}
    )
    assert "4000000" in fetched.out, fetched.err
    assert rpd(folder, kept["id"], command="stop", env={"DISK": str(small_disk)}).exit_code == 0


def test_results_that_may_not_be_on_the_disk_keep_their_pod(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """A sync that fails may have lost what it should have written, and the next one says nothing of it."""
    body = """
    pod.run("mkdir out; echo r > out/r")
    real = os.fsync
    def broken(descriptor):
        if "/artifacts/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            os.fsync = real
            raise OSError(5, "Input/output error")
        real(descriptor)
    os.fsync = broken
    pod.pull("out/")
"""
    folder = project(body)
    env = {"DISK": str(small_disk)}

    result = rpd(folder, "--yes", "-x", env=env)

    run_dir = settled(result, small_disk / "runs")
    (report,) = history.reports(run_dir)
    assert report.result.cause is Cause.LOCAL
    assert "may not be on the disk" in report.result.reason
    assert (run_dir / Path(report.folder).name / "artifacts/out/r").read_text() == "r\n"
    (kept,) = emulator.pods()
    assert f"pod {kept['id']} is kept" in result.out + result.err
    assert rpd(folder, kept["id"], command="stop", env=env).exit_code == 0


def test_events_that_found_no_room_are_written_when_there_is_some(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """The journal has every step in its order, though the disk was full for most of them."""
    body = """
    pod.run("true")
    fill()
    pod.write("a", "text")
    pod.run("echo while full", check=False)
    free()
    pod.run("echo after")
"""
    result = rpd(project(body), "--yes", env={"DISK": str(small_disk)})

    run_dir = settled(result, small_disk / "runs")
    (node,) = (path for path in run_dir.iterdir() if path.is_dir())
    assert [event["index"] for event in events(node, "step_finished")] == [0, 1, 2, 3]
    assert (node / "output.log").read_text(encoding="utf-8") == "while full\nafter\n"
    assert history.reports(run_dir)[0].result.outcome.value == "passed"
    assert emulator.pods() == []


def test_nothing_is_rented_where_nothing_can_be_written(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """A disk that is full from the start is one clear error."""
    folder = project('    pod.run("true")\n')
    with (small_disk / "ballast").open("wb") as file:
        file.write(bytes(8 << 20))

    result = rpd(folder, "--yes", env={"DISK": str(small_disk)})

    assert result.exit_code in (1, 4)
    assert "No space left on device" in result.err
    assert "Traceback" not in result.err
    assert "created" not in result.out
    assert emulator.pods() == []


GPU = """
    pass

@rpd.fixture
def gpu():
    for journal in DISK.glob("runs/2*/events.jsonl"):
        PAD
        fill()
    return rpd.Gpu("NVIDIA RTX A4000")
"""
"""Fills the disk when the pod is asked for. The call before the run, to find out what it may cost, fills nothing."""
PAD = """
        with journal.open("ab") as file:
            file.write(b" " * (-journal.stat().st_size % 4096 - 1) + b"\\n")
"""
"""Fills the last block of the journal: a tmpfs hands out whole ones."""


def test_a_disk_that_fills_up_before_a_pod_is_asked_for_rents_none(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """The intent has to be on the disk first: the node is an error of this machine, and no pod was made."""
    folder = project(GPU.replace("        PAD\n", PAD))

    result = rpd(folder, "--yes", env={"DISK": str(small_disk)})

    run_dir = settled(result, small_disk / "runs")
    text = " ".join((result.out + result.err).split())
    assert "events.jsonl: No space left on device" in text
    assert "1 error, 1 not run" in text
    assert events(run_dir, "intent", "created") == []
    assert emulator.pods() == []


def test_a_host_key_that_cannot_be_noted_is_told_at_once(
    rpd: RpdRun, project: Callable[[str], Path], small_disk: Path, emulator: Launched
) -> None:
    """It is no failure of SSH to be tried for 15 minutes: the pod is given back, and no other is rented."""
    result = rpd(project(GPU.replace("        PAD\n", "")), "--yes", env={"DISK": str(small_disk)})

    run_dir = settled(result, small_disk / "runs")
    text = " ".join((result.out + result.err).split())
    assert "known_hosts: No space left on device" in text
    assert "1 error, 1 not run" in text
    assert len(events(run_dir, "intent")) == len(events(run_dir, "released")) == 1
    assert emulator.pods() == []
