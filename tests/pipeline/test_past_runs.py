"""A run that is looked at while it is in progress."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rpd.pipeline.past_runs import PastRun, RunState
from rpd.record.run_info import RunInfo
from rpd.terminal.end_summary import last_line
from rpd.terminal.styles import Ink
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result


def report(finished: datetime) -> NodeReport:
    node = NodeRecord(id="deploy_a.py::fit", job="fit", file="deploy_a.py", line=1)
    return NodeReport(node=node, result=Result(outcome=Outcome.PASSED, finished=finished.isoformat()))


@pytest.mark.parametrize(
    ("state", "seconds", "words"),
    [
        (RunState.FINISHED, 90.0, "1 passed, 4 not run in 1m30"),
        (RunState.RUNNING, 3600.0, "1 passed, 4 not yet over in 1h0"),
        (RunState.UNFINISHED, 60.0, "1 passed, 4 not yet over in 1m0"),
    ],
)
def test_how_long_it_has_gone_on(state: RunState, seconds: float, words: str) -> None:
    """A run in progress counts until now, a dead one until its last node; unfinished nodes are not called not run."""
    began = datetime.now(UTC) - timedelta(hours=1)
    info = RunInfo(
        id="r1",
        nodes=5,
        not_run=4,
        seconds=90.0,
        started=began.isoformat(timespec="seconds"),
        finished="x" if state is RunState.FINISHED else "",
    )
    run = PastRun(info=info, state=state, reports=(report(began + timedelta(minutes=1)),))
    assert run.summary.seconds == pytest.approx(seconds, abs=5)
    assert words in last_line(run.summary, width=100, ink=Ink(color=False))


def test_a_run_without_a_beginning_took_no_time() -> None:
    """A run folder that tells no time is no reason to fail."""
    run = PastRun(info=RunInfo(id="r1"), state=RunState.UNFINISHED, reports=())
    assert run.summary.seconds == 0.0
