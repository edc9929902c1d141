"""Trials that run again, with the values they had: by ``--lf`` and by ``--trial``, alone and in a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rpd
from rpd.errors import ExitCode, UsageError
from rpd.record.again import again
from rpd.values.report import Outcome

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
    with pytest.raises(UsageError, match=r"--lf: the study of deploy_s.py::tune has another space now \(x\)"):
        run(tmp_path, [], STUDY.replace("3, 4", "3"), last_failed=True)


def test_one_trial_stands_for_its_study_where_others_need_it(tmp_path: Path) -> None:
    """Who needs the study gets the trial that ran again; a trial of that run can be named in its turn."""
    whole = run(tmp_path, [], STUDY + USER)
    assert whole.report("final").metrics == {"x": 4}
    (name,) = (name for name, x in tried(whole).items() if x == 2)
    assert again(whole.report(name)) == f"rpd run deploy_s.py::tune --trial {whole.id}:{name[10:-1]}"
    one = run(tmp_path, [], STUDY + USER, trial=f"{whole.id}:{name[10:-1]}")
    assert tried(one) == {name: 2, "final": None}
    assert one.report("final").metrics == {"x": 2}
    next_one = run(tmp_path, [2], STUDY + USER, trial=f"{one.id}:{name[10:-1]}")
    assert next_one.report(name).result.outcome is Outcome.FAILED
    assert next_one.report("final").result.reason == "needs deploy_s.py::tune, which found nothing"
    mended = run(tmp_path, [], STUDY + USER, last_failed=True)
    assert mended.report("final").metrics == {"x": 2}
