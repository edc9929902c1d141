"""Finding a run, and a node of it, from a user's words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rpd.disk.regular import folders_in
from rpd.errors import RpdError, UsageError
from rpd.journal import journal
from rpd.journal.files import LATEST
from rpd.record import manifest
from rpd.record.run_info import RunInfo
from rpd.select import spellings
from rpd.values.frozen import frozen
from rpd.values.report import NodeReport

_MOST_CANDIDATES = 10


@frozen
class NodeEntry:
    """A node of a run: where its files are, and when it began (UTC, ISO 8601)."""

    id: str
    folder: Path
    began: str = ""

    @property
    def report(self) -> NodeReport | None:
        """Its report, read now; None if there is no readable one."""
        try:
            return self.read()
        except RpdError:
            return None

    def read(self) -> NodeReport | None:
        """Return its report; None if there is none yet. Raise UsageError for one that cannot be read."""
        path = self.folder / manifest.FILE_NAME
        if not os.path.lexists(path):
            return None
        try:
            return manifest.read(path)
        except RpdError as error:
            raise UsageError(
                f"{error}. The file is damaged; the node's other files are in {self.folder}"
            ) from error


def run_named(runs: Sequence[RunInfo], wanted: str = "") -> RunInfo:
    """Return the run whose id is, or alone begins with, ``wanted``; by default the first: the newest.

    Raise UsageError.
    """
    if not runs:
        raise UsageError(
            "there are no runs here yet: rpd run starts one, in the folder that --runs-dir names"
        )
    if not wanted or wanted == LATEST:
        return runs[0]
    chosen = choose([info.id for info in runs], wanted, "run")
    return next(info for info in runs if info.id == chosen)


def entries(run_folder: Path) -> list[NodeEntry]:
    """Return the nodes of a run in the order they began, whether they have ended or not."""
    # A node's journal tells who it is in its first line; its manifest, which may be long, is read where it is wanted.
    in_run = [
        entry
        for folder in folders_in(run_folder)
        if (entry := _begun(folder / journal.FILE_NAME) or _ended(folder / manifest.FILE_NAME))
    ]
    return sorted(in_run, key=lambda entry: (entry.began, entry.id))


def entry_in(folder: Path) -> NodeEntry:
    """Return the node in a folder. Raise UsageError if neither its journal nor its manifest says which it is."""
    entry = _begun(folder / journal.FILE_NAME)
    if entry is None:
        report = NodeEntry(id="", folder=folder).read()
        if report is None:
            raise UsageError(
                f"{folder}: not the folder of a node: its journal names no node, and there is no {manifest.FILE_NAME}"
            )
        return NodeEntry(id=report.node.id, folder=folder, began=report.result.started)
    return entry


def _begun(path: Path) -> NodeEntry | None:
    for event in journal.read(path):
        if event.get("node"):
            return NodeEntry(id=str(event["node"]), folder=path.parent, began=str(event.get("at", "")))
    return None


def _ended(path: Path) -> NodeEntry | None:
    if not path.exists():
        return None
    try:
        report = manifest.read(path)
    except RpdError:
        return None
    return NodeEntry(id=report.node.id, folder=path.parent, began=report.result.started)


def node_named(all_entries: Sequence[NodeEntry], wanted: str, what: str = "node") -> NodeEntry:
    """Return the node that ``wanted`` means: its id, the start of its id or name after ``::``, or a part of its id.

    Raise UsageError, with the candidates; ``what`` is the noun for the message.
    """
    by_id = {entry.id: entry for entry in all_entries}
    return by_id[choose(list(by_id), wanted, "node", none=what)]


def choose(ids: Sequence[str], wanted: str, what: str, *, none: str = "") -> str:
    """Return the id that ``wanted`` means. Raise UsageError that lists the candidates."""
    for meant in (meant for text in spellings(wanted) for meant in _meanings(ids, text)):
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise UsageError(f"{wanted!r} matches several {what}s; type more of it:{_listed(meant)}")
    raise UsageError(
        f"there is no {none or what} {wanted!r}; there are:{_listed(ids)}" if ids else f"there is no {what}"
    )


def _meanings(ids: Sequence[str], wanted: str) -> Iterable[list[str]]:
    """Yield the possible meanings of ``wanted``, the closest reading first."""
    yield [each for each in ids if each == wanted]
    yield [each for each in ids if _name(each) == wanted]
    yield [each for each in ids if each.startswith(wanted) or _name(each).startswith(wanted)]
    yield [each for each in ids if wanted in each]


def _name(node_id: str) -> str:
    return node_id.rpartition("::")[2]


def _listed(ids: Sequence[str]) -> str:
    lines = [f"\n  {each}" for each in ids[:_MOST_CANDIDATES]]
    more = len(ids) - len(lines)
    return "".join([*lines, f"\n  … and {more} more" if more else ""])
