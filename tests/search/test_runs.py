"""Studies on the emulator: pruned, confirmed, reported, run again; and killed at any moment."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.journal import journal
from rpd.search import record
from rpd.testing import RpdRun
from rpd.values.report import NodeReport, Outcome
from tests.waiting import wait_until

CONFTEST = """
import rpd

@rpd.fixture(scope="worker")
def pod(provision, gpu):
    with provision() as made:
        yield made
"""
STUDY = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(max_runtime="10m"))
@rpd.mark.search(
    x=rpd.choice([1, 2, 3, 4, 5, 6]), minimize="loss", sampler="grid",
    prune=rpd.halving(2), confirm=rpd.Gpu("NVIDIA A40"), top=1,
)
def fit(pod, x, gpu):
    if x == 6:
        pod.run("exit 3")
    pod.run(f"for i in 1 2 3; do echo step=$i loss={x}.$i >> $RPD_METRICS; [ $i = 3 ] || sleep 0.3; done; mkdir -p out; echo {x} > out/best{x}; [ {x} != 5 ] || sleep 60")
    pod.pull("out/")
"""


def project(folder: Path, text: str, conftest: str = CONFTEST) -> Path:
    (folder / "deploy_s.py").write_text(text, encoding="utf-8")
    (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    return folder


def by_name(reports: tuple[NodeReport, ...]) -> dict[str, NodeReport]:
    return {report.node.id.partition("[")[2].rstrip("]"): report for report in reports}


def test_a_study_from_its_first_trial_to_the_winner_run_again(
    tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched
) -> None:
    """Six points: one crashes, those that are behind are pruned with their files, the best is confirmed."""
    folder = project(tmp_path, STUDY)
    done = rpd_run(folder, "--budget", "5", "--html", "page.html")
    assert done.exit_code == 1, done.out + done.err  # trial 6 crashed
    trials = by_name(done.reports)
    outcomes = {name: report.result.outcome for name, report in trials.items()}
    assert outcomes["trial6"] is Outcome.FAILED
    assert outcomes["trial1"] is outcomes["trial1-confirm"] is Outcome.PASSED
    assert outcomes["trial5"] is Outcome("pruned")
    assert trials["trial5"].artifacts
    assert {report.pod.gpu for report in trials.values() if report.pod} == {"NVIDIA L4", "NVIDIA A40"}
    # All trials of the slot had one pod, and the next one another.
    assert len({report.pod.id for report in trials.values() if report.pod}) == 2
    assert "study fit: 6 trials" in done.out
    assert "best trial1-confirm: loss 1.3 with x=1, NVIDIA A40" in done.out
    assert done.run_dir is not None
    document = json.loads(rpd_run(folder, "--json", command="report").out)
    (study,) = document["studies"]
    assert study["command"] == f"rpd run deploy_s.py::fit --trial {done.run_dir.name}:1-confirm"
    assert [trial["state"] for trial in study["trials"]].count("failed") == 1
    again = rpd_run(folder, *study["command"].split()[2:])
    assert again.exit_code == 0, again.out + again.err
    assert [report.node.id for report in again.reports] == ["deploy_s.py::fit[trial1-confirm]"]
    assert again.reports[0].pod is not None
    assert again.reports[0].pod.gpu == "NVIDIA A40"
    assert clean_emulator.pods() == []


NEVER = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"))
@rpd.mark.search(x=rpd.uniform(0, 1), minimize="loss", trials=9)
def fit(pod, x, record_metric):
    pod.run("true")
    record_metric("accuracy", x)
"""


def test_a_metric_that_never_comes_ends_the_study_at_once(
    tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched
) -> None:
    done = rpd_run(project(tmp_path, NEVER, ""), "--yes")
    assert done.exit_code == 1
    assert len(done.reports) == 1
    assert "recorded no metric 'loss' (those it recorded: accuracy)" in done.out
    assert clean_emulator.pods() == []


def test_what_cannot_be_searched_is_told_before_anything(tmp_path: Path, rpd_run: RpdRun) -> None:
    """At its place in the file, with nothing run; and a dry run shows the planned trials, as often as asked."""
    wrong = project(tmp_path, STUDY.replace('minimize="loss"', "minimize=3"))
    done = rpd_run(wrong, "--dry-run")
    assert done.exit_code == 2
    assert "deploy_s.py:4" in done.out + done.err
    assert "minimize: expected the name of a metric, or several, got 3" in done.out + done.err
    dry = rpd_run(project(tmp_path, STUDY), "--dry-run", "-q", "--trials", "2")
    assert "deploy_s.py::fit[trial2]" in dry.out
    assert "trial3" not in dry.out
    blind = project(tmp_path, STUDY, CONFTEST.replace(", gpu", ""))
    done = rpd_run(blind, "--dry-run")
    assert done.exit_code == 2
    assert "Write def pod(provision, gpu)" in done.out + done.err


def tried(run_dir: Path) -> dict[str, str]:
    """Return the values of each trial of a run, by its id."""
    (study,) = record.read(run_dir)
    return {line["id"]: json.dumps(line["values"]) for line in study.lines}


@pytest.mark.exhaustive
@pytest.mark.parametrize("after", [1, 3, 5, 7])
def test_a_killed_study_tries_nothing_twice(
    tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched, after: int
) -> None:
    """SIGKILL once so many trials have been added; resumed, the study comes to the set of an undisturbed one."""
    folder = project(tmp_path, STUDY)
    whole = rpd_run(folder, "-n", "2")
    assert whole.run_dir is not None

    def newest() -> Path | None:
        runs = sorted((folder / "rpd-runs").glob("2*"))
        return runs[-1] if runs and runs[-1] != whole.run_dir else None

    def is_time() -> bool:
        run_dir = newest()
        if run_dir is None or not (run_dir / journal.FILE_NAME).is_file():
            return False
        events = journal.read(run_dir / journal.FILE_NAME)
        return sum(event["event"] == journal.ADDED for event in events) >= after

    process = rpd_run.start(folder, "-n", "2")
    wait_until(is_time, what="the moment to kill the driver")
    process.send_signal(signal.SIGKILL)
    process.finish()
    run_dir = newest()
    assert run_dir is not None
    resumed = rpd_run(folder, command="resume")
    assert resumed.exit_code in (0, 1), resumed.out + resumed.err
    known = tried(run_dir)
    first = {name: values for name, values in known.items() if "confirm" not in name}
    assert first == {name: values for name, values in tried(whole.run_dir).items() if "confirm" not in name}
    assert len(set(first.values())) == len(first)
    assert clean_emulator.pods() == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("trials", [1, 2, 4])
def test_a_lost_host_is_tried_again_with_the_same_values(
    tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched, trials: int
) -> None:
    """Whichever trial is on it: the same set, as if nothing had been lost."""
    folder = project(tmp_path, STUDY)
    process = rpd_run.start(folder)
    wait_until(
        lambda: len(list(folder.glob("rpd-runs/2*/*/series.jsonl"))) >= trials, what="a trial that runs"
    )
    clean_emulator.inject({"kind": "lose-host", "times": 1, "status": "EXITED"})
    done = process.finish()
    assert done.run_dir is not None, done.out + done.err
    names = by_name(done.reports)
    assert {name for name in names if "confirm" not in name} == {f"trial{number}" for number in range(1, 7)}
    assert len(tried(done.run_dir)) == len(names)
    # The trial that was on it began again; one that was just over left the next one a pod to rent.
    pods = {report.pod.id for report in names.values() if report.pod}
    assert sum(report.result.attempts for report in names.values()) > len(names) or len(pods) > 2
    assert clean_emulator.pods() == []
