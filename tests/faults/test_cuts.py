"""The driver is interrupted or killed at every event of its journal: its pods are released or taken over."""

from __future__ import annotations

import signal

import pytest

from rpd.errors import Cause, ExitCode
from rpd.values.report import Outcome
from tests.faultlab.case import MOMENTS, TWO, Case, Ending
from tests.faultlab.invariant import check

OVER = ("run_finished", "pull_started", "pull_finished", "released", "node_finished", "reported")
"""Events after which the node passes, whatever comes: no command is left to be ended."""


def _interrupted(moment: str) -> Case:
    is_over = moment in OVER
    return Case(
        id=f"SIGINT at {moment}",
        job=TWO,
        cut_at=moment,
        exit_code=ExitCode.INTERRUPTED,
        outcome=Outcome.PASSED if is_over else Outcome.ERROR,
        cause=None if is_over else Cause.INTERRUPTED,
        says="starting nothing new",
    )


def _killed(moment: str, *then: str) -> Case:
    return Case(
        id=f"SIGKILL at {moment}, {then[0]}",
        job=TWO,
        cut_at=moment,
        cut_with=signal.SIGKILL,
        then=then,
        # A node that was over, but not reported, is done again.
        attempts=None if moment == "node_finished" else 1,
    )


INTERRUPTED = [_interrupted(moment) for moment in MOMENTS]
RESUMED = [_killed(moment, "resume") for moment in MOMENTS]
REAPED = [_killed(moment, "gc", "--yes") for moment in ("intent", "created", "pull_started")]


@pytest.mark.parametrize("case", INTERRUPTED, ids=str)
def test_interrupted(case: Case, ending: Ending) -> None:
    """Ctrl-C at any event ends the run with code 2, one manifest and no pod; the next node never starts."""
    check(case, ending)
    assert len(ending.reports) == 1


@pytest.mark.parametrize("case", RESUMED, ids=str)
def test_killed_and_resumed(case: Case, ending: Ending) -> None:
    """SIGKILL at any event, then ``rpd resume``: every node passes, is paid for in its manifest, and no pod is left."""
    assert ending.exit_code == -signal.SIGKILL
    check(case, ending)
    assert len(ending.reports) == 2


@pytest.mark.parametrize("case", REAPED, ids=str)
def test_killed_and_reaped(case: Case, ending: Ending) -> None:
    """SIGKILL, then ``rpd gc --yes``: no pod is left, and no fetched file is broken."""
    assert ending.exit_code == -signal.SIGKILL
    check(case, ending)


ANOTHER = [
    Case(
        id=f"SIGKILL at {moment} {count}, resume",
        faults=({"kind": "lose-host", "on": "boot", "times": 1, "status": "EXITED"},),
        cut_at=moment,
        cut_count=count,
        cut_with=signal.SIGKILL,
        then=("resume",),
        attempts=3 if moment == "node_finished" else 2,
        slack=5,
    )
    for moment, count in [
        ("tried_again", 1),
        ("intent", 2),
        ("created", 2),
        ("pull_finished", 1),
        ("released", 2),
        ("node_finished", 1),
    ]
]


@pytest.mark.parametrize("case", ANOTHER, ids=str)
def test_killed_in_a_later_attempt(case: Case, ending: Ending) -> None:
    """The attempts before the one in which the driver was killed stay on record, with their cost."""
    assert ending.exit_code == -signal.SIGKILL
    check(case, ending)
