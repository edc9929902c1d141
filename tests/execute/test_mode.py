"""The mode of a run: what it puts around the user's code."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (7, 7)])
def test_its_exit_code_is_its_own(given: int | None, code: int) -> None:
    """As where no job is around it: ``sys.exit`` ends it without a word."""
    child = 0
    with suppress(SystemExit), Live().guard():
        child = os.fork()
        if child == 0:
            sys.exit(given)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
