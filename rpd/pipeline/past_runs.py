"""Past runs, and running ones, as commands refer to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from rpd.errors import RpdError, UsageError
from rpd.journal import journal
from rpd.journal.driver_alive import is_driven
from rpd.journal.files import LATEST
from rpd.record import history, lookup, manifest, run_info
from rpd.record.lookup import NodeEntry
from rpd.record.run_info import RunInfo
from rpd.values.frozen import frozen
from rpd.values.report import NodeReport, Outcome, RunSummary


class RunState(StrEnum):
    """Whether a run is over."""

    FINISHED = "finished"
    RUNNING = "running"
    UNFINISHED = "unfinished"
    """Its process is gone without an end: ``rpd resume`` carries it on."""
    DAMAGED = "damaged"


@frozen
class PastRun:
    """A run as its folder tells it now, with its reports."""

    info: RunInfo
    state: RunState
    reports: tuple[NodeReport, ...]
    damaged: tuple[RpdError, ...] = ()
    """What is wrong with manifests that cannot be read, and are left out."""

    @property
    def summary(self) -> RunSummary:
        """The run as its own end reported it, or as far as it has come."""
        info = self.info
        is_over = self.state in (RunState.FINISHED, RunState.DAMAGED)
        return RunSummary(
            folder=info.folder,
            reports=self.reports,
            seconds=info.seconds if is_over else self._seconds_so_far(),
            is_over=is_over,
            deselected=info.deselected,
            not_run=info.not_run if info.finished else max(0, info.nodes - len(self.reports)),
            stop_reason=info.stop_reason,
            unreleased=info.unreleased,
            leftover=info.leftover,
        )

    def _seconds_so_far(self) -> float:
        """Return for how long it has gone on, or did until the last node that is over."""
        ended = max((report.result.finished for report in self.reports), default="")
        until = datetime.now(UTC).isoformat() if self.state is RunState.RUNNING else ended
        try:
            return max(0.0, (_moment(until) - _moment(self.info.started)).total_seconds())
        except ValueError:
            return 0.0


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@frozen
class Overview:
    """A run in one line: its state, its nodes by outcome, its cost (USD), and how many nodes were not run (yet)."""

    info: RunInfo
    state: RunState
    outcomes: Mapping[str, int]
    usd: float
    not_run: int
    cached: int = 0

    @property
    def words(self) -> Mapping[str, int]:
        """The nodes by outcome as people read it: cached ones are not among the skipped ones."""
        counts = Counter(self.outcomes)
        counts.subtract({Outcome.SKIPPED.value: self.cached})
        return {word: number for word, number in {**counts, "cached": self.cached}.items() if number > 0}


def overview(info: RunInfo) -> Overview:
    """Return a run in a line; the manifests of one that is over need not be read for it."""
    state = state_of(info)
    if state is RunState.FINISHED:
        return Overview(
            info=info,
            state=state,
            outcomes=info.outcomes,
            usd=info.usd,
            not_run=info.not_run,
            cached=info.cached,
        )
    summary = past_run(info).summary
    counts = {each.value: number for each in Outcome if (number := summary.count(each))}
    return Overview(
        info=info,
        state=state,
        outcomes=counts,
        usd=summary.estimated_usd,
        not_run=summary.not_run,
        cached=summary.cached,
    )


def state_of(info: RunInfo) -> RunState:
    """Return whether a run is over, by its run file and the process it names."""
    if info.damage:
        return RunState.DAMAGED
    if info.finished:
        return RunState.FINISHED
    return RunState.RUNNING if is_driven(Path(info.folder)) else RunState.UNFINISHED


def past_run(info: RunInfo) -> PastRun:
    """Return a run with its reports."""
    damaged: list[RpdError] = []
    reports = tuple(history.reports(Path(info.folder), damaged=damaged.append))
    return PastRun(info=info, state=state_of(info), reports=reports, damaged=tuple(damaged))


def run_named(here: Path, runs_path: Path, wanted: str = "") -> RunInfo:
    """Return the run ``wanted`` means, by default the newest: an id or a path from ``here``. Raise UsageError."""
    info = by_path(here, wanted)
    if info is not None:
        return info[0]
    return lookup.run_named(history.runs(runs_path), wanted)


def run_and_node(here: Path, runs_path: Path, args: Sequence[str]) -> tuple[RunInfo, NodeEntry | None]:
    """Return the run and node meant by ``[RUN] [NODE]``; a single word is a run if one has that id, else a node.

    A single node belongs to the newest run. Raise UsageError.
    """
    if len(args) > 2:
        raise UsageError(f"expected at most a run and a node, got {len(args)} arguments")
    named = by_path(here, args[0]) if args else None
    if named is not None and (named[1] is not None or len(args) == 1):
        return named
    if named is not None:
        return named[0], lookup.node_named(lookup.entries(Path(named[0].folder)), args[1])
    runs = history.runs(runs_path)
    if len(args) == 1 and args[0] != LATEST and not any(info.id.startswith(args[0]) for info in runs):
        info, node_name = lookup.run_named(runs), args[0]
    else:
        info, node_name = lookup.run_named(runs, args[0] if args else ""), args[1] if len(args) > 1 else ""
    if not node_name:
        return info, None
    what = "node" if len(args) > 1 else f"run or node of run {info.id} that matches"
    try:
        return info, lookup.node_named(lookup.entries(Path(info.folder)), node_name, what)
    except UsageError as error:
        if len(args) > 1 or len(runs) == 1:
            raise
        raise UsageError(
            f"{error}\nFor a node of another run, name both: RUN NODE (`rpd runs` lists the runs)"
        ) from None


def by_path(here: Path, text: str) -> tuple[RunInfo, NodeEntry | None] | None:
    """Return the run or node whose folder, run file or manifest is at the path ``text``.

    None if it is no such path, and may be a name. Raise UsageError if it can only be a path.
    """
    if not text:
        return None
    path = here / Path(text).expanduser()
    is_file = path.name in (run_info.FILE_NAME, manifest.FILE_NAME)
    folder = path.parent if is_file else path
    if is_file and not path.is_file():
        raise UsageError(f"{path}: no such file")
    if (folder / run_info.FILE_NAME).is_file():
        info = history.run_in(folder)
        return (info, None) if info else None
    if any((folder / name).is_file() for name in (manifest.FILE_NAME, journal.FILE_NAME)):
        entry = lookup.entry_in(folder)
        return _run_above(folder), entry
    if text.startswith((".", "/", "~")) and path.exists():
        raise UsageError(
            f"{path}: neither a run nor a node: it has neither {run_info.FILE_NAME} nor {manifest.FILE_NAME}"
        )
    return None


def _run_above(folder: Path) -> RunInfo:
    """Return the run of a node's folder; without a run file only the folder's name is known."""
    return history.run_in(folder.parent) or RunInfo(id=folder.parent.name, folder=str(folder.parent))


def run_with_node(here: Path, runs_path: Path, text: str) -> tuple[RunInfo, NodeEntry | None]:
    """Return the run and node meant by ``RUN``, ``RUN:NODE``, ``:NODE`` (of the newest run) or a path.

    Raise UsageError.
    """
    at_path = by_path(here, text)
    if at_path is not None:
        return at_path
    run_name, _, node = text.partition(":")
    info = run_named(here, runs_path, run_name)
    return info, lookup.node_named(lookup.entries(Path(info.folder)), node) if node else None
