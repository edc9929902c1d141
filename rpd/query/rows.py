"""Rows: every node of every run as one flat mapping of columns to plain values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rpd.disk.regular import read_regular
from rpd.errors import RpdError, UsageError
from rpd.journal import journal
from rpd.record import history, manifest, run_events
from rpd.record.manifest_index import Document
from rpd.record.run_events import EVENTS, in_order
from rpd.values.frozen import frozen
from rpd.values.suggestions import closest

Row = Mapping[str, Any]

COLUMNS: Mapping[str, str] = {
    "run": "id of the run: the name of its folder",
    "node": "id of the node: path/deploy_x.py::job[case]",
    "job": "name of the job function",
    "file": "the deploy file",
    "outcome": "passed, failed, error, skipped, xfailed, xpassed or pruned",
    "cause": "why it did not pass: code, timeout, oom, budget, stock, infra, lost, interrupted, local",
    "reason": "the same in a sentence",
    "attempts": "number of attempts",
    "started": "UTC, ISO 8601",
    "finished": "UTC, ISO 8601",
    "seconds": "duration of all phases",
    "usd": "cost of all attempts",
    "cap_usd": "cost at worst",
    "rate": "USD per hour of its pod",
    "gpu": "RunPod's id of the GPU type",
    "count": "GPUs of its pod",
    "datacenter": "RunPod's id of the data centre",
    "cloud": "secure or community",
    "image": "the container image",
    "digest": "digest of the image when the pod was rented",
    "spot": "whether the pod was a spot pod",
    "pod": "id of its pod",
    "pod_state": "deleted, stopped, running or unknown",
    "volume": "the network volume",
    "owner": "owner of the run: RPD_OWNER, else user@host",
    "author": "the author that git would write into a commit",
    "git_sha": "the commit",
    "branch": "the branch",
    "dirty": "whether the working tree had changes",
    "packages": "the list of the pod's packages: a file in the folder of the run",
    "files": "number of files pulled",
    "bytes": "size of the files pulled",
    "folder": "the folder with its files",
}
"""The columns that every row has, with what they hold. Those of a node's own come after them, see OWN."""
KINDS: Mapping[str, type] = {
    **dict.fromkeys(("attempts", "count", "files", "bytes"), int),
    **dict.fromkeys(("seconds", "usd", "cap_usd", "rate"), float),
    **dict.fromkeys(("spot", "dirty"), bool),
}
"""The types of those that are no text."""
OWN: Mapping[str, tuple[str, ...]] = {
    "param": ("node", "parameters"),
    "metric": ("metrics",),
    "var": ("variables",),
    "phase": ("result", "phases"),
}
"""Prefix of a column (``param.lr``) to where the values stand in a manifest."""


ALIASES: Mapping[str, str] = {"place": "datacenter", "dollars": "usd", "cost": "usd", "time": "seconds"}
"""Other names of columns, for what no parameter or metric is called."""
EXPRESSION = "rpd query"
"""Where a name stands in an expression, as errors say it."""
EVENT = "event"
"""Prefix of a column that counts how often an event is in the journal of the node: ``event.refused``."""
_EVENT_LINE = re.compile(rb'^\{"at":"[^"]*","event":"([a-z_]+)".*\}$', re.MULTILINE)
"""A whole line of a journal, as rpd writes it."""
_LARGEST_JOURNAL = 64 << 20
_TOTALLED = ("run", "outcome", "seconds", "usd")


Damaged = Callable[[RpdError], object]


@frozen
class Scope:
    """Which runs are asked about.

    ``runs`` names some by their ids or how these begin; ``since`` (UTC, ISO 8601) leaves out runs that began earlier.
    """

    runs_path: Path
    runs: tuple[str, ...] = ()
    since: str = ""

    def folders(self) -> list[Path]:
        """Return the folders of the runs, newest first. Raise UsageError for a run that does not exist."""
        folders = history.run_folders(self.runs_path)
        for name in self.runs:
            if not any(folder.name.startswith(name) for _, folder in folders):
                raise UsageError(f"there is no run {name!r} in {self.runs_path}")
        return [folder for began, folder in folders if began >= self.since and self._names(folder)]

    def _names(self, folder: Path) -> bool:
        return not self.runs or any(folder.name.startswith(name) for name in self.runs)


def read_rows(
    scope: Scope, *, events: bool = False, damaged: Damaged = lambda _error: None
) -> Iterator[dict[str, Any]]:
    """Yield the nodes of all runs, those of the newest first, one run in memory at a time.

    ``events`` counts the events of each node. Unreadable parts are left out and handed to ``damaged``. Raise
    UsageError for a run that does not exist.
    """
    for folder in scope.folders():
        yield from _rows_of(folder, events, damaged)


def read_events(
    scope: Scope, *, changed_since: str = "", damaged: Damaged = lambda _error: None
) -> Iterator[dict[str, Any]]:
    """Yield the events of all runs, the oldest run first and in order within each; each has its ``run``.

    Runs in which no file has changed since ``changed_since`` (UTC, ISO 8601) are passed over.
    """
    for folder in reversed(scope.folders()):
        if (
            changed_since
            and run_events.last_change(folder) < datetime.fromisoformat(changed_since).timestamp()
        ):
            continue
        for event in in_order(folder, lambda damage: damaged(RpdError(str(damage)))):
            yield {"run": folder.name, **event}


