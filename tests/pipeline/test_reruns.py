"""Which nodes ``--lf``, ``--ff``, ``--nf`` and ``--sw`` choose from what is remembered, and what they say."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rpd.config import Config
from rpd.config.config import SelectSettings
from rpd.errors import Cause
from rpd.pipeline.reruns import Reruns
from rpd.record.last_outcomes import Memory
from rpd.values.node import Node
from tests.heard import Heard
from tests.nodes import definition

ALL = ["a", "b", "c", "d"]


def node(name: str) -> Node:
    return Node(definition=definition(name, file=f"deploy_{name}.py"), id=name)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    """b failed by its code and c by RunPod's infrastructure, a passed, d never ran."""
    remembered = Memory(tmp_path)
    for name, cause in (("a", None), ("b", Cause.CODE), ("c", Cause.INFRA)):
        remembered.begun(name)
        remembered.ended(name, cause=cause, seconds=1.0)
    return remembered


def chosen(memory: Memory, root: Path, *names: str, **flags: Any) -> tuple[list[str], list[str]]:
    """Return the ids that are chosen of ``names``, in order, and the notices."""
    heard = Heard()
    config = SimpleNamespace(select=SelectSettings(**flags), rootdir=root)
    nodes = [node(name) for name in names or ALL]
    Reruns(cast("Config", config), memory, heard).rpd_select_nodes(nodes)
    return [each.id for each in nodes], heard.notices


@pytest.mark.parametrize(
    ("flags", "ids", "notice"),
    [
        ({}, ALL, ""),
        ({"last_failed": ("code", "infra")}, ["b", "c"], "rerun previous 2 failures"),
        ({"last_failed": ("infra",)}, ["c"], "rerun previous 1 failure"),
        (
            {"last_failed": ("oom",)},
            [],
            "no previously failed nodes of cause oom (2 of others), running nothing",
        ),
        ({"failed_first": True}, ["b", "c", "a", "d"], "rerun previous 2 failures first"),
        ({"last_failed": ("oom",), "last_failed_no_failures": "all"}, ALL, "not deselecting nodes"),
    ],
)
def test_what_failed(
    memory: Memory, tmp_path: Path, flags: dict[str, Any], ids: list[str], notice: str
) -> None:
    result, notices = chosen(memory, tmp_path, **flags)
    assert result == ids
    assert notice in "\n".join(notices)
    assert bool(notice) == bool(notices)


def test_a_failure_outside_of_the_selection_is_said(memory: Memory, tmp_path: Path) -> None:
    """Nothing runs then, rather than nodes that passed."""
    ids, notices = chosen(memory, tmp_path, "a", "d", last_failed=("code",))
    assert (ids, len(notices)) == ([], 1)
    assert "1 known failure not in selected nodes, running nothing" in notices[0]


def test_new_nodes_come_first_then_those_of_changed_files(memory: Memory, tmp_path: Path) -> None:
    """A file that is gone by now counts as the oldest."""
    for name, at in (("a", 10), ("b", 30)):
        (tmp_path / f"deploy_{name}.py").write_text("", encoding="utf-8")
        os.utime(tmp_path / f"deploy_{name}.py", (at, at))
    assert chosen(memory, tmp_path, new_first=True)[0] == ["d", "b", "a", "c"]


def test_stepwise_starts_at_the_node_that_failed(memory: Memory, tmp_path: Path) -> None:
    """It starts over where the choice of nodes is another one, or where that is asked for."""
    memory.begin_stepwise(len(ALL))
    for name, step in (("a", "behind"), ("b", "failed")):
        memory.begun(name, step=True)
        memory.ended(name, cause=Cause.CODE if step == "failed" else None, seconds=1.0, step=step)
    assert chosen(memory, tmp_path, stepwise=True)[0] == ["b", "c", "d"]
    for names, flags, why in (
        ("abc", {"stepwise": True}, "node count changed"),
        ("acde", {"stepwise": True}, "previously failed node not found"),
        ("abcd", {"stepwise_reset": True}, "resetting state"),
    ):
        ids, (notice,) = chosen(memory, tmp_path, *names, **flags)
        assert (ids, why in notice) == ([*names], True), notice
