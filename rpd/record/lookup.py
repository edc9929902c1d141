"""Finding a run, and a node of it, by what a person typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rpd.errors import RpdError, UsageError
from rpd.execute import journal
from rpd.record import history, manifest
from rpd.record.run import RunInfo
from rpd.values.report import NodeReport

_MOST_CANDIDATES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """A node of a run: where its files are, and its report once there is one."""

    id: str
    folder: Path
    report: NodeReport | None = None


def run_named(found: Sequence[RunInfo], wanted: str = "") -> RunInfo:
    """Return the run whose id is, or alone begins with, ``wanted``; by default the first: the newest.

    Raises UsageError.
    """
    if not found:
        raise UsageError("there are no runs here yet: rpd run makes one, in the folder --runs-dir names")
    if not wanted:
        return found[0]
    chosen = choose([info.id for info in found], wanted, "run")
    return next(info for info in found if info.id == chosen)


def entries(run_folder: Path) -> list[NodeEntry]:
    """Return the nodes of a run in the order they began; those that have not ended are without a report."""
    known = {Path(report.folder): report for report in history.reports(run_folder)}
    found = [NodeEntry(id=report.node.id, folder=folder, report=report) for folder, report in known.items()]
    begun = sorted(run_folder.glob(f"*/{journal.FILE_NAME}"), key=lambda path: (_began(path), path))
    under_way = ((path.parent, _node_id(path)) for path in begun if path.parent not in known)
    return [*found, *(NodeEntry(id=node_id, folder=folder) for folder, node_id in under_way if node_id)]


def node_named(found: Sequence[NodeEntry], wanted: str) -> NodeEntry:
    """Return the node ``wanted`` means: its id, how its id or its name after ``::`` begins, or a part of its id.

    Raises UsageError, with the nodes it may be.
    """
    by_id = {entry.id: entry for entry in found}
    return by_id[choose(list(by_id), wanted, "node")]


def choose(ids: Sequence[str], wanted: str, what: str) -> str:
    """Return the id that ``wanted`` means. Raises UsageError that lists the candidates."""
    for meant in _meanings(ids, wanted):
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise UsageError(f"{wanted!r} may be any of these {what}s; say more of it:{_listed(meant)}")
    raise UsageError(
        f"there is no {what} {wanted!r}; there are:{_listed(ids)}" if ids else f"there is no {what}"
    )


def _meanings(ids: Sequence[str], wanted: str) -> Iterable[list[str]]:
    """Yield what ``wanted`` may mean, the closest reading first."""
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


def read_manifest(folder: Path) -> NodeReport | None:
    """Return the report in a node's folder, None where there is none to read."""
    try:
        return manifest.read(folder / manifest.FILE_NAME)
    except RpdError:
        return None


def _began(path: Path) -> str:
    return next((str(event.get("at", "")) for event in journal.read(path)), "")


def _node_id(path: Path) -> str:
    return next((str(event["node"]) for event in journal.read(path) if event.get("node")), "")
