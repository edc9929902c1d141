"""Looking back: past runs, the reports of their nodes, their events, and whether their files are intact."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from rpd.api import tables
from rpd.api.call import absolute
from rpd.api.reports import Reports, Since, moment_of
from rpd.errors import RpdError, UsageError
from rpd.pipeline.command_line import Silent
from rpd.pipeline.past_runs import RunState, overview
from rpd.pipeline.setup import configure
from rpd.query.rows import Row, Scope, read_rows, row_of
from rpd.record import history, lookup
from rpd.record.run_events import in_order
from rpd.record.run_info import RunInfo
from rpd.record.verify import Checked, check
from rpd.runpod.address import EMULATOR
from rpd.values.frozen import EMPTY, frozen
from rpd.values.report import NodeReport, Outcome
from rpd.values.runfolder import is_run_folder

if TYPE_CHECKING:
    import pandas

_COLUMNS = ("run", "started", "state", "nodes", "passed", "failed", "error", "seconds", "usd", "backend")


@frozen
class Event:
    """One line of a journal: time (UTC), event (``released``), node (empty: the run itself) and details."""

    at: datetime
    event: str
    run: str
    node: str = ""
    detail: Mapping[str, Any] = EMPTY


class Run:
    """A past run, or one in progress. ``info`` is its complete run file."""

    def __init__(self, info: RunInfo) -> None:
        self.info = info
        self._overview = overview(info)

    @property
    def id(self) -> str:
        """The id: the name of its folder."""
        return self.info.id

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(self.info.folder)

    @property
    def state(self) -> RunState:
        """``finished``, ``running``, ``unfinished`` (``rpd resume`` continues it) or ``damaged``."""
        return self._overview.state

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many nodes ended how."""
        return self._overview.outcomes

    @property
    def usd(self) -> float:
        """The cost of its nodes (USD)."""
        return self._overview.usd

    @property
    def damage(self) -> str:
        """The problems of the folder; empty if it has none."""
        return self.info.damage

    @property
    def reports(self) -> Reports:
        """The reports of its nodes, in the order of the plan."""
        return _reports_of(self.info)

    def report(self, name: str) -> NodeReport:
        """Return the report of the node of that id, or of that name after ``::``. Raise LookupError."""
        return self.reports.report(name)

    def events(
        self, *, event: str = "", node: str = "", damaged: Callable[[RpdError], object] = lambda _e: None
    ) -> Iterator[Event]:
        """Yield events in the order of time, or only those of one name, of nodes with ``node`` in their ids.

        Lines that cannot be read are left out and handed to ``damaged``.
        """
        for each in in_order(self.folder, lambda damage: damaged(RpdError(str(damage)))):
            named = str(each.get("node", ""))
            if (event and each["event"] != event) or node not in named:
                continue
            detail = {key: value for key, value in each.items() if key not in ("at", "event", "node")}
            yield Event(
                at=_moment(each.get("at")), event=str(each["event"]), run=self.id, node=named, detail=detail
            )

    def verify(self) -> tuple[Checked, ...]:
        """Return every file that was pulled, checked now against its sha256 sum (``problem`` None: it is whole)."""
        return verify(self)

    def row(self) -> dict[str, Any]:
        """Return it as a flat dict."""
        info = self.info
        return {
            "run": info.id,
            "started": info.started,
            "finished": info.finished,
            "state": str(self.state),
            "nodes": info.nodes or sum(self.outcomes.values()),
            **{each.value: self.outcomes.get(each.value, 0) for each in Outcome},
            "not_run": self._overview.not_run,
            "seconds": info.seconds,
            "usd": self.usd,
            "worst_case_usd": info.worst_case_usd,
            "exit_code": info.exit_code,
            "backend": info.backend,
            "git_sha": info.git_sha,
            "folder": info.folder,
            "damage": info.damage,
        }

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self.state}, ${self.usd:.2f}>"

    def _repr_html_(self) -> str:
        return self.reports._repr_html_()


