"""Checking the files of past nodes against the sha256 sums that were made on their pods."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rpd.remote.transfer.sums import read_sums
from rpd.values.report import NodeReport


class Problem(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    DIFFERS = "differs"
    UNREADABLE = "cannot be read"
    NO_LIST = "its list of sums is missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One file that a pull brought: the node it belongs to, where it lies, what is wrong with it (None: nothing)."""

    node_id: str
    path: Path
    problem: Problem | None = None


def check(report: NodeReport) -> Iterator[Checked]:
    """Yield every file of every artifact of a node, checked now. What a list is missing for counts as one file."""
    folder = Path(report.folder)
    for name in dict.fromkeys(artifact.sha256_file for artifact in report.artifacts if artifact.sha256_file):
        sums_path = folder / name
        try:
            sums = read_sums(sums_path)
        except OSError:
            yield Checked(node_id=report.node.id, path=sums_path, problem=Problem.NO_LIST)
            continue
        # ``results.sha256`` lies beside ``results`` and names files below it.
        below = sums_path.with_suffix("")
        for file, digest in sums.items():
            yield Checked(node_id=report.node.id, path=below / file, problem=_problem(below / file, digest))


def _problem(path: Path, digest: str) -> Problem | None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return Problem.MISSING
    except OSError:
        return Problem.UNREADABLE
    return None if found == digest else Problem.DIFFERS
