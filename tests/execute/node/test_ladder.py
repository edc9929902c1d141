"""From exceptions to outcomes: every kind of error, in the job and around it, and which of them end the run."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rpd.errors import (
    AuthError,
    Cause,
    CommandFailed,
    CommandTimeout,
    ConnectionLost,
    Interrupted,
    LocalError,
    OutOfMemory,
    OutOfStock,
    PodLost,
    PodNotReady,
    Pruned,
    ReleaseError,
    RequestRejected,
    RpdError,
    TransferBroken,
    TransferError,
)
from rpd.execute.context import RunContext
from rpd.execute.node.ladder import Ladder
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.verdict import PASSED, Verdict
from rpd.execute.scopes import TeardownError
from rpd.execute.user_tracebacks import SHORT
from rpd.pipeline.orphans import Claim, note_stop_asked
from rpd.redaction import Redactor
from rpd.stop import Stop, StopLevel
from rpd.values.pod import PodInfo, PodStatus
from rpd.values.report import Failure, Outcome
from rpd.values.skip_and_fail import Failed, Skipped

FULL = OSError(errno.ENOSPC, "No space left on device")
RUN = cast(
    "NodeRun",
    SimpleNamespace(
        log=SimpleNamespace(tail=("last line",)),
        results=SimpleNamespace(sent=()),
        use=SimpleNamespace(leases=()),
    ),
)


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def ladder(stop: Stop, tmp_path: Path) -> Ladder:
    """Of a run that knows one secret."""
    parts: dict[str, Any] = {
        "stop": stop,
        "redactor": Redactor(["hush-hush"]),
        "rootdir": tmp_path,
        "trace_style": SHORT,
    }
    return Ladder(cast("RunContext", SimpleNamespace(**parts)))


@pytest.mark.parametrize(
    ("error", "in_job", "around", "cause"),
    [
        (ValueError("no"), Outcome.FAILED, Outcome.ERROR, Cause.CODE),
        (Failed("no"), Outcome.FAILED, Outcome.ERROR, Cause.CODE),
        (MemoryError(), Outcome.ERROR, Outcome.ERROR, Cause.LOCAL),
        (CommandFailed("false", 1), Outcome.FAILED, Outcome.ERROR, Cause.CODE),
        (CommandTimeout("sleep 9", 1.0), Outcome.FAILED, Outcome.ERROR, Cause.TIMEOUT),
        (OutOfMemory("python", 137), Outcome.FAILED, Outcome.ERROR, Cause.OOM),
        (TransferError("no"), Outcome.FAILED, Outcome.ERROR, Cause.CODE),
        (TransferBroken("cut"), Outcome.ERROR, Outcome.ERROR, Cause.INFRA),
        (ConnectionLost("away"), Outcome.ERROR, Outcome.ERROR, Cause.INFRA),
        (PodLost("gone"), Outcome.ERROR, Outcome.ERROR, Cause.LOST),
        (PodNotReady("late"), Outcome.ERROR, Outcome.ERROR, Cause.INFRA),
        (OutOfStock("none"), Outcome.ERROR, Outcome.ERROR, Cause.STOCK),
        (RequestRejected("no"), Outcome.ERROR, Outcome.ERROR, Cause.INFRA),
        (LocalError("no"), Outcome.ERROR, Outcome.ERROR, Cause.LOCAL),
        (FULL, Outcome.ERROR, Outcome.ERROR, Cause.LOCAL),
        (OSError(errno.ENOENT, "no such file"), Outcome.FAILED, Outcome.ERROR, Cause.CODE),
        (Interrupted("Ctrl-C"), Outcome.ERROR, Outcome.ERROR, Cause.INTERRUPTED),
        (KeyboardInterrupt(), Outcome.ERROR, Outcome.ERROR, Cause.INTERRUPTED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_has_an_outcome_and_a_cause(
    ladder: Ladder, error: BaseException, in_job: Outcome, around: Outcome, cause: Cause
) -> None:
    """What the job did is a failure, and an error where it happens around the job; what others did is an error anywhere."""
    for is_in_job, outcome in ((True, in_job), (False, around)):
        verdict = ladder.judge(RUN, error, in_job=is_in_job)
        assert (verdict.outcome, verdict.cause, verdict.error) == (outcome, cause, error)
        assert verdict.failure is not None
        assert verdict.failure.log_tail == ("last line",)


@pytest.mark.parametrize("keep_disk", [True, False])
def test_a_pod_that_somebody_released_is_not_lost(ladder: Ladder, tmp_path: Path, keep_disk: bool) -> None:
    """``rpd stop`` notes it in the journal of the run; the node ends, and no other pod is rented for it."""
    left: list[str] = []
    leases = [
        SimpleNamespace(name=name, sent={}, leave_stopped=partial(left.append, name), ended_by_user="")
        for name in ("rpd-a", "rpd-b")
    ]
    run = cast("NodeRun", SimpleNamespace(**{**vars(RUN), "use": SimpleNamespace(leases=leases)}))
    ladder._context.files = SimpleNamespace(journal=tmp_path / "events.jsonl")  # type: ignore[misc,assignment]
    assert ladder.judge(run, PodLost("gone"), in_job=True).cause is Cause.LOST
    claim = Claim(run="r", folder=tmp_path, node="n", is_driven=True)
    pod = PodInfo(id="p2", name="rpd-b", status=PodStatus.RUNNING)
    note_stop_asked(claim, pod, keep_disk=keep_disk)
    verdict = ladder.judge(run, PodLost("gone"), in_job=True)
    assert (verdict.outcome, verdict.cause) == (Outcome.ERROR, Cause.INTERRUPTED)
    assert verdict.reason == "pod p2 was released by rpd stop"
    assert left == (["rpd-b"] if keep_disk else [])


def test_a_pod_that_was_stopped_in_the_console_is_not_lost(ladder: Ladder, tmp_path: Path) -> None:
    """Else another one would be rented at once."""
    pod = PodInfo(id="p1", name="rpd-a", status=PodStatus.EXITED)
    lease = SimpleNamespace(name="rpd-a", rented=pod, sent={}, ended_by_user="Exited by user: Fri")
    run = cast("NodeRun", SimpleNamespace(**{**vars(RUN), "use": SimpleNamespace(leases=[lease])}))
    ladder._context.files = SimpleNamespace(journal=tmp_path / "events.jsonl")  # type: ignore[misc,assignment]
    verdict = ladder.judge(run, PodLost("gone"), in_job=True)
    assert (verdict.outcome, verdict.cause) == (Outcome.ERROR, Cause.INTERRUPTED)
    assert verdict.reason == "pod p1 was ended by your account, not by this run: Exited by user: Fri"


def test_skipped_and_pruned_are_no_failures(ladder: Ladder, stop: Stop) -> None:
    """Each with its reason, without a traceback, and the run goes on."""
    skipped = ladder.judge(RUN, Skipped("not today"), in_job=True)
    pruned = ladder.judge(RUN, Pruned("behind, hush-hush"), in_job=True)
    assert skipped == Verdict(Outcome.SKIPPED, None, "not today")
    assert (pruned.outcome, pruned.cause, pruned.reason) == (Outcome.PRUNED, None, "behind, ***")
    assert skipped.failure is pruned.failure is None
    assert stop.level is StopLevel.NONE


@pytest.mark.parametrize(
    ("error", "level", "reason"),
    [
        (ValueError("no"), StopLevel.NONE, ""),
        (PodLost("gone"), StopLevel.NONE, ""),
        (AuthError("no key"), StopLevel.DRAIN, "no key"),
        (ReleaseError("p1", "rpd-1", "why"), StopLevel.DRAIN, "pod p1 may still bill"),
        (FULL, StopLevel.DRAIN, "a disk of this machine is full"),
        (LocalError("cannot write", FULL), StopLevel.DRAIN, "cannot write: No space left"),
        (KeyboardInterrupt(), StopLevel.END, "KeyboardInterrupt in a job"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_errors_that_every_other_node_would_meet_stop_the_run(
    ladder: Ladder, stop: Stop, error: BaseException, level: StopLevel, reason: str
) -> None:
    """Nothing new is started then; a Ctrl-C that a job caught itself ends what runs, too."""
    ladder.judge(RUN, error, in_job=True)
    assert stop.level is level
    assert reason in stop.reason


def test_an_error_after_the_pods_were_given_up_is_an_interrupt(ladder: Ladder, stop: Stop) -> None:
    """Whatever it says follows from that; a failure of the job's own stays one."""
    stop.request(StopLevel.ABANDON, "interrupted by SIGINT twice")
    lost = ladder.judge(RUN, ConnectionLost("away"), in_job=True)
    own = ladder.judge(RUN, ValueError("no"), in_job=True)
    assert (lost.cause, lost.reason) == (Cause.INTERRUPTED, "interrupted by SIGINT twice")
    assert (own.outcome, own.cause) == (Outcome.FAILED, Cause.CODE)


