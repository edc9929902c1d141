"""A command that only reads ends at once, and loses nothing that the user's code counts on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """import atexit, threading, time
left = open("left.log", "w")
left.write("not flushed")
def last():
    with open("last.log", "w") as log:
        log.write("called")
atexit.register(last)
"""
THREAD = """
def slowly():
    threading.main_thread().join()
    left.write(", nor forgotten")
threading.Thread(target=slowly).start()
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [("", "not flushed"), (THREAD, "not flushed, nor forgotten")],
    ids=["plain", "thread"],
)
def test_what_the_users_code_began_comes_to_its_end(more: str, message: str, tmp_path: Path) -> None:
    """Files are flushed, ``atexit`` functions called, and threads waited for."""
    (tmp_path / "conftest.py").write_text(CONFTEST + more, encoding="utf-8")
    (tmp_path / "deploy_x.py").write_text("import rpd\n@rpd.job\ndef fit(): ...\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "rpd", "collect", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "deploy_x.py::fit")
    assert (tmp_path / "left.log").read_text(encoding="utf-8") == message
    assert (tmp_path / "last.log").read_text(encoding="utf-8") == "called"


def test_a_process_without_standard_streams(tmp_path: Path) -> None:
    """Under ``>&-`` and in services there are none: no file that rpd opens takes their numbers."""
    look = "import os, sys; from rpd.cli import main; code = main(['--version']); opened = os.open('f', os.O_CREAT)"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "{look}; sys.exit(10 * opened + code)" <&- >&- 2>&-', sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert done.returncode >= 30
