"""The files that this process writes are not sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rpd.project.ignore import staged_files
from rpd.project.own_output import OwnOutput


def test_reports_and_run_folders_below_a_folder_are_rules_for_it(tmp_path: Path) -> None:
    """Each is named from the folder on, whatever characters it has, and nothing else of that name is meant."""
    for name in ("report[1].html", "sub/report[1].html", "out/runs/a/manifest.toml", "kept.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    own = OwnOutput([tmp_path / "report[1].html", tmp_path / "out/runs", tmp_path.parent / "elsewhere.xml"])
    names = [file.name for file in staged_files(tmp_path, own.below(tmp_path))]
    assert names == ["kept.py", "out", "sub", "sub/report[1].html"]
    assert own.files_below(tmp_path) == ["report[1].html"]


def test_a_folder_reached_by_a_link_is_the_same_folder(tmp_path: Path) -> None:
    """The rules hold under every name of the folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    own = OwnOutput([tmp_path / "link/report.html"])
    assert own.below(tmp_path / "real") == own.below(tmp_path / "link") == ("/report.html",)


def test_the_files_that_output_is_redirected_to(tmp_path: Path) -> None:
    """``nohup rpd run > nohup.out`` does not send nohup.out; a pipe or a terminal is no file."""
    code = "from pathlib import Path; from rpd.project.own_output import OwnOutput; print(OwnOutput.of_process([]).below(Path('.')))"
    here = Path(__file__).resolve().parents[2]
    with (tmp_path / "nohup.out").open("wb") as out, (tmp_path / "errors.txt").open("wb") as err:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=out,
            stderr=err,
            check=True,
            env={**os.environ, "PYTHONPATH": str(here)},
        )
    assert (tmp_path / "nohup.out").read_text() == "('/nohup.out', '/errors.txt')\n"
