"""Resuming: choosing an earlier run, and finding the work that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.errors import Cause, RpdError, UsageError
from rpd.journal import journal, replay
from rpd.journal.driver_alive import is_running
from rpd.journal.files import RunFiles
from rpd.journal.journal import Damage
from rpd.journal.lock import RunLock
from rpd.journal.replay import Past
from rpd.lease.registries import stored_by
from rpd.record import history, manifest
from rpd.record.run_info import RunInfo
from rpd.values.frozen import EMPTY, frozen
from rpd.values.node import Node
from rpd.values.report import NodeReport


@frozen
class Taken:
    """The results of earlier runs that nodes of a run use.

    ``reports`` are like those of nodes that need not run; ``stands`` lists the ids of those that replace a
    node without a report; ``gone`` says why a node's results are no longer available.
    """

    reports: tuple[NodeReport, ...] = ()
    stands: Mapping[str, Sequence[str]] = EMPTY
    gone: Mapping[str, str] = EMPTY


NOTHING_TAKEN = Taken()


@frozen
class Resumed:
    """An earlier run: its files, its past from the journals, and the reports of its finished nodes.

    ``lock`` keeps other processes from driving the run; the resumed run releases it at the end.
    """

    info: RunInfo
    files: RunFiles
    lock: RunLock
    past: Past
    reports: tuple[NodeReport, ...]
    planned: frozenset[str]
    """The ids of its nodes, and of those that are replaced by added ones."""
    order: tuple[str, ...] = ()
    """The ids of its nodes in the order of its plan, then of the added ones."""
    added: tuple[Mapping[str, Any], ...] = ()
    """What its journal tells of the nodes that were added."""
    taken: Taken = NOTHING_TAKEN

    @property
    def has_rented(self) -> bool:
        """Whether something may be left at RunPod: pods, or credentials; damage in the journals may hide some."""
        return bool(self.past.leases or self.past.damage or stored_by(self.files.journal))

    @property
    def damage(self) -> tuple[str, ...]:
        """The unreadable parts of its journals, one sentence each."""
        return tuple(map(str, self.past.damage))

    def left_of(self, nodes: Sequence[Node], *, are_all: bool) -> tuple[Node, ...]:
        """Return the nodes that were planned and are not over. ``are_all``: no file failed to be collected.

        Raise UsageError if one of them is then not among ``nodes``, or needs a node that was not planned: it would
        end without a word, or with other results than were asked for.
        """
        left = self.planned - {report.node.id for report in self.reports}
        kept = tuple(node for node in nodes if node.id in left)
        collected = {node.id for node in nodes}
        gone = sorted(left - collected)
        if gone and are_all:
            more = f" and {len(gone) - 1} more of its nodes" if len(gone) > 1 else ""
            raise self._changed(f"{gone[0]}{more} can no longer be collected")
        taken = self.taken
        known = {*self.planned, *(each.node.id for each in taken.reports), *taken.stands, *taken.gone}
        for node in kept:
            new = next((need for need in node.needs if need in collected and need not in known), None)
            if new is not None:
                raise self._changed(f"{node.id} needs {new} now, which is not in that run")
        return kept

    def _changed(self, what: str) -> UsageError:
        return UsageError(
            f"run {self.info.id} cannot be resumed: {what}. Undo the change to the deploy files, or start a new run "
            "(`rpd gc` shows the pods of this one)"
        )


def choose(runs_path: Path, wanted: str) -> Resumed:
    """Return the run whose id is or starts with ``wanted``, by default the last unfinished one.

    Raise UsageError if there is none, if it cannot be resumed, or if another process drives it.
    """
    runs = history.runs(runs_path)
    if wanted:
        named = [info for info in runs if info.id == wanted] or [i for i in runs if i.id.startswith(wanted)]
        if len(named) != 1:
            raise UsageError(f"{'no' if not named else 'more than one'} run {wanted!r} in {runs_path}")
        info = named[0]
    else:
        unfinished = [info for info in runs if not info.finished]
        if not unfinished:
            next_step = (
                "`rpd run --lf` reruns the nodes that did not pass" if runs else "`rpd run` starts one"
            )
            raise UsageError(
                f"no run in {runs_path} is unfinished, so there is nothing to resume: {next_step}"
            )
        info = unfinished[0]
    folder = Path(info.folder)
    files = RunFiles(folder, info.id)
    if info.damage or not files.journal.is_file():
        raise UsageError(f"run {info.id} cannot be resumed: {info.damage or 'it has no journal'}")
    try:
        lock = RunLock.take(folder)
    except OSError as error:
        raise UsageError(f"run {info.id} cannot be resumed: {folder}: {error.strerror}") from error
    try:
        return _read(info, files, lock)
    except BaseException:
        lock.release()
        raise


def _read(info: RunInfo, files: RunFiles, lock: RunLock) -> Resumed:
    """Return the present state of the run, which no other process can change any more. Raise UsageError."""
    driver = _living_driver(files.journal)
    if driver is not None:
        raise UsageError(
            f"run {info.id} is still running (pid {driver.get('pid')} on {driver.get('host')}). Wait until that "
            "process ends, or kill it, then resume the run"
        )
    every = history.reports(files.folder)
    planned, added, order = _planned(info, files.journal)
    return Resumed(
        info=info,
        files=files,
        lock=lock,
        past=replay.read(files),
        reports=tuple(report for report in every if report.result.cause is not Cause.INTERRUPTED),
        planned=planned,
        order=order,
        added=added,
        taken=_taken(files.journal),
    )


def _planned(
    info: RunInfo, path: Path
) -> tuple[frozenset[str], tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """Return the ids of the run's planned nodes, the records of added ones, and the ids of both in their order.

    Raise UsageError if its journal no longer has them.
    """
    damage: list[Damage] = []
    events = list(journal.read(path, damage.append))
    planned = [event for event in events if event["event"] == journal.PLANNED]
    if not planned:
        what = f"{damage[0]}, and with it" if damage else "its journal lacks"
        raise UsageError(
            f"run {info.id} cannot be resumed: {what} the list of its nodes. For its pods: rpd ps; for the nodes "
            "left to run: rpd run --lf"
        )
    added = {event["id"]: event for event in events if event["event"] == journal.ADDED}
    ids = {node_id for event in planned for node_id in (*event["ids"], *event.get(journal.STAND_INS, ()))}
    return frozenset(ids), tuple(added.values()), tuple(journal.planned_ids(events))


def _taken(path: Path) -> Taken:
    """Return the results of earlier runs that nodes of the run use."""
    planned = next((event for event in journal.read(path) if event["event"] == journal.PLANNED), {})
    folders = planned.get(journal.TAKEN, {})
    if not folders:
        return NOTHING_TAKEN
    from rpd.graph.earlier_results import taken  # few runs use any

    reports, gone = [], {}
    for node_id, folder in folders.items():
        try:
            reports.append(manifest.read(Path(folder) / manifest.FILE_NAME))
        except RpdError as error:
            gone[node_id] = f"is no longer in the run it was taken from: {error}"
    return Taken(reports=taken(reports), stands=planned.get(journal.STANDS, EMPTY), gone=gone)


def _living_driver(path: Path) -> Mapping[str, Any] | None:
    """Return the identity of the last driver if it may still run: on another machine no lock shows that."""
    started = [event for event in journal.read(path) if event["event"] == "run_started"]
    return started[-1] if started and is_running(started[-1]) else None