class Runs(Sequence[Run]):
    """Runs, newest first."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = tuple(runs)

    @overload
    def __getitem__(self, at: int) -> Run: ...
    @overload
    def __getitem__(self, at: slice) -> Runs: ...
    def __getitem__(self, at: int | slice) -> Run | Runs:
        return Runs(self._runs[at]) if isinstance(at, slice) else self._runs[at]

    def __len__(self) -> int:
        return len(self._runs)

    def run(self, name: str) -> Run:
        """Return the run whose id is, or alone begins with, ``name``. Raise UsageError."""
        info = lookup.run_named([run.info for run in self._runs], name)
        return next(run for run in self._runs if run.id == info.id)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each run."""
        return [run.row() for run in self._runs]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a DataFrame. Raise RpdError where pandas is not installed."""
        return tables.to_pandas(self.rows())

    def _foot(self) -> str:
        damaged = sum(bool(run.damage) for run in self._runs)
        text = f"{len(self)} run{'' if len(self) == 1 else 's'}, ${sum(run.usd for run in self._runs):.2f}"
        return f"{text}, {damaged} damaged" if damaged else text

    def __repr__(self) -> str:
        return f"<Runs: {self._foot()}>"

    def __str__(self) -> str:
        rows = self[: tables.MOST_ROWS].rows()
        return tables.text_table(tables.shown(_COLUMNS, rows), rows, self._foot())

    def __rich__(self) -> str:
        """For rich: the table, with no text read as markup."""
        return str(self).replace("[", "\\[")

    def _repr_html_(self) -> str:
        rows = self[: tables.MOST_ROWS].rows()
        return tables.html_table(tables.shown(_COLUMNS, rows), rows, self._foot())


def runs(
    path: str | PathLike[str] | None = None, *, local: bool | None = None, since: Since | None = None
) -> Runs:
    """Return the runs in ``path``, newest first: a folder of run folders, or a project; by default the current one.

    ``local``: only those on an emulator (True), or only those on RunPod (False). A damaged run is included,
    with its problem in ``damage``. Raise UsageError for a folder that is neither.
    """
    begin = moment_of(since)
    return Runs(
        [
            Run(info)
            for info in history.runs(_runs_path(path))
            if (local is None or info.backend.startswith(EMULATOR) is local)
            and (not begin or (info.started or history.stamp(info.id)) >= begin)
        ]
    )


def reports(
    path: str | PathLike[str] | None = None,
    *,
    run: str | Sequence[str] = (),
    where: str = "",
    job: str = "",
    outcome: Outcome | str | Collection[Outcome | str] = (),
    cause: str | Collection[str] = (),
    since: Since | None = None,
    **parameters: object,
) -> Reports:
    """Return the reports of the nodes of all runs in ``path``, those of the newest run first.

    ``path`` is a run folder, a folder of run folders or a project; by default the current project. ``run`` is
    the beginning of ids of runs, ``since`` leaves out runs that began earlier; the other arguments are those
    of ``Reports.where``. Unreadable reports are in ``damaged``. Raise UsageError for a run, parameter or
    folder that does not exist.
    """
    damaged: list[RpdError] = []
    named = (run,) if isinstance(run, str) and run else tuple(run)
    single = absolute(path) if path is not None else None
    if single is not None and _is_run(single) and (info := history.run_in(single)) is not None:
        chosen = _reports_of(info)
    else:
        runs_path = _runs_path(path)
        damaged += [
            RpdError(f"{info.folder}: {info.damage}") for info in history.runs(runs_path) if info.damage
        ]
        scope = Scope(runs_path=runs_path, runs=named, since=moment_of(since))
        rows: list[Row] = list(read_rows(scope, damaged=damaged.append))
        chosen = Reports(rows, damaged=damaged)
    return chosen.where(where, job=job, outcome=outcome, cause=cause, **parameters)


def verify(what: NodeReport | Reports | Run) -> tuple[Checked, ...]:
    """Check every pulled file against its sha256 sum now and return the results.

    ``problem`` is None for an intact file.
    """
    reports = [what] if isinstance(what, NodeReport) else what.reports if isinstance(what, Run) else what
    return tuple(checked for report in reports for checked in check(report))


def _reports_of(info: RunInfo) -> Reports:
    damaged: list[RpdError] = [RpdError(f"{info.folder}: {info.damage}")] if info.damage else []
    rows = []
    for folder, document in history.documents(Path(info.folder)):
        if isinstance(document, RpdError):
            damaged.append(document)
            continue
        try:
            rows.append(row_of(info.id, folder, document))
        except (KeyError, TypeError, ValueError, AttributeError):
            damaged.append(RpdError(f"{folder}: its manifest is malformed"))
    return Reports(sorted(rows, key=lambda row: (row["started"], row["node"])), damaged=damaged)


def _is_run(folder: Path) -> bool:
    try:
        return is_run_folder(folder.name, os.listdir(folder))  # noqa: PTH208 - names
    except OSError:
        return False


def _runs_path(path: str | PathLike[str] | None) -> Path:
    """Return the folder of run folders that ``path`` means. Raise UsageError."""
    folder = absolute(path)
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    if path is not None and any(_is_run(each) for each in folder.iterdir()):
        return folder
    config = configure(Silent(name="runs"), [], folder)[0]
    if path is None or config.runs_path.is_dir() or config.config_file is not None:
        return config.runs_path
    raise UsageError(f"{folder} is neither a run folder, nor a folder of run folders, nor a project of rpd")


def _moment(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
