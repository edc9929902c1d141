"""The fate of a node, by its fingerprints here, in another tree and at its last pass; and the comment about it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.plan_diff import markdown
from rpd.plan_diff.compare import Passed, Status, compare

A, B = {"job": "1", "sent": "x"}, {"job": "1", "sent": "y"}


def differences(now: dict[str, str], then: dict[str, str]) -> list[str]:
    return [f"{part} changed" for part in now if now[part] != then.get(part)]


@pytest.mark.parametrize(
    ("there", "passed", "status", "reason"),
    [
        pytest.param({}, None, Status.NEW, "not on main", id="new"),
        pytest.param({"n": B}, None, Status.CHANGED, "sent changed", id="changed"),
        pytest.param({"n": {**A, "more": "z"}}, None, Status.CHANGED, "more changed", id="no-longer-depends-on"),
        pytest.param({"n": A}, None, Status.CACHED, "as on main", id="as-there"),
        pytest.param({"n": B}, A, Status.CACHED, "passed at then", id="passed-since"),
        pytest.param({"n": A}, B, Status.CACHED, "as on main", id="passed-with-another"),
        pytest.param(None, None, Status.NEW, "it never passed here", id="alone-new"),
        pytest.param(None, B, Status.CHANGED, "sent changed", id="alone-changed"),
        pytest.param(None, {}, Status.CHANGED, "its inputs when it passed are not on record", id="not-on-record"),
        pytest.param(None, A, Status.CACHED, "passed at then", id="alone-cached"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_node(
    there: dict[str, dict[str, str]] | None, passed: dict[str, str] | None, status: Status, reason: str
) -> None:
    before = {} if passed is None else {"n": Passed(fingerprint=passed, finished="then")}
    [node] = compare({"n": A}, there, before, differences, ref="main")
    assert (node.status, node.reasons) == (status, (reason,))
    assert node.status.runs is (status in (Status.NEW, Status.CHANGED))


def test_a_pass_whose_files_are_lost_is_none() -> None:
    """It is named where nothing else changed; beside another tree the node is as it is there."""
    passed = {name: Passed(fingerprint=A, lost=lambda: ["out is gone"]) for name in "nm"}
    nodes = compare({"n": A, "m": B}, None, passed, differences)
    assert [(node.status, node.reasons) for node in nodes] == [
        (Status.CHANGED, ("out is gone",)),
        (Status.CHANGED, ("sent changed",)),
    ]
    [node] = compare({"n": A}, {"n": A}, passed, differences, ref="main")
    assert (node.status, node.reasons) == (Status.CACHED, ("as on main",))


def test_what_is_only_there_is_gone() -> None:
    nodes = compare({"n": A}, {"n": A, "old": B}, {}, differences, ref="main")
    assert [(node.id, node.status) for node in nodes] == [("n", Status.CACHED), ("old", Status.GONE)]


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_name_is_markdown(name: str, why: str) -> None:
    """Whatever a node is called: its row has as many cells as the head, and no tag, mention, link or new line."""
    rows = list(markdown.table([("node", "why"), (name, why)], code={0}))
    assert len(rows) == 3
    assert len(re.findall(r"(?<!\\)\|", rows[2])) == 3
    code, rest = rows[2].split("|")[1:3]
    assert code.count("`") in (0, 2)
    assert not set("<>@`*[]()#!") & set(re.sub(r"&#\d+;", "", rest))
    assert rows[2].splitlines() == [rows[2]]


def test_a_long_comment_is_cut() -> None:
    nodes = [("node", "status", "why", "first offer", "expected", "at worst")]
    nodes += [(f"n{number}", "new", "w" * 5000, "", "", "") for number in range(500)]
    text = markdown.document("t", [("", "nodes")], nodes, ["a note"])
    assert text.startswith(markdown.MARK)
    assert "… and 400 more" in text
    assert len(text) < 60_000


def test_what_needs_a_node_that_runs_may_run() -> None:
    """Two steps away too; unconnected nodes are still cached."""
    passed = {name: Passed(fingerprint=A, finished="then") for name in ("b", "c", "d")}
    here = {"a": A, "b": A, "c": A, "d": A}
    nodes = compare(here, None, passed, differences, needs={"b": ["a"], "c": ["b"]})
    assert [node.status.runs for node in nodes] == [True, True, True, False]
    assert nodes[2].reasons == ("b, which it needs, may leave other results",)
