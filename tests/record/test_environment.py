"""Capturing the environment: the recorded facts, their author, and no credentials."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rpd
from rpd.record import environment
from rpd.record.environment import _address


def captured(project: Path) -> dict[str, object]:
    return tomllib.loads(environment.dumps(environment.capture(project)))


def test_python_platform_and_packages_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a virtual environment of the project, the python that runs rpd is described."""
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    facts = environment.capture(tmp_path)
    assert facts["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["packages"]["pluggy"]
    assert facts["rpd"] == rpd.__version__
    assert captured(tmp_path)["packages"] == facts["packages"]


def test_source_and_lock_file(tmp_path: Path) -> None:
    """The commit, whether there are changes, and the sum of the lock file."""
    (tmp_path / "uv.lock").write_text("locked", encoding="utf-8")
    assert environment.capture(tmp_path)["source"]["git_sha"] == ""
    identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q", "-b", "trunk"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    source = environment.capture(tmp_path)["source"]
    assert len(source["git_sha"]) == 40
    assert (source["dirty"], source["lock_file"]) == (False, "uv.lock")
    assert source["branch"] == "trunk"
    assert source["lock_file_sha256"] == hashlib.sha256(b"locked").hexdigest()
    (tmp_path / "new").touch()
    assert environment.capture(tmp_path)["source"]["dirty"] is True


def test_the_projects_own_virtual_environment(tmp_path: Path) -> None:
    """Packages are those of ``.venv``, listed by its own python, which needs no pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True)
    facts = environment.capture(tmp_path)
    assert facts["packages"] == {}
    assert facts["python"]["executable"] == str(tmp_path / ".venv/bin/python")
    assert facts["python"]["version"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (
            '{"url": "https://me:token@x.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}',
            "https://x.org/a.git@c0ffee",
        ),
        ('{"url": "file:///src/a", "dir_info": {"editable": true}}', "file:///src/a"),
        ("{}", "unknown"),
        ("[", "unknown"),
    ],
)
def test_addresses_lose_their_credentials(text: str, address: str) -> None:
    """Of a package from an address its commit is kept, and no user or token."""
    assert _address(text) == address
