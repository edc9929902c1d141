"""Limits of the account: those that a run's own pods use up are waited for, those of others are reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.runs.conftest import events
from tests.waiting import wait_until

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

LOCKED = """
import time
from pathlib import Path
import rpd

HERE = Path(__file__).parent

@rpd.job(gpu=rpd.Gpu("NVIDIA L4"), budget=rpd.Budget(cost_cap_usd=0.5))
def fit(pod):
    (HERE / "reached").touch()
    while not (HERE / "go").exists():
        time.sleep(0.02)
"""


@pytest.fixture
def limited(emulator: Launched) -> Iterator[Launched]:
    yield emulator
    emulator.set_limits()
    emulator.set_role("admin")
    emulator.clear_faults()


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
    """If no other node is running, or all that run wait themselves, the run stops and gives the reason."""
    limited.set_limits(pods=limit)
    result = rpd(project({"deploy_a.py": SECOND_POD}), "-n", "2")
    assert result.exit_code == 1
    assert "the account has reached a limit" in result.out
    assert {report.result.cause for report in result.reports} == {"infra"}
    assert limited.pods() == []


@pytest.mark.parametrize("lifecycle", ["sdk", "rest"])
def test_a_role_that_may_not_rent(rpd: RpdRun, project: Project, limited: Launched, lifecycle: str) -> None:
    """It is reported once, in RunPod's words, and not tried again by eight nodes."""
    limited.set_role("basic")
    result = rpd(project({"deploy_a.py": SWEEP}), env={"RPD_LIFECYCLE": lifecycle})
    assert result.exit_code == 1
    assert "access denied" in result.out
    assert "ask an admin of the account" in result.out.lower()
    assert len(result.reports) == 1
    assert result.reports[0].result.attempts <= 1
    assert limited.pods() == []


def test_a_pod_that_somebody_locks(rpd: RpdRun, project: Project, limited: Launched) -> None:
    """The run ends with the exit code for pods that may bill, and says how to take the lock off; then it goes."""
    folder = project({"deploy_a.py": LOCKED})
    running = rpd.start(folder)
    wait_until((folder / "reached").exists, "the job")
    [pod] = limited.pods()
    limited.lock(pod["id"])
    (folder / "go").touch()
    result = running.finish()
    assert result.exit_code == 6
    assert f"PATCH /v2/pods/{pod['id']}" in result.out + result.err
    listed = rpd(folder, command="ps")
    assert f"pod {pod['id']} is locked" in listed.out
    limited.lock(pod["id"], locked=False)
    assert rpd(folder, pod["id"], command="stop").exit_code == 0
    assert limited.pods() == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("lifecycle", ["sdk", "rest"])
def test_a_storm_of_refusals_at_sixty_four_creations(
    rpd: RpdRun, project: Project, limited: Launched, lifecycle: str
) -> None:
    """RunPod takes sixty calls a second and refuses the others: every node is served, none twice, no pod is left."""
    limited.set_limits(usd_per_hr=1000, calls=60, seconds=1)
    limited.inject({"kind": "rate-limit", "times": 64, "match": {"operation": "create"}})
    limited.inject(
        {"kind": "rate-limit", "times": 16, "when": "after", "after": 64, "match": {"operation": "create"}}
    )
    text = SWEEP.replace("range(8)", "range(64)")
    result = rpd(
        project({"deploy_a.py": text}), "-n", "64", "-y", env={"RPD_LIFECYCLE": lifecycle}, timeout=300
    )
    assert result.exit_code == 0, result.out[-4000:] + result.err[-2000:]
    assert Counter(report.result.outcome for report in result.reports) == {"passed": 64}
    limited.set_limits()
    assert limited.pods() == []
