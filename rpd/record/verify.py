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
    for tree, name, digest in _files(report):
        problem = digest if isinstance(digest, Problem) else _problem(tree, name, digest)
        yield Checked(node_id=report.node.id, path=tree.path(name), problem=problem)


def first_gone(report: NodeReport) -> Path | None:
    """Return the first file of a node's artifacts that is not there any more; None if all are. Read none of them."""
    for tree, name, digest in _files(report):
        if isinstance(digest, Problem) or not _is_there(tree, name):
            return tree.path(name)
    return None


def _files(report: NodeReport) -> Iterator[tuple[Tree, str, str | Problem]]:
    """Yield the folder of a node and the name of each of its files, with its sum; a list with its problem."""
    lists = dict.fromkeys(artifact.sha256_file for artifact in report.artifacts if artifact.sha256_file)
    if not lists:
        return
    with closing(Tree(Path(report.folder))) as tree:
        for name in lists:
            try:
                with tree.read(name) as file:
                    sums = listed_sums(file.read(MOST_LIST_BYTES))
            except OSError as error:
                yield tree, name, Problem.OUTSIDE if isinstance(error, LeadsOut) else Problem.NO_LIST
                continue
            # ``results.sha256`` is next to ``results`` and lists files below it.
            below = name.removesuffix(".sha256")
            for each, digest in sums.items():
                yield tree, f"{below}/{each}", digest


def _is_there(tree: Tree, name: str) -> bool:
    try:
        return tree.status(name) is not None
    except OSError:
        return False


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