def _rows_of(folder: Path, events: bool, damaged: Damaged) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    for place, document in history.documents(folder):
        if isinstance(document, RpdError):
            damaged(document)
            continue
        try:
            row = row_of(folder.name, place, document)
        except (KeyError, TypeError, ValueError, AttributeError):
            path = Path(place, manifest.FILE_NAME)
            damaged(RpdError(f"{path}: malformed manifest; rpd show {folder.name} says more"))
            continue
        if events:
            row |= _event_counts(Path(place, journal.FILE_NAME))
        yield row


def _event_counts(path: Path) -> dict[str, int]:
    """Return how often each event is in a journal, as columns. Ten thousand are read: no line is decoded for it."""
    try:
        names = _EVENT_LINE.findall(read_regular(path, _LARGEST_JOURNAL))
    except OSError:
        return {}
    return {f"{EVENT}.{name.decode()}": number for name, number in Counter(names).items()}


def row_of(run: str, folder: str, document: Document) -> dict[str, Any]:
    """Return the row of one node. Raise KeyError and the like for a document that is no manifest."""
    node, result = document["node"], document["result"]
    pod, cost = document.get("pod", {}), document.get("cost", {})
    source, artifacts = document.get("source", {}), document.get("artifacts", [])
    row = {
        "run": run,
        "node": node["id"],
        "job": node["job"],
        "file": node["file"],
        "outcome": result["outcome"],
        "cause": result.get("cause", ""),
        "reason": result.get("reason", ""),
        "attempts": result.get("attempts", 1),
        "started": result.get("started", ""),
        "finished": result.get("finished", ""),
        "seconds": sum(result.get("phases", {}).values()),
        "usd": cost.get("estimated_usd", 0.0),
        "cap_usd": cost.get("cap_usd", 0.0),
        "rate": cost.get("rate_usd_per_hr", 0.0),
        "gpu": pod.get("gpu", ""),
        "count": pod.get("count", 0),
        "datacenter": pod.get("datacenter", ""),
        "cloud": pod.get("cloud", ""),
        "image": pod.get("image", ""),
        "digest": pod.get("digest", ""),
        "spot": pod.get("spot", False),
        "pod": pod.get("id", ""),
        "pod_state": pod.get("final_state", ""),
        "volume": pod.get("volume", ""),
        "owner": node.get("owner", ""),
        "author": source.get("author", ""),
        "git_sha": source.get("git_sha", ""),
        "branch": source.get("branch", ""),
        "dirty": source.get("dirty", False),
        "packages": document.get("environment", {}).get("packages", ""),
        "files": sum(each.get("files", 0) for each in artifacts),
        "bytes": sum(each.get("bytes", 0) for each in artifacts),
        "folder": folder,
    }
    for prefix, keys in OWN.items():
        section: Any = document
        for key in keys:
            section = section.get(key, {})
        row |= {f"{prefix}.{name}": value for name, value in section.items()}
    return row


def is_event(name: str) -> bool:
    """Return whether a name is that of a column that counts events."""
    return name.startswith(f"{EVENT}.")


def value_of(row: Row, name: str) -> Any:
    """Return the value of a column; None if the row has none, except that an event without one happened 0 times."""
    return row.get(name, 0 if is_event(name) else None)


class Rows:
    """The rows of a question, reduced to the columns that it names, so that many nodes take little memory.

    ``wanted`` are names as they were typed, or None for every column.
    """

    def __init__(self, rows: Iterable[Row], wanted: Collection[str] | None = None) -> None:
        self._own: dict[str, None] = {}
        self._wanted = (
            None if wanted is None else {*_TOTALLED, *wanted, *(ALIASES.get(name, name) for name in wanted)}
        )
        self._is_kept: dict[str, bool] = {}
        self.rows: list[Row] = [self._lean(row) for row in rows]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a row has: the usual ones, then parameters, metrics, variables, phases, events."""
        order = (*OWN, EVENT)
        return (*COLUMNS, *sorted(self._own, key=lambda name: order.index(name.partition(".")[0])))

    def _lean(self, row: Row) -> Row:
        kept = {}
        for name, value in row.items():
            keep = self._is_kept.get(name)
            if keep is None:
                keep = self._is_kept[name] = self._see(name)
            if keep:
                kept[name] = value
        return kept

    def _see(self, name: str) -> bool:
        if name not in COLUMNS:
            self._own[name] = None
        return self._wanted is None or name in self._wanted or name.partition(".")[2] in self._wanted


def resolve(name: str, columns: Sequence[str], where: str) -> str:
    """Return the column that ``name`` means: its own name, or that of a parameter, metric, variable or phase.

    Raise UsageError, which begins with ``where``, for a name that no row has.
    """
    if name in columns:
        return name
    for prefix in OWN:
        if f"{prefix}.{name}" in columns:
            return f"{prefix}.{name}"
    if name in ALIASES:
        return ALIASES[name]
    prefix, _, event = name.partition(".")
    if prefix == EVENT and event in EVENTS:
        return name
    short = {each.partition(".")[2]: each for each in columns if "." in each}
    close = closest(name, [*columns, *short, *ALIASES, *(f"{EVENT}.{each}" for each in EVENTS)])
    meant = f"; did you mean {close}?" if close else ""
    quotes = "text goes in quotes: 'outcome == \"failed\"'; " if where == EXPRESSION else ""
    raise UsageError(
        f"{where}: no node has a column {name!r}{meant} ({quotes}`rpd query --columns` lists them)"
    )
