"""Reports: sums, passing outcomes, and equality."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rpd.values.report import CostRecord, NodeRecord, NodeReport, Outcome, Result, RunSummary


def report(name: str, outcome: Outcome = Outcome.PASSED, usd: float = 0.0) -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=f"a.py::{name}", job=name, file="a.py", line=1),
        result=Result(outcome=outcome, phases={"setup": 0.5, "job": 2.0}),
        cost=CostRecord(estimated_usd=usd),
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_only_failures_and_errors_are_no_pass(outcome: Outcome) -> None:
    """Skipped nodes and those that ended as expected, or better, do not fail a run."""
    assert outcome.is_ok is (outcome not in (Outcome.FAILED, Outcome.ERROR))


def test_seconds_are_those_of_all_phases() -> None:
    """A node took as long as its phases together; without any it took no time."""
    assert report("a").result.seconds == 2.5
    assert Result(outcome=Outcome.PASSED).seconds == 0


def test_a_summary_counts_and_adds_up() -> None:
    """Counts are by outcome; the cost of a run is that of its nodes."""
    reports = (report("a", usd=0.25), report("b", Outcome.FAILED, 0.5), report("c"))
    summary = RunSummary(folder="", reports=reports, seconds=1.0)
    assert summary.estimated_usd == 0.75
    assert {outcome: summary.count(outcome) for outcome in Outcome if summary.count(outcome)} == {
        Outcome.PASSED: 2,
        Outcome.FAILED: 1,
    }
    assert RunSummary(folder="", reports=(), seconds=0.0).estimated_usd == 0


def test_where_files_are_does_not_make_a_report_another() -> None:
    """A report that was moved is the same report."""
    one = report("a")
    assert replace(one, folder="/elsewhere") == one
    assert replace(one, metrics={"f1": 1.0}) != one
