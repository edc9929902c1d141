"""A job may change its process at will: a run has taken all it needs of it at its beginning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.emulator.launch import Launched
from rpd.record import history
from rpd.testing import RpdRun
from tests.runs.conftest import run_dir_of

Project = Callable[[dict[str, str]], Path]

HEAD = """
import os, pathlib, sys
import rpd

job = rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"), budget=rpd.Budget(cost_cap_usd=1))

def work(pod):
    pod.run("mkdir -p out; echo result > out/r")
    pod.put("data.txt", "/workspace/data.txt")
    pod.pull("out/")

@job
def a_first(pod):
    DEED
    work(pod)

@job
def b_then(pod):
    work(pod)
"""
DEEDS = {
    "chdir": 'os.chdir("/")',
    "its folder is gone": 'os.makedirs("/tmp/rpd-gone", exist_ok=True); os.chdir("/tmp/rpd-gone"); os.rmdir("/tmp/rpd-gone")',
    "environment": "os.environ.clear()",
    "another address": 'os.environ.update(RUNPOD_API_BASE_URL="http://127.0.0.1:9", RUNPOD_API_KEY="other", HOME="/nowhere")',
    "stdout closed": "sys.stdout.close()",
    "stdout and stderr closed": "sys.stdout.close(); sys.stderr.close()",
    "descriptors closed": "os.close(1); os.close(2)",
    "stdout replaced": "import io; sys.stdout = io.StringIO(); sys.stderr = sys.stdout",
    "stdout is None": "sys.stdout = sys.stderr = None",
    "open mocked": "import builtins, unittest.mock as m; m.patch('builtins.open', m.mock_open(read_data='x')).start()",
    "time mocked": "import time, unittest.mock as m; m.patch('time.time', lambda: 0.0).start(); m.patch('time.sleep', lambda s: None).start()",
    "monotonic mocked": "import time; time.monotonic = lambda: 5.0",
    "socket mocked": "import socket; socket.create_connection = socket.getaddrinfo = lambda *a, **k: 1 / 0",
    "socket class mocked": "import socket\n    class Blocked(socket.socket):\n        def __init__(self, *a, **k): raise RuntimeError('no network')\n    socket.socket = Blocked",
    "Path mocked": "pathlib.Path.exists = pathlib.Path.is_file = lambda self: False",
    "logging off": "import logging; logging.disable(logging.CRITICAL); logging.shutdown()",
    "limits": "sys.setrecursionlimit(400); sys.path.clear(); sys.argv.clear()",
    "umask": "os.umask(0o777)",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_job_does_to_its_process_ends_no_run(
    rpd: RpdRun, project: Project, emulator: Launched, deed: str
) -> None:
    """Both nodes pass, their files are here, no pod is left, and no traceback is printed."""
    folder = project({"deploy_a.py": HEAD.replace("DEED", DEEDS[deed]), "data.txt": "data"})

    result = rpd(folder, "--yes")

    text = result.out + result.err
    assert emulator.pods() == []
    assert "Traceback" not in text, text
    assert "Exception ignored" not in text, text
    run_dir = run_dir_of(folder)
    assert run_dir is not None, text
    reports = history.reports(run_dir)
    assert [(r.node.job, r.result.outcome.value, r.result.reason) for r in reports] == [
        ("a_first", "passed", ""),
        ("b_then", "passed", ""),
    ]
    for report in reports:
        assert (Path(report.folder) / "artifacts" / "out" / "r").read_text(encoding="utf-8") == "result\n"
    assert result.exit_code == 0, text
    assert (run_dir / "results.csv").is_file()


def test_a_job_that_closes_every_descriptor_fails_alone(
    rpd: RpdRun, project: Project, emulator: Launched
) -> None:
    """As code that makes a daemon does; the journal, the connections and the screen are there for the next node."""
    deed = (
        "import contextlib\n    for n in range(1024):\n        with contextlib.suppress(OSError): os.close(n)"
    )
    folder = project({"deploy_a.py": HEAD.replace("DEED", deed), "data.txt": "data"})

    result = rpd(folder, "--yes")

    assert emulator.pods() == []
    first, then = (result.report(name) for name in ("a_first", "b_then"))
    assert "would close the files and connections of rpd" in first.result.reason, result.out + result.err
    assert (then.result.outcome, result.exit_code) == ("passed", 1), result.out + result.err
    assert "1 passed, 1 failed" in result.out


def test_a_job_without_pods_may_empty_the_path(rpd: RpdRun, project: Project) -> None:
    """rpd imports what it needs for the next node, which fails, where it was before."""
    folder = project(
        {
            "deploy_a.py": """import sys

import rpd


@rpd.job
def a_first():
    sys.path.clear()


@rpd.job
def b_then():
    raise ValueError("boom")
"""
        }
    )

    result = rpd(folder, "--junitxml", "j.xml")

    assert (result.exit_code, "code: ValueError: boom" in result.out) == (1, True), result.out + result.err
