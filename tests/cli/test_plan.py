"""``rpd plan``: a change of a project, as its nodes feel it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rpd.cli import main
from rpd.emulator.launch import Launched
from tests.git import git

Project = Any
DEPLOY = """
    import rpd
    from rpd import Budget, Gpu

    job = rpd.job(gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=5, max_runtime="45m", ssh_ready_timeout="15m"))

    @job
    @rpd.mark.parametrize("seed", [1, 2])
    def fit(pod, staged_dir, seed):
        pod.run("true")

    @job
    def lonely(pod):
        pod.put("data.txt", "data.txt")

    @job
    def old(pod):
        pod.run("true")
"""


@pytest.fixture
def repository(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit on ``main``; its project lies in a subfolder."""
    project.write(
        {
            "jobs/deploy_a.py": DEPLOY,
            "jobs/train.py": "1",
            "jobs/data.txt": "1",
            "pyproject.toml": "[tool.rpd]",
        }
    )
    (project.folder / "rpd.toml").unlink(missing_ok=True)
    folder: Path = project.folder
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    return folder


def test_a_change_is_told_node_by_node(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A case more, a job less, a file that some nodes are sent; nothing of the repository is touched."""
    deploy = repository / "jobs/deploy_a.py"
    deploy.write_text(deploy.read_text().replace("[1, 2]", "[1, 2, 3]").replace("def old", "def newer"))
    (repository / "jobs/train.py").write_text("2")
    (repository / "jobs/own.txt").write_text("a file that git does not know is sent as well")
    before = subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=True).stdout
    code = main(["plan", "--against", "main", "--json", "--fail-above", "1", "--markdown", "plan.md"])
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    status = {node["id"].partition("::")[2]: node["status"] for node in found["nodes"]}
    assert status == {
        "fit[seed1]": "changed", "fit[seed2]": "changed", "fit[seed3]": "new", "lonely": "cached", "newer": "new",
        "old": "gone",
    }  # fmt: skip
    assert code == 1
    assert "more than --fail-above 1" in printed.err
    assert found["worst_case_usd"] == pytest.approx(4 * 0.49, rel=0.02)
    reasons = {node["id"].partition("::")[2]: node["reasons"] for node in found["nodes"]}
    assert reasons["fit[seed1]"] == ["the files it sends from jobs changed"]
    assert reasons["lonely"] == ["as on main"]
    text = (repository / "plan.md").read_text()
    assert "| `jobs/deploy_a.py::fit[seed3]` | new | not on main |" in text
    assert "would run | 4 | unknown | $1.9" in text
    (repository / "plan.md").unlink()
    assert subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=True).stdout == before
    # From a folder below, and for one node that is there by its id.
    assert main(["plan", "jobs/deploy_a.py::lonely", "--against", "main", "-v"]) == 0
    assert "1 cached" in capsys.readouterr().out


def test_what_passed_is_cached_and_ids_can_be_run(
    project: Project, emulator: Launched, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nodes that passed with the same files need not run again, whatever the other tree holds.

    ``-q`` feeds ``@FILE``.
    """
    (repository / "jobs/data.txt").write_text("2")
    account = {"RUNPOD_API_KEY": emulator.api_key, "RUNPOD_API_BASE_URL": emulator.base_url}
    run = project.run("--yes", "jobs/deploy_a.py::lonely", env=account)
    assert run.exit_code == 0, run.out + run.err
    assert main(["plan", "--against", "HEAD", "-q"]) == 0
    ids = capsys.readouterr().out.split()
    assert ids == ["jobs/deploy_a.py::fit[seed1]", "jobs/deploy_a.py::fit[seed2]"]
    (repository / "ids.txt").write_text("\n".join(ids))
    assert main(["collect", "-q", "@ids.txt"]) == 0
    assert capsys.readouterr().out.split() == ids
    assert main(["plan"]) == 0
    assert "3 new, 1 cached" in capsys.readouterr().out


def test_what_cannot_be_compared_is_told(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown commit is an error; a tree that was broken is compared as far as it goes."""
    assert main(["plan", "--against", "nowhere"]) == 4
    assert "git has no such commit here" in capsys.readouterr().err
    broken = repository / "jobs/deploy_b.py"
    broken.write_text("import nothing_of_that_name")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "broken")
    broken.unlink()
    assert main(["plan", "--against", "HEAD"]) == 0
    printed = capsys.readouterr()
    assert "nothing_of_that_name" in printed.err
    # The broken file was sent as well.
    assert "2 changed, 2 cached" in printed.out
