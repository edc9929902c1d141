"""Checkpoints of whole runs: they arrive complete, and are put back when the job continues."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.journal import series
from rpd.record import manifest
from rpd.record.verify import check
from rpd.testing import RpdRun, Running
from rpd.values.report import NodeReport, Outcome
from tests.runs.conftest import events, outcomes
from tests.waiting import wait_until

Project = Callable[[dict[str, str]], Path]

COUNTING = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))
def count(pod, record_metric):
    saved = pod.checkpoint("ckpt/", every="0.2s", keep=2)
    record_metric("restored", saved.is_restored)
    # A model of two files, which belong together. Who begins at 0 comes to 20 and no further.
    pod.run(
        "cd $RPD_CHECKPOINT; n=$(cat model/n 2>/dev/null || echo 0); last=$((n ? 40 : 20)); "
        "echo step=$n begin=$n >>$RPD_METRICS; "
        "while [ $n -lt $last ]; do n=$((n+1)); mkdir ../new; echo $n >../new/n; echo $n >../new/same; "
        "[ ! -e model ] || mv model ../old; mv ../new model; rm -rf ../old; "
        "echo step=$n n=$n >>$RPD_METRICS; sleep 0.05; done; [ $n = 40 ] || sleep 300"
    )
"""


def started_with_a_copy(rpd: RpdRun, folder: Path) -> Running:
    """Start the run, and return once it has fetched a checkpoint."""
    process = rpd.start(folder)
    try:
        wait_until(lambda: list(folder.glob("rpd-runs/2*/*/checkpoints/*/0001")), what="a copy")
    except BaseException:
        process.finish()
        raise
    return process


def check_that_it_went_on(report: NodeReport) -> None:
    """No step is missing; the second pod began after the step of the copy that was put there."""
    assert report.result.outcome is Outcome.PASSED
    assert report.metrics["restored"] is True
    lines = list(series.lines(Path(report.folder) / series.SERIES_FILE))
    began = [line.values["begin"] for line in lines if "begin" in line.values]
    assert began[0] == 0
    assert 1 <= began[-1] <= 20
    last = [line.step for line in lines if "n" in line.values][-(40 - int(began[-1])) :]
    assert last == list(range(int(began[-1]) + 1, 41))
    # The last measurements of a pod that is gone may never have arrived.
    heard = series.read(Path(report.folder) / series.SERIES_FILE)["n"]
    assert all(step < began[-1] + 1 for step in set(range(1, 41)) - set(heard))
    (folder,) = (Path(report.folder) / "checkpoints").iterdir()
    copies = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert len(copies) == 2
    for copy in copies:
        model = {path.name: path.read_text().strip() for path in (folder / copy / "model").iterdir()}
        assert set(model) == {"n", "same"}
        assert model["n"] == model["same"]
    newest = folder / copies[-1] / "model/n"
    assert newest.read_text() == "40\n", sorted(path.name for path in folder.iterdir())
    # The manifest has it, and its files can be verified.
    (artifact,) = [each for each in report.artifacts if each.label == "checkpoint"]
    assert artifact.verified
    assert [each.problem for each in check(report)] == [None, None]


