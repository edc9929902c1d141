"""Clusters under every fault, cut at every event: no member left, no half cluster billed, and a true report."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause, ExitCode
from rpd.values.report import Outcome
from tests.faultlab.case import ANY, Case, Ending, cuts, named
from tests.faultlab.driver import Driver
from tests.faultlab.invariant import check

JOB = """
import rpd
from rpd import Budget, Cluster, Gpu

@rpd.job(gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4"), cluster=Cluster(nodes=2), budget=Budget(cost_cap_usd=1))
def fit(cluster):
    cluster.put("data", "data")
    cluster.run("mkdir -p out; cat data/blob data/blob > out/model")
    cluster.primary.run("echo begun; seq 40000; echo ended")
    cluster.primary.pull("out/")
"""
"""Computes on both members; the first one tells and is fetched from."""
DIES = JOB.replace("seq 40000", "[ $RPD_ATTEMPT = 2 ] || sleep 60; exit 3")
"""Waits for its member to die; what comes then fails by itself."""
READY = ("--ssh-ready-timeout-sec", "4")


def api(kind: str, operation: str, **params: Any) -> Mapping[str, Any]:
    """Return a fault of one answer to an operation of clusters."""
    return {"kind": kind, "times": 1, "match": {"operation": operation}, **params}


def boot(kind: str, **params: Any) -> Mapping[str, Any]:
    """Return a fault of the member with rank 1."""
    return {"kind": kind, "times": 1, "match": {"rank": "1"}, **params}


def lose_rank_1(emulator: Launched, _driver: Driver) -> None:
    emulator.inject({"kind": "lose-host", "match": {"rank": "1"}, "status": "EXITED"})


USUAL = [
    Case(id="create: 502 after", job=JOB, faults=(api("server-error", "createCluster", when="after"),)),
    Case(id="a member dies", job=DIES, meanwhile=lose_rank_1, slack=3, attempts=2, outcome=Outcome.FAILED,
         cause=Cause.CODE, exit_code=ExitCode.FAILED, says=r"lost: cluster \w+: rank 1 [^;]*; retrying"),
    Case(id="SIGKILL at run_started, resume", job=JOB, cut_at="run_started", cut_with=signal.SIGKILL,
         then=("resume",)),
]  # fmt: skip
MORE = [
    Case(id="a member never comes", job=JOB, args=READY, faults=(boot("no-runtime"),), attempts=2, slack=3),
    Case(id="not an admin", job=JOB, faults=({"kind": "not-admin"},), outcome=Outcome.ERROR, cause=Cause.INFRA,
         exit_code=ExitCode.FAILED, says="only the role Admin"),
    Case(id="SIGKILL at created, gc", job=JOB, cut_at="created", cut_with=signal.SIGKILL, then=("gc", "--yes")),
]  # fmt: skip


@pytest.mark.parametrize("case", USUAL, ids=str)
def test_what_goes_wrong_with_clusters(case: Case, ending: Ending) -> None:
    """Whatever fails, the cluster is given back whole, and tried again whole where the platform failed."""
    check(case, ending)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", MORE, ids=str)
def test_what_else_goes_wrong_with_clusters(case: Case, ending: Ending) -> None:
    """The same, for rare faults."""
    check(case, ending)


FAULTS: list[Mapping[str, Any]] = [
    {"kind": "slow-boot", "seconds": 0.1},
    boot("slow-boot", seconds=1.5),
    boot("no-runtime"),
    boot("crash-loop"),
    {**boot("lose-host", status="EXITED"), "on": "boot"},
    {**boot("lose-host", status="RUNNING"), "on": "boot"},
    {**boot("drop-ssh", after_bytes=550_000), "on": "boot"},
    api("server-error", "createCluster", when="after"),
]


def _answers() -> Iterator[Case]:
    for operation in ("createCluster", "listClusters", "listClusterPods", "deleteCluster", "listPods"):
        for kind in (
            *({"kind": kind} for kind in ("unauthorized", "forbidden-html", "rate-limit")),
            *(
                {"kind": kind, "when": when}
                for kind in ("server-error", "reset", "error")
                for when in ("before", "after")
            ),
        ):
            for times in (1, None):
                yield Case(
                    id=f"{operation}: {named(kind)}, {times or 'every'} time(s)",
                    job=JOB, args=READY, faults=({**kind, "times": times, "match": {"operation": operation}},),
                    exit_code=None, outcome=None, attempts=None, slack=ANY, kept=None, long=times is None,
                )  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", list(cuts(FAULTS, job=JOB, args=READY)), ids=str)
def test_every_cut_of_a_cluster(case: Case, ending: Ending) -> None:
    """Whatever fails and wherever the driver ends, no member is left."""
    check(case, ending)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", list(_answers()), ids=str)
def test_every_answer_about_clusters(case: Case, ending: Ending) -> None:
    """Whatever the API answers, once or for ever: clusters are released, or named."""
    check(case, ending)
