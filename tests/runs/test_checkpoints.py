"""Checkpoints of whole runs: they come home whole, and are there again where the job goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.journal import series
from rpd.record.verify import check
from rpd.testing import RpdRun, Running
from rpd.values.report import NodeReport, Outcome
from tests.runs.conftest import events
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
    assert list(series.read(Path(report.folder) / series.SERIES_FILE)["n"]) == list(range(1, 41))
    (folder,) = (Path(report.folder) / "checkpoints").iterdir()
    copies = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert len(copies) == 2
    for copy in copies:
        model = {path.name: path.read_text().strip() for path in (folder / copy / "model").iterdir()}
        assert set(model) == {"n", "same"}
        assert model["n"] == model["same"]
    newest = folder / copies[-1] / "model/n"
    assert newest.read_text() == "40\n"
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
    emulator.inject({"kind": "lose-host", "times": 1})
    result = process.finish()
    assert result.exit_code == 0, result.out + result.err
    (report,) = result.reports
    assert report.result.attempts == 2
    check_that_it_went_on(report)
    assert "goes on from checkpoint 00" in result.out
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
    emulator.inject({"kind": "lose-host", "times": 1})
    result = rpd(folder, command="resume")
    assert result.exit_code == 0, result.out + result.err
    check_that_it_went_on(result.reports[0])
