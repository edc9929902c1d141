"""Limits of the account: those that a run's own pods use up are waited for, those of others are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.runs.conftest import events

Project = Callable[[dict[str, str]], Path]

SWEEP = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=0.5))
@rpd.mark.parametrize("n", range(8))
def fit(pod, n):
    pod.run("true")
"""
SECOND_POD = """
import rpd

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=0.5))
@rpd.mark.parametrize("n", range(2))
def fit(pod, n, provision):
    with provision() as other:
        other.run("true")
"""


@pytest.fixture
def limited(emulator: Launched) -> Iterator[Launched]:
    yield emulator
    emulator.set_limits()


@pytest.mark.parametrize("lifecycle", ["sdk", "rest"])
@pytest.mark.parametrize("limits", [{"pods": 2}, {"usd_per_hr": 1.2}], ids=["pods", "dollars an hour"])
def test_a_limit_that_own_nodes_use_up_is_waited_for(
    rpd: RpdRun, project: Project, limited: Launched, limits: dict[str, float], lifecycle: str
) -> None:
    """Every node runs, a few at a time, and none is an error; the wait is on record."""
    limited.set_limits(**limits)  # type: ignore[arg-type]
    result = rpd(project({"deploy_a.py": SWEEP}), "-n", "8", env={"RPD_LIFECYCLE": lifecycle})
    assert result.exit_code == 0, result.out + result.err
    assert Counter(report.result.outcome for report in result.reports) == {"passed": 8}
    assert result.run_dir is not None
    waits = [event for event in events(result.run_dir, "waiting") if "limit" in event["reason"]]
    assert waits
    assert limited.pods() == []


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_that_nobody_here_uses_up_is_told(
    rpd: RpdRun, project: Project, limited: Launched, limit: int
) -> None:
    """Where no other node goes on, or all that do wait themselves, the run stops and says why."""
    limited.set_limits(pods=limit)
    result = rpd(project({"deploy_a.py": SECOND_POD}), "-n", "2")
    assert result.exit_code == 1
    assert "a limit of the account is reached" in result.out
    assert {report.result.cause for report in result.reports} == {"infra"}
    assert limited.pods() == []
