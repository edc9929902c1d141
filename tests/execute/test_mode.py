"""The mode of a run: what it puts around the user's code."""

from __future__ import annotations

import os

import pytest

from rpd.execute.mode import Live


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_a_job_forked_ends_where_the_job_does() -> None:
    """It would release the pods that its parent uses."""
    with Live().guard():
        child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
