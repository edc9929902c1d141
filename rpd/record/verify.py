"""Checking the files of past nodes against the sha256 sums that were made on their pods."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path

from rpd.disk.safe_tree import LeadsOut, Tree
from rpd.remote.transfer.checksums import MOST_LIST_BYTES, listed_sums
from rpd.values.frozen import frozen
from rpd.values.report import NodeReport


class Problem(StrEnum):
    """The problem with a file."""

    MISSING = "missing"
    DIFFERS = "differs"
    UNREADABLE = "cannot be read"
    NO_LIST = "its list of sums is missing"
    OUTSIDE = "outside the run folder, or reached through a link: not read"


@frozen
class Checked:
    """One pulled file: its node, its place, and its problem (None: nothing)."""

    node_id: str
    path: Path
    problem: Problem | None = None


def check(report: NodeReport) -> Iterator[Checked]:
    """Yield every file of every artifact of a node, checked now. A missing list counts as one file.

    The folder may come from anywhere: nothing outside it is read, and no link is followed.
    """
    lists = dict.fromkeys(artifact.sha256_file for artifact in report.artifacts if artifact.sha256_file)
    if not lists:
        return
    with closing(Tree(Path(report.folder))) as tree:
        for name in lists:
            try:
                with tree.read(name) as file:
                    sums = listed_sums(file.read(MOST_LIST_BYTES))
            except OSError as error:
                problem = Problem.OUTSIDE if isinstance(error, LeadsOut) else Problem.NO_LIST
                yield Checked(node_id=report.node.id, path=tree.path(name), problem=problem)
                continue
            # ``results.sha256`` is next to ``results`` and lists files below it.
            below = name.removesuffix(".sha256")
            for each, digest in sums.items():
                file_name = f"{below}/{each}"
                yield Checked(
                    node_id=report.node.id,
                    path=tree.path(file_name),
                    problem=_problem(tree, file_name, digest),
                )


def _problem(tree: Tree, name: str, digest: str) -> Problem | None:
    try:
        with tree.read(name) as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except LeadsOut:
        return Problem.OUTSIDE
    except (FileNotFoundError, NotADirectoryError):
        return Problem.MISSING
    except OSError:
        return Problem.UNREADABLE
    return None if actual == digest else Problem.DIFFERS
