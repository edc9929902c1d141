"""Past runs are listed newest first, the damaged ones too."""

from collections.abc import Callable
from pathlib import Path

from rpd.errors import RpdError
from rpd.record import history, manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.values.report import NodeReport

MakeReport = Callable[..., NodeReport]


def write_run(runs_path: Path, name: str, started: str) -> Path:
    folder = runs_path / name
    folder.mkdir(parents=True)
    run_info.write(folder / "run.toml", RunInfo(id=name, started=started))
    return folder


def test_runs_are_newest_first_and_damage_is_told(make_report: MakeReport, tmp_path: Path) -> None:
    """A broken run file and a run that was killed before it wrote one are listed; other folders are not."""
    write_run(tmp_path, "20260101T000000-aa", "2026-01-01T00:00:00+00:00")
    write_run(tmp_path, "20260103T000000-cc", "2026-01-03T00:00:00+00:00")
    (write_run(tmp_path, "20260102T000000-bb", "") / "run.toml").write_text(
        "schema_version = 1\n[run]\nid = 3\n"
    )
    killed = tmp_path / "20260104T000000-dd" / "node"
    killed.mkdir(parents=True)
    manifest.write(killed / "manifest.toml", make_report())
    (tmp_path / "notes").mkdir()
    (tmp_path / "latest").symlink_to("20260101T000000-aa")

    runs = history.runs(tmp_path)
    assert [info.id[-2:] for info in runs] == ["dd", "cc", "bb", "aa"]
    assert [bool(info.damage) for info in runs] == [True, False, True, False]
    assert "[run] id: expected a string, got 3" in runs[2].damage
    assert runs[3].folder == str(tmp_path / "20260101T000000-aa")


def test_no_folder_of_runs_is_no_runs(tmp_path: Path) -> None:
    """Before the first run there is nothing to list."""
    assert history.runs(tmp_path / "rpd-runs") == []


def test_reports_are_read_past_a_damaged_one(make_report: MakeReport, tmp_path: Path) -> None:
    """One unreadable manifest hides no other; the user's own manifest.toml among artifacts is none of ours."""
    for seed in (3, 1, 2):
        folder = tmp_path / "exp" / f"n{seed}"
        (folder / "artifacts").mkdir(parents=True)
        manifest.write(folder / "manifest.toml", make_report(seed))
        (folder / "artifacts" / "manifest.toml").write_text("theirs = true\n")
    (tmp_path / "exp" / "n2" / "manifest.toml").write_text("schema_version = 1\n")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "manifest.toml").write_text("theirs = true\n")
    damaged: list[RpdError] = []
    reports = history.reports(tmp_path, damaged=damaged.append)
    assert [report.node.parameters["seed"] for report in reports] == [1, 3]
    assert reports[0].folder == str(tmp_path / "exp" / "n1")
    assert len(damaged) == 1
    assert "n2" in str(damaged[0])
