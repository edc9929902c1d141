"""Past runs, read from their folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rpd.errors import RpdError
from rpd.record import manifest, manifest_index, run_info
from rpd.record.manifest_index import Document
from rpd.record.run_info import RunInfo
from rpd.values.report import NodeReport, in_plan_order
from rpd.values.runfolder import is_run_id


def runs(runs_path: Path) -> list[RunInfo]:
    """Return the runs in a folder of run folders, newest first; ``damage`` of each describes broken files."""
    try:
        folders = [Path(entry) for entry in os.scandir(runs_path) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    infos = [info for folder in folders if (info := run_in(folder)) is not None]
    return sorted(infos, key=lambda info: (info.started or stamp(info.id), info.id), reverse=True)


def stamp(name: str) -> str:
    """Return when a run began by the name of its folder, close enough to ISO 8601 to be sorted with it."""
    digits = "".join(character for character in name.partition("-")[0] if character.isdigit())
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}:{digits[12:14]}"


def run_in(folder: Path) -> RunInfo | None:
    """Return the known facts about the run in ``folder``, None if it is no run folder."""
    path = folder / run_info.FILE_NAME
    if not os.path.lexists(path) and next(manifest_index.folders(folder), None) is None:
        return None
    try:
        return run_info.read(path)
    except RpdError as error:
        return RunInfo(id=folder.name, folder=str(folder), damage=str(error))


def reports(
    folder: Path, *, damaged: Callable[[RpdError], object] | None = None, keep: bool = True
) -> list[NodeReport]:
    """Return the reports of the run in ``folder`` in the order of its plan; of an old run, in which the nodes began.

    A manifest that cannot be read is left out, and handed to ``damaged`` if given. Without ``keep`` nothing is
    written, not even the index that makes reading faster.
    """
    read = []
    for place, document in documents(folder, keep=keep):
        try:
            if isinstance(document, RpdError):
                raise document
            path = f"{place}{os.sep}{manifest.FILE_NAME}"
            read.append(manifest.report_of(document, path, folder=place))
        except RpdError as error:
            if damaged is not None:
                damaged(error)
    return list(in_plan_order(sorted(read, key=lambda report: (report.result.started, report.node.id))))


def documents(folder: Path, *, keep: bool = True) -> Iterator[tuple[str, Document | RpdError]]:
    """Yield the folder of each node of the run in ``folder`` with its manifest, or the error in that."""
    return manifest_index.read(folder, manifest.read_document, keep=keep)


def run_folders(runs_path: Path) -> list[tuple[str, Path]]:
    """Return when each run in a folder of run folders began (UTC, ISO 8601), and its folder; the newest first.

    A run file is only read where the name of its folder does not say it.
    """
    try:
        folders = [Path(entry) for entry in os.scandir(runs_path) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    dated = [(began, folder) for folder in folders if (began := _began(folder)) is not None]
    return sorted(dated, key=lambda each: (each[0], each[1].name), reverse=True)


def _began(folder: Path) -> str | None:
    """Return when the run in a folder began, None if it is no run folder."""
    if is_run_id(folder.name) and os.path.lexists(folder / run_info.FILE_NAME):
        return stamp(folder.name)
    info = run_in(folder)
    return (info.started or stamp(info.id)) if info else None
