"""Which nodes ``--changed`` leaves alone: those that passed with the same inputs, where it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.pipeline.unchanged_filter import differences, last_passed, lost_files
from rpd.record import manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.values.report import ArtifactRecord, NodeRecord, NodeReport, Outcome, Result

FIT, TEST = "deploy_a.py::fit", "deploy_a.py::test"


def write_run(runs: Path, name: str, backend: str, **outcomes: Outcome) -> None:
    folder = runs / name
    for job, outcome in outcomes.items():
        (folder / job).mkdir(parents=True)
        node = NodeRecord(id=f"deploy_a.py::{job}", job=job, file="deploy_a.py", line=1)
        manifest.write(
            folder / job / manifest.FILE_NAME, NodeReport(node=node, result=Result(outcome=outcome))
        )
    run_info.write(folder / run_info.FILE_NAME, RunInfo(id=name, backend=backend, started=name))


@pytest.mark.parametrize(
    ("real", "found"), [(True, "20260101T000000Z-real"), (False, "20260102T000000Z-local")]
)
def test_the_newest_pass_counts_but_on_runpod_none_of_an_emulator(
    tmp_path: Path, real: bool, found: str
) -> None:
    """A node that failed since has passed all the same: its inputs say whether that still holds."""
    write_run(tmp_path, "20260101T000000Z-real", "RunPod", fit=Outcome.PASSED)
    write_run(
        tmp_path,
        "20260102T000000Z-local",
        "emulator at http://127.0.0.1:9",
        fit=Outcome.PASSED,
        test=Outcome.PASSED,
    )
    write_run(tmp_path, "20260103T000000Z-real", "RunPod", fit=Outcome.FAILED)
    passed = last_passed(tmp_path, {FIT, TEST}, real=real)
    assert Path(passed[FIT].folder).parent.name == found
    assert (TEST in passed) is not real


def test_what_changed_is_put_in_words() -> None:
    """Known parts by their names, others as they are; a part that is gone is no change of its own."""
    then = {"job": "1", "lock": "1", "image": "1", "gone": "1"}
    assert differences({**then, "job": "2", "image": "2"}, then) == [
        "the source of its job changed",
        "its image changed",
    ]
    assert differences({"lock": "2", "new": "1"}, then) == ["the lock file changed", "its new changed"]
    assert differences(then, then) == []


def test_a_pass_without_its_files_is_none(tmp_path: Path) -> None:
    """Whatever is in them: they are not read. A list that is gone counts like a file."""
    artifacts = tmp_path / "artifacts"
    (artifacts / "out").mkdir(parents=True)
    for name in ("one", "two"):
        (artifacts / "out" / name).write_text("not as the sum says")
    sums = "".join(f"{'0' * 64}  {name}\n" for name in ("one", "two"))
    (artifacts / "out.sha256").write_text(sums)
    pulled = ArtifactRecord(
        remote="out/", local="artifacts/out", files=2, bytes=38, sha256_file="artifacts/out.sha256"
    )
    node = NodeRecord(id=FIT, job="fit", file="deploy_a.py", line=1)
    passed = Result(outcome=Outcome.PASSED)
    report = NodeReport(node=node, result=passed, folder=str(tmp_path), artifacts=(pulled,))
    assert lost_files(report) == []
    (artifacts / "out" / "two").unlink()
    assert lost_files(report) == [f"{artifacts / 'out' / 'two'} is gone"]
    (artifacts / "out" / "two").symlink_to("one")
    assert lost_files(report) == []
    (artifacts / "out.sha256").unlink()
    assert lost_files(report) == [f"{artifacts / 'out.sha256'} is gone"]
