"""Keys and passwords in a project: unsent files are reported, and the file of a secret is never sent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.testing import RpdRun
from tests.runs.conftest import outcomes

Project = Callable[[dict[str, str]], Path]

DEPLOY = """
import rpd
from rpd import Budget, Gpu, Secret

job = rpd.job(gpu=Gpu("NVIDIA RTX A4000"), budget=Budget(cost_cap_usd=0.5), secrets=[Secret("TOKEN", file="token.txt")])

@job
def staged(pod, staged_dir):
    pod.run("ls -A; test ! -e .env && test ! -e token.txt && test -e data/.env && test $TOKEN = hush", cwd=staged_dir)
    pod.put("more", "/workspace/more")
    pod.run("test ! -e more/id_rsa && test -e more/x")

@job
def named(pod):
    pod.put("token.txt", "/workspace/token.txt")
"""
FILES = {
    "deploy_x.py": DEPLOY,
    "token.txt": "\ufeffhush\n",
    ".env": "A=1",
    "data/.env": "A=1",
    "data/.rpdignore": "!.env",
    "more/id_rsa": "key",
    "more/x": "",
}


@pytest.mark.usefixtures("emulator")
def test_what_is_not_sent_is_told(project: Project, rpd: RpdRun) -> None:
    """Once for each folder; with the way to send it. A byte order mark is no part of a secret."""
    result = rpd(project(FILES))
    assert outcomes(result) == {"staged": "passed", "named": "failed"}, result.out
    text = " ".join(result.out.split())
    assert text.count("not sent from") == 2
    assert ".env, more/id_rsa. They look like keys or passwords" in text
    assert "more: id_rsa. It looks like" in text
    assert "the file of a secret" in text


def test_a_dry_run_tells_the_same(project: Project, rpd: RpdRun) -> None:
    """Before anything is paid for."""
    result = rpd(project(FILES), "--dry-run")
    text = " ".join(result.out.split())
    assert text.count("not sent from") == 2, result.out
    assert "the file of a secret" in text
    assert outcomes(result) == {}


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize(("content", "why"), [("", "empty"), ("\ufeff\n", "empty"), (None, "cannot read")])
def test_an_empty_secret_is_an_error(project: Project, rpd: RpdRun, content: str | None, why: str) -> None:
    """Of a file as of a variable, before anything is created."""
    folder = project(FILES)
    (folder / "token.txt").unlink() if content is None else (folder / "token.txt").write_text(content)
    result = rpd(folder)
    assert result.exit_code == 4
    assert why in result.err
    assert "token.txt" in result.err
    assert not (folder / "rpd-runs").exists()
