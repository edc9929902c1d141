"""Uploads are reported, and limited, before any pod is rented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import rpd as rpd_package
from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.runs.conftest import events

Project = Callable[[dict[str, str]], Path]

DEPLOY = """
import rpd

@rpd.job(gpu=None)
def fit(pod, staged_dir):
    pod.put("data", "/workspace/data", exclude=["*.log"])
"""

OWN_FOLDER = """
import rpd

@rpd.fixture
def project_dir():
    return rpd.__path__[0]

@rpd.job(gpu=None)
def fit(staged_dir):
    pass
"""


def write_data(folder: Path, megabytes: int) -> None:
    """Write sparse files of so many megabytes in all, and one that is not staged."""
    (folder / "data").mkdir()
    for name, size in {"data/large.bin": megabytes - 1, "data/b.log": 1, "ignored.bin": 900}.items():
        with (folder / name).open("wb") as file:
            file.truncate(size * 1_000_000)
    (folder / ".rpdignore").write_text("ignored.bin\n")


def test_too_much_is_refused_before_a_pod_is_rented(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """A folder above the limit is a usage error that names the largest files and both ways out; --dry-run finds it."""
    folder = project({"deploy_x.py": DEPLOY})
    write_data(folder, 30)
    for how in (["--stage-limit-mb", "29"], ["--dry-run", "--stage-limit-mb", "29"]):
        result = rpd(folder, *how)
        assert result.exit_code == 4
        for part in (
            "5 files, 30 MB",
            "data/large.bin 29 MB, data/b.log 1.0 MB",
            ".rpdignore",
            "--stage-limit-mb 31",
        ):
            assert part in result.err, part
        assert not (folder / "rpd-runs").exists()


def test_a_dry_run_tells_files_and_bytes(rpd: RpdRun, project: Project) -> None:
    """Each put shows its upload; a folder above 50 MB is reported at the beginning, with its largest files."""
    folder = project({"deploy_x.py": DEPLOY})
    write_data(folder, 60)
    result = rpd(folder, "--dry-run")
    assert result.exit_code == 0, result.out + result.err
    assert "-> /workspace/project  (5 files, 60 MB)" in result.out
    assert "put data -> /workspace/data  (1 file, 59 MB)" in result.out
    text = result.out + result.err
    assert f"staging 5 files, 60 MB from {folder}; largest: data/large.bin 59 MB, data/b.log" in text.replace(
        "\n", " "
    )


def test_little_is_told_of_only_if_asked(rpd: RpdRun, project: Project) -> None:
    """Below 50 MB it takes -v, also for a folder the user chose."""
    folder = project({"deploy_x.py": DEPLOY.replace("pod.put", "0 and pod.put")})
    assert "staging" not in rpd(folder, "--dry-run").out
    assert "staging 2 files" in rpd(folder, "--dry-run", "-v").out
    (folder / "deploy_x.py").write_text(OWN_FOLDER)
    text = rpd(folder, "--dry-run", "-v").out
    assert f"from {Path(rpd_package.__file__).parent}" in text


PROJECTS = {
    "the home folder": ("Path.home()", "staged_dir would send all of"),
    "the root folder": ('"/"', "staged_dir would send all of /"),
    "too much": ('HERE / "data"', "more than stage_limit_mb"),
    "nothing": ('HERE / "gone"', "is not a folder"),
    "no path": ("3", "expected the path of a folder, got 3"),
}
CHOSEN = """
from pathlib import Path
import rpd

HERE = Path(__file__).parent

@rpd.fixture
def project_dir({asks}):
    {gives} {value}

@rpd.job(gpu=None)
def fit(pod, staged_dir):
    pass
"""


@pytest.mark.parametrize("name", PROJECTS)
def test_a_chosen_folder_is_checked_before_a_pod_is_rented(
    rpd: RpdRun, project: Project, emulator: Launched, name: str
) -> None:
    """The value of ``project_dir`` has to pass every check first: before the run, or before the pod of the node."""
    value, text = PROJECTS[name]
    folder = project({"deploy_x.py": CHOSEN.format(asks="", gives="return", value=value)})
    write_data(folder, 30)
    before = rpd(folder, "--stage-limit-mb", "29", env={"HOME": str(folder)})
    assert before.exit_code == 4, before.out
    assert text in before.err
    (folder / "deploy_x.py").write_text(CHOSEN.format(asks="run_dir", gives="yield", value=value))
    late = rpd(folder, "--stage-limit-mb", "29", env={"HOME": str(folder)})
    assert late.exit_code == 1
    assert text in late.reports[0].result.reason
    assert late.reports[0].pod is None
    assert late.run_dir is not None
    assert events(late.run_dir, "intent") == []


MISSES = """
import rpd

@rpd.job(gpu=None)
def fit(pod, staged_dir):
    pod.run("cat data/train.csv", cwd=staged_dir)

@rpd.job(gpu=None)
def named(pod, staged_dir):
    pod.put("data", f"{staged_dir}/data")
    pod.run("cat data/train.csv", cwd=staged_dir)
"""


def test_what_is_not_sent_is_told_before_and_where_it_is_missed(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """In one line before anything is rented, in a dry run too; a failure that misses a file says why it is not there."""
    folder = project({"deploy_x.py": MISSES, ".gitignore": "data/\n", "data/train.csv": "x"})
    (folder / "link").symlink_to("/mnt/elsewhere")
    text = f"staging {folder}: not sent, because git or .rpdignore ignores it: data/; links that lead nowhere on the pod: link"
    dry = rpd(folder, "--dry-run")
    assert dry.out.count(text) == 1
    assert dry.out.index(text) < dry.out.index("rpd dry run")
    result = rpd(folder, "--yes")
    assert result.out.count(text) == 1
    assert [report.result.outcome for report in result.reports] == ["failed", "passed"]
    assert (
        "data/ was not sent: git or .rpdignore ignores it. pod.put('data', …) sends it by name" in result.out
    )
