"""Rows: every node of every run as one flat mapping of columns to plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.errors import RpdError, UsageError
from rpd.record import history, manifest
from rpd.record.manifest_index import Document
from rpd.values.suggestions import closest

Row = Mapping[str, Any]

COLUMNS: Mapping[str, str] = {
    "run": "id of the run: the name of its folder",
    "node": "id of the node: path/deploy_x.py::job[case]",
    "job": "name of the job function",
    "file": "the deploy file",
    "outcome": "passed, failed, error, skipped, xfailed or xpassed",
    "cause": "why it did not pass: code, timeout, oom, budget, stock, infra, lost, interrupted, local",
    "reason": "the same in a sentence",
    "attempts": "how often it was tried",
    "started": "UTC, ISO 8601",
    "finished": "UTC, ISO 8601",
    "seconds": "all phases together",
    "usd": "what it cost, all attempts",
    "cap_usd": "what it could have cost",
    "rate": "USD an hour of its pod",
    "gpu": "RunPod's id of the GPU type",
    "count": "GPUs of its pod",
    "datacenter": "RunPod's id of the data centre",
    "cloud": "secure or community",
    "image": "the container image",
    "spot": "whether the pod was a spot pod",
    "pod": "id of its pod",
    "pod_state": "deleted, stopped, running or unknown",
    "git_sha": "the commit",
    "dirty": "whether the working tree had changes",
    "files": "number of files pulled",
    "bytes": "size of the files pulled",
    "folder": "where its files are",
}
"""The columns that every row has, with what they hold. Those of a node's own come after them, see OWN."""
OWN: Mapping[str, tuple[str, ...]] = {
    "param": ("node", "parameters"),
    "metric": ("metrics",),
    "var": ("variables",),
    "phase": ("result", "phases"),
}
"""Prefix of a column (``param.lr``) to where the values stand in a manifest."""


def read_rows(
    runs_path: Path,
    *,
    runs: Sequence[str] = (),
    since: str = "",
    damaged: Callable[[RpdError], object] = lambda _error: None,
) -> Iterator[dict[str, Any]]:
    """Yield the nodes of all runs, those of the newest first.

    ``runs`` names some by their ids or how these begin; ``since`` (UTC, ISO 8601) leaves out runs that began earlier.
    What cannot be read is left out and handed to ``damaged``. Raises UsageError for a run that does not exist.
    """
    found = history.runs(runs_path)
    wanted = [info for info in found if not runs or any(info.id.startswith(name) for name in runs)]
    for name in runs:
        if not any(info.id.startswith(name) for info in found):
            raise UsageError(f"there is no run {name!r} in {runs_path}")
    chosen = [info for info in wanted if not since or (info.started or history.stamp(info.id)) >= since]
    for info in chosen:
        for folder, document in history.documents(Path(info.folder)):
            if isinstance(document, RpdError):
                damaged(document)
                continue
            try:
                yield _row(info.id, folder, document)
            except (KeyError, TypeError, ValueError, AttributeError):
                path = Path(folder, manifest.FILE_NAME)
                damaged(RpdError(f"{path}: not as a manifest should be; rpd show {info.id} says more"))


def _row(run: str, folder: str, document: Document) -> dict[str, Any]:
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
        "spot": pod.get("spot", False),
        "pod": pod.get("id", ""),
        "pod_state": pod.get("final_state", ""),
        "git_sha": source.get("git_sha", ""),
        "dirty": source.get("dirty", False),
        "files": sum(each.get("files", 0) for each in artifacts),
        "bytes": sum(each.get("bytes", 0) for each in artifacts),
        "folder": folder,
    }
    for prefix, keys in OWN.items():
        held: Any = document
        for key in keys:
            held = held.get(key, {})
        row |= {f"{prefix}.{name}": value for name, value in held.items()}
    return row


def column_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return every column of the rows: the usual ones, then parameters, metrics, variables, phases."""
    own = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    order = list(OWN)
    return (*COLUMNS, *sorted(own, key=lambda name: order.index(name.partition(".")[0])))


def resolve(name: str, columns: Sequence[str], where: str) -> str:
    """Return the column that ``name`` means: its own name, or that of a parameter, metric, variable or phase.

    Raises UsageError, which begins with ``where``, for a name that no row has.
    """
    if name in columns:
        return name
    for prefix in OWN:
        if f"{prefix}.{name}" in columns:
            return f"{prefix}.{name}"
    short = {each.partition(".")[2]: each for each in columns if "." in each}
    close = closest(name, [*columns, *short])
    meant = f"; did you mean {close}?" if close else ""
    raise UsageError(
        f"{where}: no node has a column {name!r}{meant} (text goes in quotes: 'outcome == \"failed\"'; "
        "`rpd query --columns` lists them)"
    )
