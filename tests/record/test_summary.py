"""Summaries of many reports: means over repetitions."""

from __future__ import annotations

import sys
from typing import Any

from rpd.record.summary import groups
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result


def report(seed: int) -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=f"a.py::n[{seed}]", job="n", file="a.py", line=1, parameters={"seed": seed}),
        result=Result(outcome=Outcome.PASSED),
        metrics={"loss": float(seed), **({"rare": 1.0} if seed == 3 else {})},
    )


def calls_of(nodes: int) -> int:
    """Return how many functions ``groups`` calls for so many nodes of one group."""
    reports, calls = [report(seed) for seed in range(nodes)], 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        [group] = groups(reports, {"seed"})
    finally:
        sys.setprofile(before)
    assert group.nodes == nodes
    assert group.metrics["loss"].mean == (nodes - 1) / 2
    assert list(group.metrics) == ["loss", "rare"]
    return calls


def test_a_group_is_summed_up_once() -> None:
    """Ten times the nodes take ten times the work: once it was a hundred times."""
    assert calls_of(400) < 12 * calls_of(40)
