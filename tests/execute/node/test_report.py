"""Reports of nodes: the record that an attempt leaves for the next one."""

from __future__ import annotations

import pytest

from rpd.errors import Cause
from rpd.execute.node.report import attempt_record
from rpd.values.report import (
    AttemptRecord,
    CostRecord,
    NodeRecord,
    NodeReport,
    Outcome,
    PodRecord,
    Result,
)


@pytest.mark.parametrize("has_pod", [True, False])
def test_an_attempt_costs_what_those_before_it_did_not(has_pod: bool) -> None:
    """The report adds all attempts up; without a pod there is none to name."""
    before = tuple(
        AttemptRecord(number=number, outcome=Outcome.ERROR, estimated_usd=0.1) for number in (1, 2)
    )
    pod = PodRecord(id="p3", name="rpd-3", gpu="NVIDIA L4", count=1, datacenter="EU-RO-1")
    report = NodeReport(
        node=NodeRecord(id="f.py::fit", job="fit", file="f.py", line=1),
        result=Result(
            outcome=Outcome.ERROR,
            cause=Cause.LOST,
            reason="gone",
            attempts=3,
            phases={"job": 1.25, "setup": 0.5},
        ),
        pod=pod if has_pod else None,
        cost=CostRecord(estimated_usd=0.25),
        attempts=before,
    )
    assert attempt_record(report) == AttemptRecord(
        number=3,
        outcome=Outcome.ERROR,
        cause=Cause.LOST,
        reason="gone",
        pod_id="p3" if has_pod else "",
        gpu="NVIDIA L4" if has_pod else "",
        datacenter="EU-RO-1" if has_pod else "",
        seconds=1.75,
        estimated_usd=0.05,
    )
