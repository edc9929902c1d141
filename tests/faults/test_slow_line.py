"""The fault suite over the line of a home or an office: far from RunPod and its pods, and slow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from benchmarks.slow_line import OFFICE
from tests.faultlab.case import Case, Ending, Line
from tests.faultlab.invariant import check
from tests.faults import test_cuts, test_faults

LINE = Line(rate=OFFICE[0], round_trip=OFFICE[1])
SLACK = 1.0
"""Seconds that the answers of a case spend on the line."""
USUAL = ("SSH dropped once", "SIGINT at put_finished", "SIGKILL at pull_started, resume")
ALL = [
    *test_faults.ANSWERS,
    *test_faults.WORLD,
    *test_faults.MEANWHILE,
    *test_cuts.INTERRUPTED,
    *test_cuts.RESUMED,
    *test_cuts.REAPED,
    *test_cuts.ANOTHER,
]


def _over(line: Line, cases: Iterable[Case]) -> list[Case]:
    return [replace(case, line=line, slack=case.slack + SLACK) for case in cases]


@pytest.mark.parametrize("case", _over(LINE, (case for case in ALL if case.id in USUAL)), ids=str)
def test_over_a_slow_line(case: Case, ending: Ending) -> None:
    """What is sent, kept and paid is the same, however slow the line."""
    check(case, ending)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", _over(LINE, (case for case in ALL if case.id not in USUAL)), ids=str)
def test_everything_over_a_slow_line(case: Case, ending: Ending) -> None:
    """Every fault and every cut of the other files."""
    check(case, ending)