def test_the_next_attempt_goes_on_from_the_last_copy(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """A host that is lost costs the steps since the last copy, and no more."""
    folder = project({"deploy_a.py": COUNTING})
    process = started_with_a_copy(rpd, folder)
    emulator.inject({"kind": "lose-host", "status": "EXITED"})
    result = process.finish()
    assert result.exit_code == 0, result.out + result.err
    (report,) = result.reports
    assert report.result.attempts == 2
    check_that_it_went_on(report)
    assert "continues from checkpoint 00" in result.out
    (put_back,) = events(Path(report.folder), "checkpoint_put_back")
    assert put_back["files"] == 2


def test_a_resumed_run_goes_on_from_it_on_a_fresh_pod(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The driver was killed and the pod is gone: the copy here is all that is left, and enough."""
    folder = project({"deploy_a.py": COUNTING})
    process = started_with_a_copy(rpd, folder)
    process.send_signal(signal.SIGKILL)
    process.finish()
    emulator.inject({"kind": "lose-host", "status": "EXITED"})
    result = rpd(folder, command="resume")
    assert result.exit_code == 0, result.out + result.err
    (path,) = folder.glob("rpd-runs/2*/*/manifest.toml")
    check_that_it_went_on(manifest.read(path))


@pytest.mark.exhaustive
def test_a_resumed_run_goes_on_saving_on_the_same_pod(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """The command that kept running is followed, nothing is put back over its files, and copies continue."""
    slow = COUNTING.replace("last=$((n ? 40 : 20))", "last=40").replace("sleep 0.05", "sleep 0.3")
    folder = project({"deploy_a.py": slow})
    process = started_with_a_copy(rpd, folder)
    process.send_signal(signal.SIGKILL)
    process.finish()
    result = rpd(folder, command="resume")
    assert result.exit_code == 0, result.out + result.err
    (path,) = folder.glob("rpd-runs/2*/*/manifest.toml")
    report = manifest.read(path)
    assert report.series["begin"].points == 1
    assert report.series["n"].points == 40
    (artifact,) = [each for each in report.artifacts if each.label == "checkpoint"]
    assert (path.parent / artifact.local / "model/n").read_text() == "40\n"
    assert int(Path(artifact.local).name) > 1
    assert not events(path.parent, "checkpoint_put_back")


SHARED = """
import rpd

job = rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))

@rpd.fixture(scope="worker")
def shared(provision):
    with provision(job) as pod:
        yield pod

@job
@rpd.mark.parametrize("lr", [1, 2])
def fit(shared, lr):
    shared.checkpoint("ckpt", every="1h", grace="20s")
    shared.run(
        f"[ -z $(ls ckpt) ]; trap 'sleep 1; echo {lr} >ckpt/saved; exit 0' TERM; "
        f"echo loss={lr} >>$RPD_METRICS; sleep 300 & wait"
    )

@job
def goes_on(shared, run_dir):
    (copy,) = run_dir.parent.glob("*fit-lr2*/checkpoints/*/0001")
    saved = shared.checkpoint("ckpt", start=copy, every="1h")
    assert saved.path == "/workspace/ckpt"
    shared.run("test $(cat $RPD_CHECKPOINT/saved) = 2")
    shared.checkpoint("ckpt")

@job
def asks_for_too_much(shared):
    shared.run("ln -s /proc/1 away")
    shared.checkpoint("away")
"""
PRUNING = """
def rpd_prune(node, name, step, value):
    return f"loss {value:g}"
"""


def test_a_pruned_node_saves_its_progress_and_another_goes_on_from_it(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """SIGTERM leaves its grace for a last copy; on a shared pod no node begins with another's checkpoint by accident."""
    folder = project({"deploy_a.py": SHARED, "conftest.py": PRUNING})
    result = rpd(folder)
    assert outcomes(result) == {
        "fit[lr1]": "pruned",
        "fit[lr2]": "pruned",
        "goes_on": "failed",
        "asks_for_too_much": "failed",
    }, result.out + result.err
    for report in result.reports[:2]:
        (artifact,) = report.artifacts
        lr = report.node.parameters["lr"]
        assert (Path(report.folder) / artifact.local / "saved").read_text() == f"{lr}\n"
    assert "goes_on: ckpt continues from checkpoint 0001 (1 file, 2 B)" in result.out
    reasons = [report.result.reason for report in result.reports[2:]]
    assert reasons[0] == "pod.checkpoint: /workspace/ckpt is already a checkpoint of this node"
    assert reasons[1].startswith("pod.checkpoint: 'away' leads to /proc/1")


def test_a_dry_run_tells_of_it_and_of_what_is_wrong_with_it(rpd: RpdRun, project: Project) -> None:
    """The step says how often; a folder that is not on the pod's disk is an error before anything is rented."""
    wrong = COUNTING.replace("def count", "def wrong").replace('"ckpt/"', '"../ckpt"')
    folder = project({"deploy_a.py": COUNTING, "deploy_b.py": wrong})
    result = rpd(folder, "--dry-run")
    assert "checkpoint /workspace/ckpt every 0.20s, keep 2" in result.out
    assert "pod.checkpoint: '../ckpt' is /ckpt: expected a separate folder on the pod's disk" in result.out
    assert result.exit_code == 1
