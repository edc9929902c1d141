"""Reads run folders for a page: of this machine or another, complete or not."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from rpd.disk.regular import folders_in
from rpd.errors import RpdError
from rpd.journal import journal
from rpd.journal.driver_alive import is_running
from rpd.journal.journal import Event
from rpd.pipeline.past_runs import PastRun, RunState
from rpd.record import history, manifest
from rpd.record import run_info as run_file
from rpd.record.run_info import RunInfo
from rpd.values.report import SCHEMA_VERSION

QUIET_SECONDS = 600.0
"""A run of another machine in which nothing has changed for so long is not taken to go on."""


def is_run_folder(folder: Path) -> bool:
    """Return whether a folder is a run folder, not a folder of such: it has a run file or a journal."""
    return any(os.path.lexists(folder / name) for name in (run_file.FILE_NAME, journal.FILE_NAME))


def read_run(folder: Path, notes: list[str]) -> PastRun:
    """Return a run with the readable reports; problems with the others are added to ``notes``."""
    info = read_info(folder, notes)
    reports = history.reports(folder, damaged=lambda error: notes.append(f"left out: {error}"))
    return PastRun(info=info, state=Driver(folder).state(info, notes), reports=tuple(reports))


class Driver:
    """The state of a run; its journal is read again only once the known process is gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: Event | None = None

    def state(self, info: RunInfo, notes: list[str]) -> RunState:
        """Return the current state of the run.

        A run that another machine drives counts as running while its files grow, since its process cannot be
        checked here.
        """
        if info.damage:
            return RunState.DAMAGED
        if info.finished:
            return RunState.FINISHED
        if self._started is None or not is_running(self._started):
            events = journal.read(self._folder / journal.FILE_NAME)
            self._started = next(
                (event for event in reversed(list(events)) if event["event"] == "run_started"), None
            )
        if self._started is None or not is_running(self._started):
            return RunState.UNFINISHED
        host = self._started["host"]
        if host == socket.gethostname() or time.time() - _last_change(self._folder) < QUIET_SECONDS:
            return RunState.RUNNING
        notes.append(
            f"run {info.id} was driven by another machine ({host}), and nothing in it has changed for a while"
        )
        return RunState.UNFINISHED


def _last_change(folder: Path) -> float:
    """Return when a file of a run or of one of its nodes changed last, in seconds since 1970."""
    times = [0.0]
    for place in (folder, *folders_in(folder)):
        with suppress(OSError), os.scandir(place) as entries:
            times += (entry.stat(follow_symlinks=False).st_mtime for entry in entries if not entry.is_dir())
    return max(times)


def read_info(folder: Path, notes: list[str]) -> RunInfo:
    """Return the run file; if it is damaged, the facts that are known without it."""
    info = history.run_in(folder)
    if info is None:
        return RunInfo(
            id=folder.name, folder=str(folder), damage="there is no run file, and no node has ended"
        )
    if not info.damage and (version := _version(folder)) > SCHEMA_VERSION:
        notes.append(
            f"run {info.id} was written by a newer rpd ({info.rpd or '?'}, schema {version}): "
            "parts that this one does not know are left out"
        )
    return info


def _version(folder: Path) -> int:
    path = folder / run_file.FILE_NAME
    try:
        version = manifest.parse(manifest.read_text(path), str(path))["schema_version"]
    except RpdError:
        return SCHEMA_VERSION
    return version if isinstance(version, int) else SCHEMA_VERSION
