"""Images no pod comes of: each is met once or twice in a run, however many nodes wait for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause
from rpd.testing import RpdRun
from tests.runs.conftest import HASTY, events, write_project
from tests.waiting import DEADLINE

SWEEP = """
import rpd

@rpd.job(image="IMAGE", gpu=None, budget=rpd.Budget(cost_cap_usd=1))
@rpd.mark.parametrize("n", range(6))
def fit(pod, n): ...
"""
HASTIER = f"""{HASTY}
boot.MOST_RESTARTS, lease.REFUSED_SECONDS, lease.LOOK_AGAIN_SECONDS = 1, 0.2, 0.5
"""


@pytest.mark.parametrize(
    ("image", "fault", "width", "most", "said"),
    [
        ("nobody/image:missing", "", 1, 1, "cannot be pulled"),
        ("nobody/image:missing", "", 6, 6, "manifest unknown"),
        ("runpod/base:1", "refuse-key", 1, 2, "authentication failed: the pod does not accept the run's key"),
        ("runpod/base:1", "crash-loop", 1, 2, "exited and was restarted"),
    ],
)
def test_a_bad_image_fails_a_sweep_early(
    image: str,
    fault: str,
    width: int,
    most: int,
    said: str,
    rpd: RpdRun,
    tmp_path: Path,
    clean_emulator: Launched,
) -> None:
    """ssh_ready_timeout (15 minutes) is not waited out: every node shows the reason, and no pod is rented in vain."""
    if fault:
        clean_emulator.inject({"kind": fault})
    folder = write_project(
        tmp_path / "p", {"deploy_a.py": SWEEP.replace("IMAGE", image), "conftest.py": HASTIER}
    )
    result = rpd(folder, "-n", str(width), timeout=DEADLINE)
    assert result.exit_code == 1, result.out + result.err
    assert [report.result.cause for report in result.reports] == [Cause.CODE] * 6
    assert all(said in report.result.reason for report in result.reports)
    assert result.run_dir is not None
    assert len(events(result.run_dir, "created")) <= most
    assert clean_emulator.pods() == []
