"""The record of the code that runs: the commit, all changes since, and nothing that is secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rpd.journal.files import RunFiles
from rpd.project.code_state import LARGEST_FILE, Sources
from rpd.redaction import Redactor
from rpd.values.report import SourceRecord
from tests.git import git
from tests.heard import Heard

SECRET = "hf_abcdefghijklmnop"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit and nothing else."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    for name in ("train.py", ".env"):
        (folder / name).write_text("first\n", encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def recorded(folder: Path, notices: list[str] | None = None) -> tuple[SourceRecord, str]:
    """Return the record of a project whose runs lie in it, and the diff that was saved."""
    files = RunFiles.create(folder / "rpd-runs")
    (files.keys).mkdir()
    files.private_key.write_text("private", encoding="utf-8")
    record = Sources(files.folder, Redactor([SECRET]), Heard(notices)).of(folder)
    diff = (files.folder / record.diff_file).read_text(encoding="utf-8") if record.diff_file else ""
    return record, diff


def test_runs_make_no_repository_dirty_and_git_takes_no_key(repository: Path) -> None:
    """git ignores rpd's files there: the tree stays clean, and `git add -A` adds nothing."""
    record, diff = recorded(repository)

    assert (record.dirty, record.diff_file, diff, record.diff_left_out) == (False, "", "", ())
    assert len(record.git_sha) == 40
    git(repository, "add", "-A")
    assert git(repository, "diff", "--cached", "--name-only") == ""


def test_a_runs_folder_with_other_files_keeps_its_own_rules(repository: Path) -> None:
    """Only the run folder ignores itself where the user keeps more next to it; keys are not taken there either."""
    (repository / "rpd-runs").mkdir()
    (repository / "rpd-runs" / "notes.md").write_text("mine", encoding="utf-8")

    recorded(repository)

    git(repository, "add", "-A")
    assert git(repository, "diff", "--cached", "--name-only").split() == [
        "rpd-runs/latest",
        "rpd-runs/notes.md",
    ]


def test_runs_of_an_older_version_do_not_make_it_dirty(repository: Path) -> None:
    """A folder of runs without its own ignore rules is still left out."""
    old = repository / "rpd-runs" / "20250101T000000Z-aaaaaa"
    old.mkdir(parents=True)
    (old / "run.toml").write_text("", encoding="utf-8")
    (repository / "rpd-runs" / ".gitignore").write_text("", encoding="utf-8")

    assert recorded(repository)[0].dirty is False


def test_the_diff_holds_new_files_and_leaves_the_repository_alone(repository: Path) -> None:
    """Code that git does not know yet is the code that ran: `git apply` brings it back."""
    (repository / "train.py").write_text("second\n", encoding="utf-8")
    (repository / "pkg").mkdir()
    (repository / "pkg" / "new: [x].py").write_text("new = 1\n", encoding="utf-8")
    (repository / "staged.py").write_text(f"token = '{SECRET}'\n", encoding="utf-8")
    git(repository, "add", "staged.py")
    before = git(repository, "status", "--porcelain")
    objects = sorted((repository / ".git" / "objects").rglob("*"))

    record, diff = recorded(repository)

    assert record.dirty
    assert all(line in diff for line in ("+second", "+new = 1", "+token = '***'"))
    assert SECRET not in diff
    assert git(repository, "status", "--porcelain") == before
    assert sorted((repository / ".git" / "objects").rglob("*")) == objects
    git(repository, "stash", "-u", "-q")
    path = repository.parent / "saved.diff"
    path.write_text(diff, encoding="utf-8")
    git(repository, "apply", str(path))
    assert (repository / "pkg" / "new: [x].py").read_text(encoding="utf-8") == "new = 1\n"


def test_a_change_right_after_git_add_is_in_the_diff(repository: Path) -> None:
    """git knows a file by its time and size; one that changed in the second of the index it reads again."""
    then = (1_700_000_000,) * 2
    train, index = repository / "train.py", repository / ".git" / "index"
    git(repository, "config", "core.trustctime", "false")
    os.utime(train, then)
    git(repository, "add", "train.py")
    train.write_text("again\n", encoding="utf-8")
    os.utime(train, then)
    os.utime(index, then)

    assert "+again" in recorded(repository)[1]


def test_what_may_hold_secrets_or_is_data_stays_out_and_is_told(repository: Path) -> None:
    """A changed .env (tracked or not), a key, a large file and a binary with a secret: left out, each with its reason."""
    (repository / ".env").write_text("PASSWORD=tracked-password\n", encoding="utf-8")
    (repository / "deploy.pem").write_text("-----BEGIN", encoding="utf-8")
    (repository / "weights.bin").write_bytes(bytes(LARGEST_FILE + 1))
    (repository / "cache.bin").write_bytes(b"\0" + SECRET.encode())
    (repository / "ok.py").write_text("fine = 1\n", encoding="utf-8")
    notices: list[str] = []

    record, diff = recorded(repository, notices)

    assert "+fine = 1" in diff
    assert "tracked-password" not in diff
    assert "BEGIN" not in diff
    assert record.diff_left_out == (
        ".env (may hold secrets)",
        "cache.bin (holds a secret)",
        "deploy.pem (may hold secrets)",
        "weights.bin (1.0 MB)",
    )
    (notice,) = notices
    assert ".env (may hold secrets)" in notice
    assert "is not in the record of this run" in notice


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("folder", ["", "below"])
def test_git_that_waits_for_a_pipe_is_not_waited_for(
    repository: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """A run goes on without the commit, and says so: what git said before would pass for a tree without changes."""
    monkeypatch.setattr("rpd.project.code_state.GIT_SECONDS", 0.5)
    (repository / folder).mkdir(exist_ok=True)
    os.mkfifo(repository / folder / ".gitignore")
    notices: list[str] = []

    record, _ = recorded(repository, notices)

    assert record.git_sha == ""
    assert notices == [f"git does not answer in {repository}: the record of this run names no commit"]
