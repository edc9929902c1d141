"""The HTML report: the page of a run, written at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rpd.config.config import OutputSettings
from rpd.errors import RpdError
from rpd.events import Events
from rpd.hooks import PluginManager, hookimpl
from rpd.pipeline.past_runs import PastRun, RunState
from rpd.record import run_info as run_file
from rpd.record.report_output import report_path, write_report
from rpd.record.run_info import RunInfo
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.report import RunSummary
from rpd.values.sort_order import Ranking
from rpd.web.document import Document
from rpd.web.file_links import absolute, from_file
from rpd.web.page import render


class HtmlReport:
    """Writes the page to ``path`` when the run is over.

    ``write`` writes the file and raises OSError, which becomes a notice.
    """

    def __init__(
        self,
        path: Path,
        *,
        redactor: Redactor,
        write: Callable[[Path, str], object],
        events: Events,
        ranking: Ranking | None = None,
    ) -> None:
        self._path = path
        self._redactor = redactor
        self._write = write
        self._events = events
        self._ranking = ranking

    @hookimpl
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Write the page, when the record of the run is on the disk: that observer comes first."""
        run = PastRun(info=_info(summary), state=RunState.FINISHED, reports=summary.reports)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._write(
                self._path, dumps([run], redactor=self._redactor, path=self._path, ranking=self._ranking)
            )
        except OSError as error:
            self._events.notice(text=f"--html {self._path}: cannot be written: {error.strerror or error}")


def dumps(
    runs: Sequence[PastRun],
    *,
    redactor: Redactor = NO_SECRETS,
    path: Path | None = None,
    notes: Sequence[str] = (),
    ranking: Ranking | None = None,
    whole: bool = True,
) -> str:
    """Return the page of these runs, with links relative to the folder of ``path``; ``ranking`` orders its table.

    Without ``whole`` the runs are parts of runs, and nodes without a report are left out.
    """
    ordered = {"column": ranking.column, "down": ranking.descending} if ranking else None
    return render(
        Document(redactor=redactor, address=from_file(path) if path else absolute).of(
            runs, notes, ordered, whole=whole
        )
    )


def _info(summary: RunSummary) -> RunInfo:
    """Return the run file.

    In a dry run, or if the file could not be written, its equivalent made from the summary.
    """
    if summary.folder:
        try:
            return run_file.read(Path(summary.folder) / run_file.FILE_NAME)
        except RpdError:
            pass
    return RunInfo(
        id=Path(summary.folder).name or "dry run",
        folder=summary.folder,
        finished="-",
        seconds=summary.seconds,
        deselected=summary.deselected,
        not_run=summary.not_run,
        stop_reason=summary.stop_reason,
        unreleased=summary.unreleased,
        leftover=summary.leftover,
        nodes=len(summary.reports) + summary.not_run,
    )


def add_page(output: OutputSettings, folder: Path, manager: PluginManager, redactor: Redactor) -> None:
    """Register the plugin that writes the page of the run, if one is wanted. Raise UsageError."""
    if output.html is None or manager.is_blocked("html"):
        return
    path = report_path("--html", output.html, folder)
    report = HtmlReport(
        path,
        redactor=redactor,
        write=write_report,
        events=Events(manager),
        ranking=Ranking.parse(output.sort) if output.sort else None,
    )
    manager.register(report, "html")
