"""Resuming a run whose files changed: what is left of it is what was asked for, at most at what was agreed to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from rpd.errors import UsageError
from rpd.journal import journal
from rpd.journal.driver_alive import identity
from rpd.journal.files import RunFiles
from rpd.journal.lock import RunLock
from rpd.journal.replay import Past
from rpd.pipeline.resume import Resumed, choose
from rpd.record import run_info
from rpd.record.run_info import RunInfo
from rpd.values.node import Node
from tests.nodes import definition

RUN = Resumed(
    info=RunInfo(id="20261128T120000Z-abc123", worst_case_usd=4.0),
    files=RunFiles(Path("nowhere"), "20261128T120000Z-abc123"),
    lock=cast("RunLock", None),
    past=Past(),
    reports=(),
    planned=frozenset({"deploy_x.py::fit[1]", "deploy_x.py::fit[2]", "deploy_x.py::sum"}),
)


def node(name: str, *needs: str) -> Node:
    job, _, case = name.partition("[")
    return Node(id=f"deploy_x.py::{name}", definition=definition(job), case=case.rstrip("]"), needs=needs)


FIRST, SECOND = node("fit[1]"), node("fit[2]")
SUM = node("sum", FIRST.id, SECOND.id)


def test_what_is_new_is_left_out() -> None:
    """A case that was added meanwhile is not of the run, nor is its order that of the files."""
    assert RUN.left_of([node("fit[0]"), FIRST, SECOND, SUM], are_all=True) == (FIRST, SECOND, SUM)


def test_a_node_that_is_gone_is_an_error() -> None:
    """Its results, and perhaps its pod, would be dropped without a word; where a file is broken, that is said."""
    with pytest.raises(
        UsageError, match=r"fit\[2\] and 1 more of its nodes can no longer be collected"
    ) as raised:
        RUN.left_of([FIRST], are_all=True)
    assert "20261128T120000Z-abc123 cannot be resumed" in str(raised.value)
    assert RUN.left_of([FIRST], are_all=False) == (FIRST,)


def test_a_node_that_needs_another_one_now_is_an_error() -> None:
    """It would be skipped, or summarise other cases than when the run began."""
    third = node("fit[3]")
    more = node("sum", FIRST.id, third.id)
    with pytest.raises(
        UsageError, match=r"deploy_x.py::sum needs deploy_x.py::fit\[3\] now, which is not in that run"
    ):
        RUN.left_of([FIRST, SECOND, third, more], are_all=True)


@pytest.mark.parametrize(
    ("rest", "why"), [("", "its journal lacks the list of its nodes"), ("{broken", "and with it the list")]
)
def test_a_run_without_the_list_of_its_nodes_is_an_error(tmp_path: Path, rest: str, why: str) -> None:
    """A journal that was cut at the end of a line looks whole: the run would end with nothing done, and be over."""
    folder = tmp_path / RUN.info.id
    folder.mkdir()
    run_info.write(folder / run_info.FILE_NAME, RunInfo(id=RUN.info.id, started="2026-11-28T12:00:00+00:00"))
    begun = {"at": "2026-11-28T12:00:00.000+00:00", "event": "run_started", **identity(), "nodes": 3}
    (folder / journal.FILE_NAME).write_text(f"{json.dumps(begun)}\n{rest}", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{RUN.info.id} cannot be resumed: .*{why}"):
        choose(tmp_path, "")
