"""A run that is looked at while it is in progress."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rpd.errors import UsageError
from rpd.pipeline.past_runs import PastRun, RunState, run_and_node
from rpd.record import run_info
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
    assert run.summary.seconds == pytest.approx(seconds, abs=30)
    assert words in last_line(run.summary, width=100, ink=Ink(color=False))


def test_a_run_without_a_beginning_took_no_time() -> None:
    """A run folder that tells no time is no reason to fail."""
    run = PastRun(info=RunInfo(id="r1"), state=RunState.UNFINISHED, reports=())
    assert run.summary.seconds == 0.0


def test_a_node_that_only_another_run_has_needs_its_run(tmp_path: Path) -> None:
    """The message says how to name it; where there is one run only, there is nothing to add."""
    for name in ("20260101T000000Z-aaaaaa", "20260102T000000Z-bbbbbb"):
        (tmp_path / name).mkdir()
        run_info.write(tmp_path / name / run_info.FILE_NAME, RunInfo(id=name, started=name[:4]))
        with pytest.raises(UsageError, match="there is no node") as raised:
            run_and_node(tmp_path, tmp_path, ["other"])
        is_second = "bbbbbb" in name
        assert ("For a node of another run, name both: RUN NODE" in str(raised.value)) is is_second
