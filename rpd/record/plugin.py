"""The plugin that keeps the record of a run in progress."""

from __future__ import annotations

import datetime as dt
import os
import platform
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import rpd
from rpd.config import Config
from rpd.events import Events
from rpd.hooks import hookimpl
from rpd.project.owner import owner
from rpd.record import manifest, manifest_index, results_csv, run_info
from rpd.record.atomic_write import write_whole
from rpd.record.run_info import RunInfo
from rpd.redaction import Redactor
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.report import NodeReport, Outcome, RunSummary
from rpd.values.sort_order import Ranking, ranked

_WRITERS = 32
"""At most so many files are written at once: nodes that end together must not wait for each other's disk."""


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


class ManifestPlugin:
    """Writes ``manifest.toml`` of each node, ``run.toml`` and ``results.csv`` of the run, secrets masked.

    A notice names files that cannot be written; there is no other effect. ``now`` returns UTC as ISO 8601.
    Nothing is written if there is no folder (a dry run).
    """

    def __init__(
        self,
        *,
        redactor: Redactor,
        events: Events,
        resumed: RunInfo | None = None,
        now: Callable[[], str] = _now,
    ) -> None:
        self._redactor = redactor
        self._events = events
        self._now = now
        self._resumed = resumed
        self._locks = [threading.Lock() for _ in range(_WRITERS)]
        self._unwritten: dict[str, Callable[[], None]] = {}
        """What could not be written, the newest of each file: it is tried again when the run ends."""
        self._info: RunInfo | None = None
        self._index: manifest_index.Additions | None = None
        self._nodes: set[str] = set()
        """The ids of those that are planned, and of those that joined."""

    @hookimpl
    def rpd_run_started(self, config: Config, plan: Plan, backend: str, folder: Path | None) -> None:
        """Begin ``run.toml``, so that a killed run leaves a trace."""
        if folder is None:
            return
        self._index = manifest_index.Additions(folder)
        self._nodes = {node.id for node in plan.nodes}
        if self._resumed is not None:
            self._info = replace(self._resumed, finished="", exit_code=None, backend=backend)
            self._write_run(self._info)
            return
        self._info = RunInfo(
            id=folder.name,
            rpd=rpd.__version__,
            python=platform.python_version(),
            argv=config.argv,
            rootdir=str(config.rootdir),
            invocation_dir=str(config.invocation_dir),
            backend=backend,
            width=plan.width,
            nodes=len(plan.nodes),
            worst_case_usd=plan.worst_case_usd,
            owner=owner(),
            started=self._now(),
            folder=str(folder),
        )
        self._write_run(self._info)

    @hookimpl
    def rpd_nodes_added(self, nodes: Sequence[Node]) -> None:
        """Count nodes that join the plan."""
        self._nodes.update(node.id for node in nodes)

    @hookimpl(tryfirst=True)
    def rpd_node_report(self, report: NodeReport) -> None:
        """Write the node's manifest; again where a later teardown changed it."""
        if report.folder:
            path = f"{report.folder}{os.sep}{manifest.FILE_NAME}"
            self._try(path, lambda: self._write_manifest(path, report))

    def _write_manifest(self, path: str, report: NodeReport) -> None:
        document = manifest.document_of(report, self._redactor)
        manifest.write_document(path, document, sync=report.had_pod)
        if self._index is not None:
            self._index.add(report.folder, document)

    @hookimpl(tryfirst=True)
    def rpd_run_finished(self, config: Config, summary: RunSummary) -> None:
        """Complete ``run.toml`` and write ``results.csv``, in the order of ``--sort`` or else of the plan."""
        if self._info is None or self._index is None:
            return
        for path, write in list(self._unwritten.items()):
            self._try(path, write)
        self._index.flush()
        self._info = replace(
            self._info,
            nodes=max(self._info.nodes, len(self._nodes)),
            finished=self._now(),
            seconds=round(summary.seconds, 3),
            git_sha=next((report.source.git_sha for report in summary.reports if report.source.git_sha), ""),
            outcomes={outcome.value: summary.count(outcome) for outcome in Outcome if summary.count(outcome)},
            cached=summary.cached,
            usd=round(summary.estimated_usd, 6),
            stop_reason=summary.stop_reason,
            deselected=summary.deselected,
            not_run=summary.not_run,
            unreleased=summary.unreleased,
            leftover=summary.leftover,
        )
        self._write_run(self._info)
        sort = config.output.sort
        reports = ranked(summary.reports, Ranking.parse(sort)) if sort else summary.reports
        table = Path(self._info.folder) / results_csv.FILE_NAME
        self._try(str(table), lambda: write_whole(table, results_csv.dumps(reports, self._redactor)))

    def record_exit_code(self, exit_code: int) -> None:
        """Add to ``run.toml`` with which code the command is going to end."""
        if self._info is not None:
            self._info = replace(self._info, exit_code=int(exit_code))
            self._write_run(self._info)

    def _write_run(self, info: RunInfo) -> None:
        path = Path(info.folder) / run_info.FILE_NAME
        masked = replace(
            info,
            argv=self._redactor.data(info.argv),
            stop_reason=self._redactor.text(info.stop_reason),
            rootdir=self._redactor.text(info.rootdir),
            owner=self._redactor.text(info.owner),
        )
        self._try(str(path), lambda: run_info.write(path, masked))

    def _try(self, path: str, write: Callable[[], None]) -> None:
        """Write; one writer of a file at a time, so that the later of two reports of a node stays."""
        try:
            with self._locks[hash(path) % _WRITERS]:
                self._unwritten[path] = write
                write()
                del self._unwritten[path]
        except Exception as error:  # noqa: BLE001 - no record is worth a run with pods in it
            self._events.notice(self._redactor.text(f"could not write {path}: {error}"))
