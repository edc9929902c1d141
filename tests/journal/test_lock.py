"""The lock of a run folder: one process at a time, and none after it is gone, however it went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rpd.journal.lock import FILE_NAME, RunIsDriven, RunLock

HOLDER = """
import sys
from pathlib import Path
from rpd.journal.lock import RunLock
lock = RunLock.take(Path(sys.argv[1]))
if len(sys.argv) > 2:
    import os
    if os.fork() == 0:
        os.write(1, b"forked\\n")
        sys.stdin.read()
        os._exit(0)
else:
    print("held", flush=True)
sys.stdin.read()
"""


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_second_process_is_told_who_holds_it_and_what_to_do(tmp_path: Path) -> None:
    """The message names the process, its machine and the next step."""
    holder = start(tmp_path)
    try:
        with pytest.raises(RunIsDriven, match=rf"pid {holder.pid} on .*Wait until that ends") as caught:
            RunLock.take(tmp_path)
        assert caught.value.exit_code == 4
    finally:
        holder.kill()
        holder.communicate()


def test_sigkill_lets_go_of_it(tmp_path: Path) -> None:
    """The kernel releases the lock of a process that had no time to."""
    holder = start(tmp_path)
    holder.kill()
    holder.communicate()

    with RunLock.take(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text(encoding="utf-8"))["pid"] == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_lives_longer_does_not_hold_it(tmp_path: Path) -> None:
    """A worker that a job forked and that outlives its killed driver does not prevent resuming."""
    holder = start(tmp_path, "fork")
    assert holder.stdin is not None
    assert holder.stdout is not None
    os.kill(holder.pid, 9)
    holder.wait()

    RunLock.take(tmp_path).release()

    holder.stdin.close()  # the child ends
    holder.stdout.close()


def test_reading_the_file_does_not_release_it(tmp_path: Path) -> None:
    """A job that copies the run folder opens and closes the lock file of its own driver."""
    with RunLock.take(tmp_path):
        (tmp_path / FILE_NAME).read_bytes()
        with pytest.raises(RunIsDriven):
            RunLock.take(tmp_path)
    RunLock.take(tmp_path).release()
