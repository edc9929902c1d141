"""Secrets in node ids are found before anything has that name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rpd.cli import main

SECRET = "sesame-é/81f2"
DEPLOY = """
import os
import rpd
from rpd import Secret

@rpd.job(secrets=[Secret("HF_TOKEN")])
@rpd.mark.parametrize("token", [{values}])
def fit(token): ...

@rpd.job
def other(): ...
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rpd.toml").write_text("")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project: Path, values: str) -> None:
    (project / "deploy_a.py").write_text(DEPLOY.format(values=values), encoding="utf-8")


@pytest.mark.parametrize("command", [("collect", "-q"), ("collect", "--json"), ("run", "--dry-run")])
@pytest.mark.parametrize("values", ['os.environ["HF_TOKEN"]', f'"x-{SECRET}-y"'])
def test_a_secret_in_an_id_is_a_collection_error(
    project: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], values: str
) -> None:
    """A parameter that is or holds the value of a secret is refused; the value itself is never printed."""
    write(project, values)
    assert main(command) == 2
    captured = capsys.readouterr()
    assert "deploy_a.py:6: in fit" in captured.err
    assert "the value of the secret HF_TOKEN would be in a node id (by its parameter 'token')" in captured.err
    assert "rpd.param(…, id=…)" in captured.err
    assert "sesame" not in captured.out + captured.err
    assert ("deploy_a.py::other" in captured.out) is (command[0] == "collect")


def test_an_id_of_its_own_will_do(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With an id the value stays out of names."""
    write(project, 'rpd.param(os.environ["HF_TOKEN"], id="main")')
    assert main(["collect", "-q"]) == 0
    assert capsys.readouterr().out.splitlines() == ["deploy_a.py::fit[main]", "deploy_a.py::other"]


def test_a_secret_in_a_value_is_masked_wherever_nodes_are_listed(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is the user's own, but JSON has the values of parameters: a secret inside one is masked."""
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_0123456789ABCDEF")
    write(project, 'rpd.param({"a": ["x", os.environ["HF_TOKEN"], os.environ["RUNPOD_API_KEY"]]}, id="main")')
    assert main(["collect", "--json"]) == 0
    (fit, _) = json.loads(capsys.readouterr().out)["nodes"]
    assert fit["parameters"] == {"token": {"a": ["x", "***", "***"]}}


def test_the_password_of_a_registry_counts_as_a_secret(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands on the pod do not get it, but an id would show it."""
    registry = 'registry=rpd.Registry(username="me", password=Secret("HF_TOKEN"))'
    text = DEPLOY.replace('secrets=[Secret("HF_TOKEN")]', registry).format(values='os.environ["HF_TOKEN"]')
    (project / "deploy_a.py").write_text(text, encoding="utf-8")
    assert main(["collect", "-q"]) == 2
    assert "the value of the secret HF_TOKEN would be in a node id" in capsys.readouterr().err


def test_the_key_counts_as_a_secret(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RunPod's API key may be in no id either, though no job names it."""
    key = "rpa_0123456789ABCDEF"
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    write(project, f'"{key}"')
    assert main(["collect", "-q"]) == 2
    assert "the value of the secret RUNPOD_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, "", "abc"])
def test_what_is_not_there_or_too_short_is_passed_over(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Listing nodes needs no secrets; one of three letters is in half of all ids."""
    if value is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", value)
    write(project, '"abcd"')
    assert main(["collect", "-q"]) == 0
    assert "deploy_a.py::fit[abcd]" in capsys.readouterr().out
