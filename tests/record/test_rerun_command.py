"""The command line that runs a node again."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpd.record import run_info
from rpd.record.rerun_command import again
from rpd.record.run_info import RunInfo
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("run", "-n", "2"), "rpd run deploy_a.py::fit --var deep=true"),
        (("run", "--local"), "rpd run deploy_a.py::fit --local --var deep=true"),
        (None, "rpd run deploy_a.py::fit --var deep=true"),
    ],
    ids=["on RunPod", "local", "no run file"],
)
def test_a_node_that_cost_nothing_costs_nothing_again(
    tmp_path: Path, argv: tuple[str, ...] | None, expected: str
) -> None:
    """Those who copy the line may not look at it closely."""
    if argv is not None:
        run_info.write(tmp_path / run_info.FILE_NAME, RunInfo(id="r1", argv=argv))
    report = NodeReport(
        node=NodeRecord(id="deploy_a.py::fit", job="fit", file="deploy_a.py", line=1),
        result=Result(outcome=Outcome.FAILED),
        variables={"deep": True},
        folder=str(tmp_path / "deploy_a.fit"),
    )
    assert again(report) == expected
