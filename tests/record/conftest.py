"""Reports as a run makes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rpd.errors import Cause
from rpd.values.report import (
    ArtifactRecord,
    CostRecord,
    Failure,
    NodeRecord,
    NodeReport,
    Outcome,
    PodRecord,
    Result,
    SourceRecord,
)
from rpd.values.step import Step, StepKind

MakeReport = Callable[..., NodeReport]


@pytest.fixture
def make_report() -> MakeReport:
    def make(
        seed: int = 42, outcome: Outcome = Outcome.PASSED, secret: str = "", folder: Path | str = ""
    ) -> NodeReport:
        failed = not outcome.is_ok
        return NodeReport(
            node=NodeRecord(
                id=f"exp/deploy_x.py::train[seed{seed}]",
                job="train",
                file="exp/deploy_x.py",
                line=7,
                parameters={"seed": seed, "token": f"p{secret}"},
                marks=("gpu",),
            ),
            result=Result(
                outcome=outcome,
                cause=Cause.OOM if failed else None,
                reason=f"command exited 137: TOKEN={secret}" if failed else "",
                started=f"2026-01-02T03:04:{seed % 60:02d}+00:00",
                finished="2026-01-02T04:00:00+00:00",
                phases={"provision": 1.5, "call": 2.0},
            ),
            pod=PodRecord(id="abc", name="rpd-1", gpu="NVIDIA H100 80GB HBM3", count=1, rate=2.39),
            cost=CostRecord(rate_usd_per_hr=2.39, rate_source="pod", estimated_usd=0.25, cap_usd=5.0),
            source=SourceRecord(git_sha="0123abc", dirty=True),
            steps=(
                Step(index=0, kind=StepKind.RUN, name="train", command=f"python t.py {secret}", exit_code=0),
                Step(index=1, kind=StepKind.PULL, name="", command="results/"),
            ),
            artifacts=(ArtifactRecord(remote="results/", local="artifacts/results", files=2, bytes=10),),
            metrics={"f1": 0.5, "curve": [1, 2.5]},
            variables={"lr": 0.1, "url": f"https://x/{secret}"},
            folder=str(folder),
            failure=Failure(log_tail=(f"last {secret}",)) if failed else None,
        )

    return make
