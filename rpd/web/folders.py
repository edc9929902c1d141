"""Run folders as a page reads them: of this machine or another, whole or not, as far as they go."""

from __future__ import annotations

import os
from pathlib import Path

from rpd.errors import RpdError
from rpd.journal import journal
from rpd.pipeline.past_runs import PastRun, state_of
from rpd.record import history, manifest
from rpd.record import run as run_file
from rpd.record.run import RunInfo
from rpd.values.report import SCHEMA_VERSION


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is that of one run, rather than one with such folders: it has a run file or a journal."""
    return any(os.path.lexists(folder / name) for name in (run_file.FILE_NAME, journal.FILE_NAME))


def read_run(folder: Path, notes: list[str]) -> PastRun:
    """Return a run with the reports that can be read; what cannot is added to ``notes``."""
    info = read_info(folder, notes)
    reports = history.reports(folder, damaged=lambda error: notes.append(f"left out: {error}"))
    return PastRun(info=info, state=state_of(info), reports=tuple(reports))


def read_info(folder: Path, notes: list[str]) -> RunInfo:
    """Return what the run file tells; where it is damaged, what can be known without it."""
    info = history.run_in(folder)
    if info is None:
        return RunInfo(
            id=folder.name, folder=str(folder), damage="there is no run file, and no node has ended"
        )
    if not info.damage and (version := _version(folder)) > SCHEMA_VERSION:
        notes.append(
            f"run {info.id} was written by a newer rpd ({info.rpd or '?'}, schema {version}): "
            "things that this one does not know are left out"
        )
    return info


def _version(folder: Path) -> int:
    path = folder / run_file.FILE_NAME
    try:
        version = manifest.parse(manifest.read_text(path), str(path))["schema_version"]
    except RpdError:
        return SCHEMA_VERSION
    return version if isinstance(version, int) else SCHEMA_VERSION
