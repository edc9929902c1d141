"""``rpd.testing``: the tools with which users test their own deploy files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rpd.emulator.faults import API_KINDS, BOOT_KINDS, LIVE_KINDS, STATE_KINDS
from rpd.emulator.launch import Launched
from rpd.testing import RpdRun
from tests.waiting import DEADLINE, wait_until

ROOT = Path(__file__).parents[1]
JOB = "import rpd\n@rpd.job(gpu=rpd.Gpu('NVIDIA L4'))\ndef fit(pod): pod.run('echo hello')\n"


def test_a_users_tests_pass(tmp_path: Path) -> None:
    """A project with the plugin and a test as the documentation shows it is tested by a plain ``pytest``."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["rpd.testing"]\n', encoding="utf-8")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "deploy_x.py").write_text(JOB, encoding="utf-8")
    (tmp_path / "test_jobs.py").write_text(
        textwrap.dedent(
            """
            import pytest

            def test_on_the_emulator(rpd_run, emulator):
                result = rpd_run("jobs")
                assert result.exit_code == 0, result.out + result.err
                assert result.report("fit").steps[0].exit_code == 0
                assert result.run_dir.name in {path.name for path in result.run_dir.parent.iterdir()}
                assert "--print-run-dir" not in result.out and str(result.run_dir) not in result.out.splitlines()
                assert emulator.pods() == []
                with pytest.raises(LookupError, match="deploy_x.py::fit"):
                    result.report("other")

            def test_never_on_runpod(rpd_run):
                result = rpd_run("jobs", env={"RUNPOD_API_KEY": "rpa_real"})
                assert result.exit_code != 0
                assert "127.0.0.1" in result.err or "cannot be reached" in result.err

            def test_dry(rpd_run, monkeypatch):
                monkeypatch.setenv("RPD_N", "no number")
                assert rpd_run("jobs", "--dry-run").exit_code == 0
            """
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_a_run_can_be_watched_and_ended(tmp_path: Path, rpd_run: RpdRun) -> None:
    """``start`` returns at once; the output can be read meanwhile; ``finish`` returns the result."""
    (tmp_path / "deploy_x.py").write_text("print('collecting', flush=True)\nimport time; time.sleep(600)\n")
    running = rpd_run.start(tmp_path)
    wait_until(lambda: "collecting" in running.err, "the first line")
    running.send_signal(signal.SIGKILL)
    result = running.finish()
    assert result.exit_code == -signal.SIGKILL
    assert (result.out, result.err) == ("", "collecting\n")
    assert (result.run_dir, result.reports) == (None, ())


def test_a_run_that_takes_too_long_fails_the_test(tmp_path: Path, rpd_run: RpdRun) -> None:
    """After ``timeout`` the process is killed and the test fails with the output so far."""
    (tmp_path / "deploy_x.py").write_text("print('stuck', flush=True)\nimport time; time.sleep(600)\n")
    running = rpd_run.start(tmp_path)
    wait_until(lambda: "stuck" in running.err, "the first line")
    with pytest.raises(pytest.fail.Exception, match=r"still running after 0\.1 s\nstuck"):
        running.finish(timeout=0.1)


def test_without_pytest_the_error_says_so() -> None:
    """Without pytest, importing the plugin says how to install it."""
    code = "import sys; sys.modules['pytest'] = None\nimport rpd.testing"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 1
    assert "rpd.testing is a plugin for pytest, which is not installed: pip install pytest" in done.stderr


def test_the_page_names_the_faults_there_are() -> None:
    """Every kind of fault the page on testing names exists, and the fixture takes it."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ((?:`[\w-]+`(?:, )?)+) \|", page.partition("### Faults")[2].partition("\n### ")[0], re.MULTILINE
    )
    named = {kind for row in rows for kind in re.findall(r"`([\w-]+)`", row)}
    assert len(named) > 10
    assert named <= {*API_KINDS, *STATE_KINDS, *BOOT_KINDS, *LIVE_KINDS}


def test_the_emulator_is_of_the_tests_own(emulator: Launched) -> None:
    """The environment leads to it, and faults are taken and cleared."""
    assert os.environ["RUNPOD_API_BASE_URL"] == emulator.base_url
    assert os.environ["RUNPOD_API_KEY"] == emulator.api_key
    emulator.inject({"kind": "stock-out"})
    assert len(emulator.faults()) == 1
    emulator.clear_faults()
    assert emulator.faults() == []
