"""Whole runs: projects made of text, one emulator for all of them, and helpers that wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.journal import journal
from rpd.testing import RpdRun, RunResult, start_interpreter
from tests.files import write_files

HASTY = """
import rpd.lease.boot as boot, rpd.lease.lease as lease, rpd.runpod.rest.pods as pods
boot.FIRST_LOOK_SECONDS, pods._LOG_QUIET_SECONDS = 0.2, 0.5
"""
"""A conftest for pods that do not come up at once: times that a user waits some seconds for, a test need not."""


def write_project(folder: Path, files: dict[str, str]) -> Path:
    """Write a project: file name to (indented) text. Its folder is the root folder."""
    return write_files(folder, {"rpd.toml": "", **files})


def events(run_dir: Path, *names: str) -> list[dict[str, Any]]:
    """Return the events of those names in the journal of a run, in order."""
    path = run_dir / journal.FILE_NAME
    return [event for event in journal.read(path) if event["event"] in names] if path.exists() else []


def run_dir_of(project: Path) -> Path | None:
    """Return the only run folder of a project, None before there is one."""
    folders = list((project / "rpd-runs").glob("2*/"))
    assert len(folders) <= 1
    return folders[0] if folders else None


def outcomes(result: RunResult) -> dict[str, str]:
    """Return name of the node to outcome."""
    return {report.node.id.rpartition("::")[2]: report.result.outcome.value for report in result.reports}


@pytest.fixture
def project(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """``project({name: text})`` writes a project and returns its folder."""
    return lambda files: write_project(tmp_path / "project", files)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``rpd`` started by a fresh interpreter: it has imported nothing, and inherits ignored signals."""
    monkeypatch.setattr(RpdRun, "start_process", staticmethod(start_interpreter))


@pytest.fixture
def rpd(rpd_run: RpdRun) -> RpdRun:
    """The command line, by a shorter name."""
    return rpd_run


@pytest.fixture
def emulator(clean_emulator: Launched) -> Launched:
    """One emulator for all tests; each must leave it without a pod."""
    return clean_emulator
