"""Resuming: choosing an earlier run and what of it is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rpd.errors import Cause, UsageError
from rpd.journal import journal, past
from rpd.journal.files import RunFiles
from rpd.journal.past import Past
from rpd.journal.writer import is_running
from rpd.record import history
from rpd.record.run import RunInfo
from rpd.values.node import Node
from rpd.values.report import NodeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """An earlier run: its files, what its journals tell, and the reports of the nodes that are over."""

    info: RunInfo
    files: RunFiles
    past: Past
    reports: tuple[NodeReport, ...]
    planned: frozenset[str]

    def left_of(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        """Return the nodes that were planned and are not over."""
        over = {report.node.id for report in self.reports}
        return tuple(node for node in nodes if node.id in self.planned and node.id not in over)


def choose(runs_path: Path, wanted: str) -> Resumed:
    """Return the run whose id is or begins with ``wanted``, by default the last one that was not finished.

    Raises UsageError where there is none, where it still runs, and where it is over.
    """
    found = history.runs(runs_path)
    if wanted:
        named = [info for info in found if info.id == wanted] or [i for i in found if i.id.startswith(wanted)]
        if len(named) != 1:
            raise UsageError(f"{'no' if not named else 'more than one'} run {wanted!r} in {runs_path}")
        info = named[0]
    else:
        unfinished = [info for info in found if not info.finished]
        if not unfinished:
            next_step = "`rpd run --lf` runs again what did not pass" if found else "`rpd run` begins one"
            raise UsageError(
                f"no run in {runs_path} is unfinished, so there is nothing to resume: {next_step}"
            )
        info = unfinished[0]
    folder = Path(info.folder)
    files = RunFiles(folder, info.id)
    if info.damage or not files.journal.is_file():
        raise UsageError(f"run {info.id} cannot be carried on: {info.damage or 'it has no journal'}")
    if _still_runs(files.journal):
        raise UsageError(f"run {info.id} still goes on in another process")
    reports = tuple(
        report for report in history.reports(folder) if report.result.cause is not Cause.INTERRUPTED
    )
    return Resumed(
        info=info, files=files, past=past.read(files), reports=reports, planned=_planned(files.journal)
    )


def _planned(path: Path) -> frozenset[str]:
    return frozenset(
        node_id
        for event in journal.read(path)
        if event["event"] == journal.PLANNED
        for node_id in event["ids"]
    )


def _still_runs(path: Path) -> bool:
    started = [event for event in journal.read(path) if event["event"] == "run_started"]
    return bool(started) and is_running(started[-1])
