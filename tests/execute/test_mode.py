"""The mode of a run: what it puts around the user's code."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from rpd.errors import RpdError
from rpd.execute.mode import Live
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.step_history import StepRequest
from rpd.execute.pod.steps import Steps
from rpd.journal.journal import FileJournal, read
from rpd.lease.lease import Lease
from rpd.redaction import NO_SECRETS


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_comes_out_of_other_code_ends_at_the_next_event(tmp_path: Path) -> None:
    """A hook or a condition has no guard around it: what it forks must not rent a second pod for the node."""
    journal = FileJournal(tmp_path / "events.jsonl", NO_SECRETS)
    child = os.fork()
    if child == 0:
        journal.write("intent", sync=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    journal.write("later", sync=True)
    journal.close()
    assert [event["event"] for event in read(tmp_path / "events.jsonl")] == ["later"]


def test_a_process_that_a_job_forked_cannot_take_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the number of the job's next step, which would then get the other command's output."""
    steps = Steps(cast("Lease", None), lambda _run: None)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(RpdError, match="use threads"):
        steps.do(cast("NodeRun", None), cast("StepRequest[None]", None), lambda _end: None)
