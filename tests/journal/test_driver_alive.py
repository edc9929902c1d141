"""Whether the process that wrote a journal still runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rpd.journal import driver_alive

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until it is killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def event(writes: subprocess.Popen[bytes], **more: Any) -> dict[str, Any]:
    process = {"pid": writes.pid, "process": driver_alive.birth(writes.pid)}
    return {**driver_alive.identity(), **process, **more}


def test_a_process_that_runs(other: subprocess.Popen[bytes]) -> None:
    """The process that wrote the event is there, also where the event does not tell when it began."""
    assert driver_alive.is_running(event(other))
    assert driver_alive.is_running(event(other, process=""))


def test_a_process_that_was_killed(other: subprocess.Popen[bytes]) -> None:
    """One that was killed is gone, though its parent has not asked for its end yet."""
    written = event(other)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert not driver_alive.is_running(written)
    other.wait()
    assert not driver_alive.is_running(written)


@needs_proc
def test_an_id_that_is_used_again(other: subprocess.Popen[bytes]) -> None:
    """A process that has the id of one which wrote the event before it is another."""
    assert not driver_alive.is_running(event(other, process="an-earlier-boot 12345"))


def test_this_process_and_another_machine(other: subprocess.Popen[bytes]) -> None:
    """This process is checked directly; the state of another machine is unknown, so it counts as running."""
    assert not driver_alive.is_running(driver_alive.identity())
    assert driver_alive.is_running(event(other, host="elsewhere", process="never seen"))
