"""What is sent to the pods is told, and limited, before any is rented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun

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
    """Each put says what it would send; a folder above 50 MB is told of at the beginning, with its largest files."""
    folder = project({"deploy_x.py": DEPLOY})
    write_data(folder, 60)
    result = rpd(folder, "--dry-run")
    assert result.exit_code == 0, result.out + result.err
    assert "-> /workspace/project  (5 files, 60 MB)" in result.out
    assert "put data -> /workspace/data  (1 file, 59 MB)" in result.out
    told = result.out + result.err
    assert f"staging 5 files, 60 MB from {folder}; largest: data/large.bin 59 MB, data/b.log" in told.replace(
        "\n", " "
    )


def test_little_is_told_of_only_if_asked(rpd: RpdRun, project: Project) -> None:
    """Below 50 MB it takes -v; a folder the user chose is not weighed."""
    folder = project({"deploy_x.py": DEPLOY.replace("pod.put", "0 and pod.put")})
    assert "staging" not in rpd(folder, "--dry-run").out
    assert "staging 2 files" in rpd(folder, "--dry-run", "-v").out
    (folder / "deploy_x.py").write_text(OWN_FOLDER)
    assert "staging" not in rpd(folder, "--dry-run", "-v").out


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
    told = f"staging {folder}: not sent, because git or .rpdignore ignores it: data/; links that lead nowhere on the pod: link"
    dry = rpd(folder, "--dry-run")
    assert dry.out.count(told) == 1
    assert dry.out.index(told) < dry.out.index("rpd dry run")
    result = rpd(folder, "--yes")
    assert result.out.count(told) == 1
    assert [report.result.outcome for report in result.reports] == ["failed", "passed"]
    assert (
        "data/ was not sent: git or .rpdignore ignores it. pod.put('data', …) sends it by name" in result.out
    )
