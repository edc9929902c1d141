"""Results of earlier runs: a node's last report that passed, if its files are still as they were pulled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from rpd.errors import UsageError
from rpd.journal import journal
from rpd.record import history
from rpd.record.verify import check
from rpd.runpod.address import EMULATOR
from rpd.values.frozen import replace
from rpd.values.report import CACHED, NodeReport, Outcome, Result

PASSED = (Outcome.PASSED, Outcome.XPASSED)
"""How a node ends that leaves something for others."""
_TOLD = 5


class NotThere(UsageError):
    """No earlier run has the needed results, or their files have changed."""


class Past:
    """The runs in a folder, newest first; with ``real``, without those on an emulator.

    A run is read only if newer ones lack the result.
    """

    def __init__(self, runs_path: Path, *, real: bool = False) -> None:
        self._runs_path = runs_path
        self._real = real
        self._found: dict[str, NodeReport] = {}
        self._of_job: dict[str, list[Path]] = defaultdict(list)
        """By job: the runs read so far in which one of its nodes passed, newest first."""
        self._unread: Iterator[Path] | None = None

    def reports(self, node_id: str) -> tuple[NodeReport, ...]:
        """Return the newest report of a node that passed, or those that stand for it, the best first; files verified.

        Raise NotThere.
        """
        reports = self._newest_of(node_id)
        if not reports:
            which = "no run on RunPod" if self._real else "no run"
            raise NotThere(f"{node_id} passed in {which} in {self._runs_path}")
        for report in reports:
            check_files(report)
        return reports

    def has(self, node_id: str) -> bool:
        """Return whether a node passed in some run, whatever became of its files."""
        return bool(self._newest_of(node_id))

    def _newest_of(self, node_id: str) -> tuple[NodeReport, ...]:
        report = self._newest(node_id)
        return (report,) if report is not None else self._stand_ins(node_id)

    def _stand_ins(self, node_id: str) -> tuple[NodeReport, ...]:
        """Return the reports that stand for a node in whose place others were added, of the newest run that has any."""
        for folder in self._of_job[job_of(node_id)]:
            ids = results_in(folder).get(node_id, ())
            by_id = {report.node.id: report for report in history.reports(folder)} if ids else {}
            if ids and by_id.keys() >= set(ids):
                return tuple(by_id[each] for each in ids)
        return ()

    def _newest(self, node_id: str) -> NodeReport | None:
        if self._unread is None:
            self._unread = self._folders()
        while node_id not in self._found:
            folder = next(self._unread, None)
            if folder is None:
                return None
            passed = [report for report in history.reports(folder) if report.result.outcome in PASSED]
            for report in passed:
                self._found.setdefault(report.node.id, report)
            for job in {job_of(report.node.id) for report in passed}:
                self._of_job[job].append(folder)
        return self._found[node_id]

    def _folders(self) -> Iterator[Path]:
        for info in history.runs(self._runs_path):
            if not info.damage and not (self._real and info.backend.startswith(EMULATOR)):
                yield Path(info.folder)


def results_in(folder: Path) -> dict[str, list[str]]:
    """Return, by id of each node of a run in whose place others were added, the ids of those that stand for it."""
    events = journal.read(folder / journal.FILE_NAME)
    return {
        str(event["of"]): list(map(str, event["ids"]))
        for event in events
        if event["event"] == journal.RESULTS
    }


def job_of(node_id: str) -> str:
    """Return the file and the job of a node's id, without its case."""
    return node_id.partition("[")[0]


def check_files(report: NodeReport) -> None:
    """Raise NotThere if a file of a node has changed since it was pulled, or was never verified."""
    wrong = [f"{file.path} {file.problem}" for file in check(report) if file.problem]
    wrong += [
        f"{artifact.local} was not verified when it was pulled"
        for artifact in report.artifacts
        if artifact.files and artifact.required and not artifact.verified
    ]
    if wrong:
        raise NotThere(f"{report.node.id} passed in {report.folder}, but its files changed: {_listed(wrong)}")


def _listed(wrong: list[str]) -> str:
    more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
    return "; ".join(wrong[:_TOLD]) + more


def taken(reports: Iterable[NodeReport]) -> tuple[NodeReport, ...]:
    """Return reports of an earlier run as those of nodes that this one need not run."""
    return tuple(
        replace(
            report,
            node=replace(report.node, place=None),
            result=Result(outcome=Outcome.SKIPPED, reason=f"{CACHED}taken from run {report.node.run}"),
            cost=replace(report.cost, billed_seconds=0.0, estimated_usd=0.0),
        )
        for report in reports
    )