def test_a_reason_names_the_kind_of_error_and_no_secret(ladder: Ladder) -> None:
    """Errors of rpd and ``rpd.fail`` speak for themselves."""
    said = [
        ladder.judge(RUN, error, in_job=True).reason
        for error in (ValueError("hush-hush"), ValueError(), Failed("no"))
    ]
    assert said == ["ValueError: ***", "ValueError", "no"]


def torn(error: BaseException, name: str = "data") -> TeardownError:
    return TeardownError(fixture=cast("Any", SimpleNamespace(name=name)), error=error, user=RUN)


def test_a_teardown_turns_a_pass_into_an_error(ladder: Ladder) -> None:
    """All are named; the cause is the platform's, if it is the platform's doing."""
    assert ladder.with_teardown(PASSED, []) is PASSED
    verdict = ladder.with_teardown(
        PASSED, [torn(ValueError("a")), torn(ReleaseError("p1", "rpd-1", "why"), "pod")]
    )
    assert (verdict.outcome, verdict.cause) == (Outcome.ERROR, Cause.INFRA)
    assert verdict.reason.startswith("teardown of data: ValueError: a; teardown of pod: ")
    assert isinstance(verdict.error, RpdError)
    assert ladder.with_teardown(PASSED, [torn(ValueError("a"))]).cause is Cause.CODE
    assert ladder.with_teardown(PASSED, [torn(FULL)]).cause is Cause.LOCAL


def test_a_teardown_adds_to_a_failure(ladder: Ladder) -> None:
    """Its outcome and cause stay."""
    failed = Verdict(Outcome.FAILED, Cause.OOM, "out of memory", Failure(place="a:1"))
    verdict = ladder.with_teardown(failed, [torn(ValueError("a"))])
    assert (verdict.outcome, verdict.cause) == (Outcome.FAILED, Cause.OOM)
    assert verdict.reason == "out of memory; teardown of data: ValueError: a"
    assert verdict.failure == Failure(place="a:1", teardown=("teardown of data: ValueError: a",))
