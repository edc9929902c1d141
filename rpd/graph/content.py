"""Hashes of the results of a node: part of the fingerprint of the nodes that use them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from rpd.disk.safe_tree import Tree
from rpd.remote.transfer.checksums import MOST_LIST_BYTES, listed_sums
from rpd.values.report import NodeReport

FILES, METRICS = "files", "metrics"
_PREFIX = "needs "


def part(node_id: str, what: str) -> str:
    """Return the part of a fingerprint for the files or the metrics of a node."""
    return f"{_PREFIX}{what} {node_id}"


def parts_in(fingerprint: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the parts of a fingerprint that name results of other nodes: the part, the node, and its kind."""
    for each in fingerprint:
        if each.startswith(_PREFIX):
            what, _, node_id = each.removeprefix(_PREFIX).partition(" ")
            yield each, node_id, what


def digest(report: NodeReport, what: str) -> str:
    """Return the hash of a node's files or metrics; empty if its files cannot be read."""
    return (
        files_digest(report)
        if what == FILES
        else _hash(sorted(f"{k}={v!r}" for k, v in report.metrics.items()))
    )


def files_digest(report: NodeReport) -> str:
    """Return a hash of the names and sums of all files of a node; empty if a list of sums is missing."""
    try:
        sums = sums_of(report)
    except OSError:
        return ""
    return _hash(f"{name}={sums[name]}" for name in sorted(sums))


def sums_of(report: NodeReport) -> Mapping[str, str]:
    """Return the sha256 of every file that was pulled, by its path in the folder of the node. Raise OSError."""
    lists = dict.fromkeys(artifact.sha256_file for artifact in report.artifacts if artifact.sha256_file)
    every: dict[str, str] = {}
    if not lists:
        return every
    with closing(Tree(Path(report.folder))) as tree:
        for name in lists:
            with tree.read(name) as file:
                sums = listed_sums(file.read(MOST_LIST_BYTES))
            below = name.removesuffix(".sha256")
            every.update((f"{below}/{each}", sum_) for each, sum_ in sums.items())
    return every


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]
