"""The clock of a job: what ends when its time is up, and what does not."""

from __future__ import annotations

import threading
import time

import pytest

from rpd.errors import Interrupted, JobTimeout
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from tests.waiting import DEADLINE


def clock(**settings: float) -> JobClock:
    return JobClock(lambda: JobTimeout("its time is up"), **settings)  # type: ignore[arg-type]


def soon() -> float:
    return time.monotonic() + 0.05


def wait_for(condition: threading.Event) -> None:
    assert condition.wait(DEADLINE)


def spin() -> None:
    """Do something in Python until an error comes."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        pass


def test_python_that_does_not_return_is_ended() -> None:
    """The error is raised where the code is, with its message."""
    with pytest.raises(JobTimeout, match="its time is up") as caught, clock().running(Alarms(), soon()):
        spin()
    assert caught.traceback[-1].name == "spin"


def test_an_error_that_was_swallowed_comes_again_at_the_end() -> None:
    """A job cannot talk itself out of its time."""
    swallowed = False
    with pytest.raises(JobTimeout), clock().running(Alarms(), soon()):
        try:
            spin()
        except JobTimeout:
            swallowed = True
    assert swallowed


def test_a_job_in_time_is_left_alone() -> None:
    """Nothing is raised, in it or after it."""
    with clock().running(Alarms(), time.monotonic() + DEADLINE):
        pass


def test_a_step_is_ended_by_its_own_function() -> None:
    """What a step does is not torn apart; it is asked to end, and the error tells why it was."""
    ended = threading.Event()
    timed = clock()
    with pytest.raises(JobTimeout) as caught, timed.running(Alarms(), soon()), timed.step(ended.set):
        wait_for(ended)
        raise Interrupted("interrupted")
    assert isinstance(caught.value.__cause__, Interrupted)


def test_a_step_that_cannot_be_ended_comes_to_its_end_and_no_other_begins() -> None:
    """A pull is worth having; whatever comes after it is not done."""
    timed, alarms = clock(), Alarms()
    done: list[str] = []
    with pytest.raises(JobTimeout), timed.running(alarms, soon()):
        with timed.step():
            rung = threading.Event()
            alarms.set(soon(), rung.set)
            wait_for(rung)
            done.append("first")
        with timed.step():
            done.append("second")
    assert done == ["first"]


def test_what_is_shielded_is_not_ended_in_the_middle() -> None:
    """A pod that is being rented or given back is not left half way; the error waits for its end."""
    timed, alarms = clock(), Alarms()
    done = []
    with pytest.raises(JobTimeout), timed.running(alarms, soon()), timed.shielded():
        rung = threading.Event()
        alarms.set(soon() + 0.05, rung.set)
        wait_for(rung)
        done.append("all of it")
    assert done == ["all of it"]


def test_time_in_steps_may_not_count() -> None:
    """With ``again_seconds`` a long step costs nothing; code of its own does."""
    timed, alarms = clock(again_seconds=0.05), Alarms()
    with pytest.raises(JobTimeout) as caught, timed.running(alarms, soon()):
        with timed.shielded():
            rung = threading.Event()
            alarms.set(soon() + 0.1, rung.set)
            wait_for(rung)
        spin()
    assert caught.traceback[-1].name == "spin"


def test_a_job_that_stays_stuck_is_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that waits outside of Python cannot be ended; somebody is told."""
    monkeypatch.setattr("rpd.execute.clock.STUCK_SECONDS", 0.05)
    told = threading.Event()
    timed = JobClock(lambda: JobTimeout("up"), told.set)
    with pytest.raises(JobTimeout), timed.running(Alarms(), soon()):
        wait_for(told)


def test_time_can_be_moved() -> None:
    """Time that an earlier process took is gone."""
    timed = clock()
    with pytest.raises(JobTimeout), timed.running(Alarms(), time.monotonic() + DEADLINE):
        timed.move(soon())
        spin()


def test_alarms_ring_in_their_order_and_cancelled_ones_not_at_all() -> None:
    """Whatever the order they were set in."""
    alarms, rung, all_rung = Alarms(), [], threading.Event()
    now = time.monotonic()
    alarms.set(now + 0.10, all_rung.set)
    alarms.set(now + 0.08, lambda: rung.append("second"))
    cancel = alarms.set(now + 0.04, lambda: rung.append("never"))
    alarms.set(now + 0.06, lambda: rung.append("first"))
    cancel()
    wait_for(all_rung)
    assert rung == ["first", "second"]
