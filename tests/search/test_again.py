"""Trials that run again, with the values they had: by ``--lf`` and by ``--trial``, alone and in a graph."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

import rpd
from rpd.emulator.launch import Launched
from rpd.errors import ExitCode, UsageError
from rpd.record import history
from rpd.record.rerun_command import again
from rpd.testing import RpdRun
from rpd.values.report import Outcome
from tests.waiting import wait_until

STUDY = """
import rpd

@rpd.job
@rpd.mark.search(x=rpd.choice([1, 2, 3, 4]), minimize="loss", sampler="grid")
def tune(x, record_metric):
    x in WRONG and rpd.fail("no value")
    record_metric("loss", -x)
"""
USER = """
@rpd.job
@rpd.mark.needs(tune)
def final(needs, record_metric):
    record_metric("x", needs[tune].parameters["x"])
"""


def run(folder: Path, wrong: list[int], text: str = STUDY, **how: Any) -> Any:
    (folder / "deploy_s.py").write_text(text.replace("WRONG", str(wrong)), encoding="utf-8")
    return rpd.run(root=folder, **how)


def tried(done: Any) -> dict[str, Any]:
    return {report.node.id.partition("::")[2]: report.node.parameters.get("x") for report in done.reports}


@pytest.mark.parametrize("flag", ["trial", "continue_study"])
def test_a_flag_about_a_study_needs_one(tmp_path: Path, flag: str) -> None:
    """Else every other node would run, on pods that are paid for."""
    with pytest.raises(UsageError, match="no selected node is a study: name one"):
        run(tmp_path, [], "import rpd\n@rpd.job\ndef plain(): ...", **{flag: "20260101T000000Z-aaaaaa:1"})
    assert history.runs(tmp_path / "rpd-runs") == []


def test_failed_trials_run_again_until_none_is_left(tmp_path: Path) -> None:
    """With the same names and values, those that one run did not come to included; then there is nothing to do."""
    whole = run(tmp_path, [1, 2, 4])
    first = tried(whole)
    assert sorted(first.values()) == [1, 2, 3, 4]
    failed = {name: x for name, x in first.items() if x != 3}
    cut = run(tmp_path, [1, 2, 4], last_failed=True, exitfirst=True)
    assert tried(cut).items() < failed.items()
    second = run(tmp_path, [4], last_failed=True)
    assert tried(second) == failed
    assert any("with the same values" in notice for notice in second.notices)
    (left,) = (name for name, x in failed.items() if x == 4)
    last = run(tmp_path, [], last_failed=True)
    assert tried(last) == {left: 4}
    assert run(tmp_path, [], last_failed=True).exit_code == ExitCode.NOTHING_COLLECTED


def test_values_that_another_space_lacks_cannot_run_again(tmp_path: Path) -> None:
    run(tmp_path, [1])
    with pytest.raises(
        UsageError, match=r"--lf: the study of deploy_s.py::tune has a different space now \(x\)"
    ):
        run(tmp_path, [], STUDY.replace("3, 4", "3"), last_failed=True)


def test_one_trial_stands_for_its_study_where_others_need_it(tmp_path: Path) -> None:
    """Who needs the study gets it, in that run and in no later one; a trial of that run can be named in its turn."""
    whole = run(tmp_path, [], STUDY + USER)
    assert whole.report("final").metrics == {"x": 4}
    (name,) = (name for name, x in tried(whole).items() if x == 2)
    assert again(whole.report(name)) == f"rpd run deploy_s.py::tune --trial {whole.id}:{name[10:-1]}"
    one = run(tmp_path, [], STUDY + USER, trial=f"{whole.id}:{name[10:-1]}")
    assert tried(one) == {name: 2, "final": None}
    assert one.report("final").metrics == {"x": 2}
    later = run(tmp_path, [], STUDY + USER, keyword="final", no_needs=True)
    assert later.report("final").metrics == {"x": 4}, "the study as a whole found it"
    next_one = run(tmp_path, [2], STUDY + USER, trial=f"{one.id}:{name[10:-1]}")
    assert next_one.report(name).result.outcome is Outcome.FAILED
    assert next_one.report("final").result.reason == "needs deploy_s.py::tune, which found nothing"
    mended = run(tmp_path, [], STUDY + USER, last_failed=True)
    assert mended.report("final").metrics == {"x": 2}


HELD = """
import os, time, rpd

@rpd.job
@rpd.mark.search(x=rpd.choice([1, 2, 3, 4]), minimize="loss", sampler="grid")
def tune(x, record_metric):
    x > 1 and os.path.exists("broken") and rpd.fail("no value")
    while x == 3 and not os.path.exists("go"):
        time.sleep(0.05)
    record_metric("loss", -x)
"""


@pytest.mark.exhaustive
def test_a_killed_run_of_failed_trials_goes_on_with_those_that_are_left(
    tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched
) -> None:
    """Three had failed; one is over when the driver dies, and the search itself is not begun anew."""
    (tmp_path / "deploy_s.py").write_text(HELD, encoding="utf-8")
    (tmp_path / "broken").touch()
    whole = rpd_run(tmp_path)
    assert [report.result.outcome for report in whole.reports].count(Outcome.FAILED) == 3
    (tmp_path / "broken").unlink()
    running = rpd_run.start(tmp_path, "--lf")
    wait_until(lambda: "PASSED  deploy_s.py::tune[trial2]" in running.out)
    running.send_signal(signal.SIGKILL)
    running.finish()
    (tmp_path / "go").touch()
    resumed = rpd_run(tmp_path, command="resume")
    assert resumed.exit_code == 0, resumed.out + resumed.err
    assert "PASSED  deploy_s.py::tune[trial2]" not in resumed.out
    newest = max((tmp_path / "rpd-runs").glob("2*"))
    reports = {report.node.id[-7:-1]: report for report in history.reports(newest)}
    assert {name: report.metrics["loss"] for name, report in reports.items()} == {
        "trial2": -2, "trial3": -3, "trial4": -4,
    }  # fmt: skip
