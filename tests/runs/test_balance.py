"""Runs whose account runs out of credit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rpd.emulator.launch import Launched
from rpd.errors import ExitCode
from rpd.record import run_info
from rpd.testing import RpdRun
from tests.runs.conftest import run_dir_of
from tests.waiting import wait_until

RPD_TOML = 'balance_interval = "0.2s"\n'

DEPLOY = """
import rpd
from rpd import Gpu

@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
@rpd.mark.retry(infra=0)
@rpd.mark.parametrize("n", [1, 2, 3])
def fit(pod, n):
    pod.run("echo begun; while [ ! -e go ]; do sleep 0.05; done", cwd="/workspace")
"""

HEARS = """
from pathlib import Path

def rpd_notice(text):
    with (Path(__file__).parent / "notices.txt").open("a") as lines:
        lines.write(text + "\\n")
"""

WAITS_FOR_THE_NOTICE = """
import threading
from pathlib import Path
import rpd
from rpd import Gpu

HERE = Path(__file__).parent

@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
def fit(pod):
    tick = threading.Event()
    for _ in range(2400):
        if (HERE / "notices.txt").exists() and "an hour" in (HERE / "notices.txt").read_text():
            return
        tick.wait(0.05)
    rpd.fail("nobody was told")
"""


def test_little_credit_is_told_while_the_run_goes_on(
    emulator: Launched, project: Callable[[dict[str, str]], Path], rpd: RpdRun
) -> None:
    """With credit for less than ten minutes the run says so, once, and continues."""
    folder = project({"rpd.toml": RPD_TOML, "conftest.py": HEARS, "deploy_fit.py": WAITS_FOR_THE_NOTICE})
    rate = 0.25  # of the pod, or less: at more the account may not rent it
    emulator.set_balance(rate)
    running = rpd.start(folder, "--yes")
    wait_until(emulator.pods, what="the pod")
    emulator.set_balance(rate / 12)
    result = running.finish()
    assert result.exit_code == ExitCode.OK, result.out + result.err
    content = (folder / "notices.txt").read_text(encoding="utf-8")
    assert content.count("an hour: then RunPod stops its pods") == 1, content


def test_without_credit_nothing_new_starts(
    emulator: Launched, project: Callable[[dict[str, str]], Path], rpd: RpdRun
) -> None:
    """When the credit is used up the node whose pod is ended is lost, and no other starts."""
    folder = project({"rpd.toml": RPD_TOML, "deploy_fit.py": DEPLOY})
    running = rpd.start(folder, "--yes")
    wait_until(lambda: _has_begun(folder), what="the first node")
    emulator.set_balance(0)
    result = running.finish()
    assert result.exit_code == ExitCode.FAILED, result.out + result.err
    [report] = result.reports
    assert report.result.cause == "lost", json.dumps(report.result.reason)
    assert result.run_dir is not None
    info = run_info.read(result.run_dir / run_info.FILE_NAME)
    assert info.stop_reason.startswith("balance: ")
    assert info.not_run == 2
    assert "stopped: balance: the account has no credit left" in result.out


def _has_begun(folder: Path) -> bool:
    run_dir = run_dir_of(folder)
    return run_dir is not None and any("begun" in log.read_text() for log in run_dir.glob("*/output.log"))
