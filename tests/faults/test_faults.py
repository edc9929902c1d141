"""Every fault of the emulator, on a real run: no pod left, nothing lost, and a true report."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import Cause, ExitCode
from rpd.values.report import Outcome
from rpd.values.step import StepKind
from tests.faultlab.case import ANY, JOB, TWO, WAITS, Case, Ending
from tests.faultlab.driver import Driver
from tests.faultlab.invariant import check

READY = ("--ssh-ready-timeout-sec", "3")
READY_NEXT = ("--ssh-ready-timeout-sec", "10")
"""The same where another pod has to be ready within that time."""
INFRA = {"exit_code": ExitCode.FAILED, "outcome": Outcome.ERROR, "cause": Cause.INFRA}


def api(
    kind: str, operation: str, *, times: int | None = 1, after: int = 0, **params: Any
) -> Mapping[str, Any]:
    """Return a fault of the answers to one operation."""
    return {"kind": kind, "times": times, "after": after, "match": {"operation": operation}, **params}


LARGE = JOB.replace("data/blob data/blob", "data/blob" + 20 * " data/blob")
STOPS = JOB.replace("budget=", 'lifecycle=Lifecycle(on_success="stop"), budget=')

ANSWERS = [
    Case(id="create: hiccup", faults=(api("hiccup", "create"),), slack=3),
    Case(id="create: rate limit", faults=(api("rate-limit", "create"),), slack=3),
    Case(id="create: 502 before", faults=(api("server-error", "create"),), slack=20),
    Case(id="create: 502 after", faults=(api("server-error", "create", when="after"),)),
    Case(id="create: 502 after, lists fail too", faults=(
        api("server-error", "create", when="after"), api("server-error", "list", after=1, times=6)), attempts=2),
    Case(id="create: reset after", faults=(api("reset", "create", when="after"),)),
    Case(id="create: reset before", faults=(api("reset", "create"),), slack=20),
    Case(id="create: error after", faults=(api("error", "create", when="after", message="What is this?"),)),
    Case(id="create: slow after", faults=(api("slow", "create", when="after"),)),
    Case(id="create: slow before", faults=(api("slow", "create", when="before"),), slack=1),
    Case(id="create: 401", faults=(api("unauthorized", "create"),), **INFRA),
    Case(id="create: 403 in HTML", faults=(api("forbidden-html", "create"),), attempts=2),
    Case(id="create: 410", faults=(api("gone", "create"),), says="REST v2"),
    Case(id="create: anonymous", faults=(api("anonymous", "create"),), **INFRA),
    Case(id="get: 502", faults=(api("server-error", "get", times=6, after=1),)),
    Case(id="get: reset", faults=(api("reset", "get", times=2),)),
    Case(id="get: rate limit", faults=(api("rate-limit", "get"),)),
    Case(id="get: 401", faults=(api("unauthorized", "get"),), **INFRA),
    Case(id="get: 410", faults=({"kind": "gone", "match": {"operation": "get", "face": "graphql"}},), says="REST v2"),
    Case(id="terminate: 502 after", faults=(api("server-error", "terminate", when="after"),), slack=2),
    Case(id="terminate: 502 before", faults=(api("server-error", "terminate", times=3),)),
    Case(id="terminate: rate limit", faults=(api("rate-limit", "terminate", times=2),)),
    Case(id="terminate: reset after", faults=(api("reset", "terminate", when="after"),), slack=2),
    Case(id="terminate: anonymous", faults=(api("anonymous", "terminate", times=2),)),
    Case(id="terminate: 410", faults=(api("gone", "terminate"),), says="REST v2"),
    Case(id="stop: 502 after", job=STOPS, kept=1, slack=2, faults=(api("server-error", "stop", when="after"),)),
    Case(id="stop: rate limit", job=STOPS, kept=1, faults=(api("rate-limit", "stop", times=2),)),
    Case(id="terminate: 401 for ever", job=TWO, faults=(api("unauthorized", "terminate", times=None),), kept=1,
         outcome=Outcome.ERROR, cause=Cause.INFRA, exit_code=ExitCode.POD_NOT_RELEASED, says="1 not run"),
    Case(id="terminate: 401 until the end of the run", faults=(api("unauthorized", "terminate", times=5),), slack=ANY,
         says="was released after all", **INFRA),
    Case(id="terminate: never", job=TWO, faults=(api("error", "terminate", times=None),), kept=1, long=True,
         outcome=Outcome.ERROR, cause=Cause.INFRA, exit_code=ExitCode.POD_NOT_RELEASED, says="1 not run"),
]  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS, ids=str)
def test_answers_of_the_api(case: Case, ending: Ending) -> None:
    """A call that fails before or after it took effect leaves no pod and costs no result."""
    check(case, ending)


def boot(kind: str, *, times: int | None = 1, **params: Any) -> Mapping[str, Any]:
    """Return a fault of pods that boot."""
    return {"kind": kind, "times": times, **params}


def live(kind: str, *, times: int = 1, **params: Any) -> Mapping[str, Any]:
    """Return a fault that strikes the first pods once they have booted."""
    return {"kind": kind, "on": "boot", "times": times, **params}


STOCK = {"exit_code": ExitCode.FAILED, "outcome": Outcome.ERROR, "cause": Cause.STOCK}
FITS_A4000 = {"gpu": "NVIDIA RTX A4000"}

WORLD = [
    Case(id="stock-out of the first GPU", faults=(boot("stock-out", times=None, match=FITS_A4000),)),
    Case(id="stock-out of everything", faults=(boot("stock-out", times=None),), **STOCK),
    Case(id="no balance", faults=(boot("insufficient-balance", times=None),), **INFRA),
    Case(id="slow boot", faults=(boot("slow-boot", seconds=1.5),)),
    Case(id="boot too slow once", args=READY_NEXT, faults=(boot("slow-boot", seconds=30),), attempts=2),
    Case(id="no runtime once", args=READY_NEXT, faults=(boot("no-runtime"),), attempts=2),
    Case(id="no runtime ever", args=READY, faults=(boot("no-runtime", times=None),), attempts=2, **INFRA),
    Case(id="late sshd", faults=(boot("late-sshd", seconds=1.0),)),
    Case(id="no sshd once", args=READY_NEXT, faults=(boot("no-sshd"),), attempts=2),
    Case(id="no sshd ever", args=READY, faults=(boot("no-sshd", times=None),), attempts=2, **INFRA),
    Case(id="zero GPUs once", faults=(boot("zero-gpus"),), attempts=2),
    Case(id="zero GPUs ever", faults=(boot("zero-gpus", times=None),), attempts=2, **INFRA),
    Case(id="container crashes once", faults=(boot("crash-loop"),)),
    Case(id="crash loop", args=READY, faults=(boot("crash-loop", times=None),), attempts=2,
         says="exited and was restarted", **{**INFRA, "cause": Cause.CODE}),
    Case(id="disk full", faults=(boot("disk-full", size_mb=1, times=None),), kept=1, exit_code=ExitCode.FAILED,
         outcome=Outcome.FAILED, cause=Cause.CODE, says="is kept .*could not be fetched completely"),
    Case(id="SSH dropped once", faults=(live("drop-ssh", after_bytes=550_000),)),
    Case(id="SSH down while files are sent", hits=StepKind.PUT,
         faults=(live("drop-ssh", after_bytes=150_000, down_seconds=1.2),)),
    Case(id="SSH down in the middle of the log", hits=StepKind.RUN,
         faults=(live("drop-ssh", after_bytes=550_000, down_seconds=1.2),)),
    Case(id="SSH down while files are fetched", job=LARGE, hits=StepKind.PULL,
         faults=(live("drop-ssh", after_bytes=2_000_000, down_seconds=1.2),)),
    Case(id="host lost at boot", faults=(live("lose-host", status="EXITED"),), attempts=2, slack=5),
    Case(id="host lost at boot twice", faults=(live("lose-host", status="EXITED", times=2),), attempts=3, slack=10),
    Case(id="outbid at boot", faults=(live("outbid"),), attempts=2, slack=5),
]  # fmt: skip


@pytest.mark.parametrize("case", WORLD, ids=str)
def test_pods_and_their_world(case: Case, ending: Ending) -> None:
    """Failures on or around a pod are noticed, named, retried if that helps, and paid for once."""
    check(case, ending)


LOST = {"exit_code": ExitCode.FAILED, "outcome": Outcome.ERROR, "cause": Cause.LOST}
ONCE = WAITS.replace("@rpd.job", "@rpd.mark.retry(infra=0)\n@rpd.job")


def _dead_host_then_ctrl_c(emulator: Launched, driver: Driver) -> None:
    emulator.inject({"kind": "lose-host", "status": "RUNNING"})
    driver.send_signal(signal.SIGINT)


MEANWHILE = [
    Case(id="host lost while running", job=ONCE, slack=5, **LOST,
         meanwhile=lambda emulator, _driver: emulator.inject({"kind": "lose-host", "status": "EXITED"})),
    Case(id="host dead, and RunPod does not know", job=ONCE, slack=5, args=("-o", "ssh={give_up_after='3s'}"), **INFRA,
         says="did not come back within 3 s",
         meanwhile=lambda emulator, _driver: emulator.inject({"kind": "lose-host", "status": "RUNNING"})),
    Case(id="outbid while running", job=ONCE, slack=5, **LOST,
         meanwhile=lambda emulator, _driver: emulator.inject({"kind": "outbid"})),
    Case(id="balance runs out", job=ONCE, slack=5, **LOST, meanwhile=lambda emulator, _driver: emulator.set_balance(0)),
    Case(id="balance runs out, and the next try is refused", job=WAITS, slack=5, attempts=2, says="not enough credit",
         meanwhile=lambda emulator, _driver: emulator.set_balance(0), **INFRA),
    Case(id="host dead, then Ctrl-C", job=ONCE, slack=5, meanwhile=_dead_host_then_ctrl_c, long=True,
         exit_code=ExitCode.INTERRUPTED, outcome=Outcome.ERROR, cause=Cause.INTERRUPTED),
]  # fmt: skip


@pytest.mark.parametrize("case", MEANWHILE, ids=str)
def test_a_pod_that_goes_away_under_its_job(case: Case, ending: Ending) -> None:
    """A pod that is lost while its job runs is named as lost, and nothing of it stays."""
    check(case, ending)
