"""Code of a job cannot close the files and connections of the process that runs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from rpd.errors import UsageError
from rpd.execute.held_files import HeldFiles
from rpd.execute.node.current import acting_for, is_acting_for_node
from rpd.execute.node.node_run import NodeRun

CALLS = (os.close, os.closerange)


@pytest.fixture(autouse=True)
def pipe() -> Iterator[tuple[int, int]]:
    """Something that no module of a user opens."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[int]:
    """A descriptor that is open when a run begins, in which this thread acts for a node."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    files = HeldFiles()
    files.begin()
    files.hold(is_acting_for_node)
    try:
        with acting_for(cast("NodeRun", object())):
            yield descriptor
    finally:
        files.end()
        assert (os.close, os.closerange) == CALLS
        with suppress(OSError):
            os.close(descriptor)


def close_each(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


def test_a_job_that_closes_everything_fails_and_nothing_is_closed(held: int, pipe: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"os\.closerange\(3, 65536\) would close the files and connections"):
        os.closerange(3, 65536)
    with pytest.raises(UsageError, match=r"os\.close\(\d+\) would close the files and connections"):
        close_each(sorted(pipe))  # not all: some of those of the test runner are not held
    assert os.write(held, b"still open") == 10
    assert os.fstat(pipe[0])


def test_a_job_closes_the_file_of_a_module(held: int) -> None:
    """It was open when the run began, as a lock that is taken at import is."""
    os.close(held)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held)


def test_a_job_closes_what_it_opened(held: int) -> None:
    """One that has the number of a file which rpd has closed meanwhile is the job's, too."""
    device = os.open(os.devnull, os.O_RDONLY)
    for close in (lambda number: os.closerange(number, number + 1), os.close):
        os.dup2(device, held)
        close(held)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(held)
    os.close(device)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_closes_its_copies(held: int) -> None:
    child = os.fork()
    if not child:
        close_each(range(3, 256))
        os.closerange(3, 65536)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert os.fstat(held)


def test_other_code_of_the_process_closes_what_it_likes(held: int) -> None:
    """A program that starts a run in a thread has files of its own."""
    closing = threading.Thread(target=os.close, args=(held,))
    closing.start()
    closing.join()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held)
