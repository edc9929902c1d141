"""The clock of a job: the code that ends when its time is up, and the code that does not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from rpd.errors import Interrupted, JobTimeout
from rpd.execute import alarms, deadlines
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from rpd.stop import Stop, StopLevel
from rpd.uptime import uptime
from tests.waiting import DEADLINE, wait_until


def clock(**settings: float) -> JobClock:
    return JobClock(lambda: JobTimeout("its time is up"), **settings)  # type: ignore[arg-type]


class ByHand(Alarms):
    """Alarms that ring when a test says so, however long the machine takes until then."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Callable[[], None]] = []

    def set(self, _at: float, ring: Callable[[], None]) -> Callable[[], None]:
        self._kept.append(ring)
        return lambda: self._kept.remove(ring) if ring in self._kept else None

    def ring(self) -> None:
        """Ring the one that was set first."""
        self._kept.pop(0)()


Ring = Callable[[], None]


def wait_for(condition: threading.Event) -> None:
    assert condition.wait(DEADLINE)


def spin(meanwhile: Ring = lambda: None) -> None:
    """Do something in Python until an error comes; another thread calls ``meanwhile`` once this one does so."""
    turns: list[None] = []
    threading.Thread(target=lambda: (wait_until(lambda: turns, "the loop"), meanwhile())).start()
    until = uptime() + DEADLINE
    while uptime() < until:
        turns[:] = [None]


def run(timed: JobClock, act: Callable[[Ring], object]) -> None:
    """Do ``act`` as a job; it is given a function that says that its time is up."""
    by_hand = ByHand()
    with timed.running(by_hand, 0.0):
        act(by_hand.ring)


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``time_passes(3600)``: an hour later, for alarms."""
    passed = [0.0]
    monkeypatch.setattr(alarms, "uptime", lambda: sum(passed))
    monkeypatch.setattr(alarms, "LONGEST_WAIT", 0.01)
    return passed.append


def test_an_alarm_that_came_due_while_the_machine_slept_rings(time_passes: Callable[[float], None]) -> None:
    """Its wait stands still then, and the clock does not."""
    rung = threading.Event()
    Alarms().set(3600, rung.set)
    assert not rung.wait(0.05)
    time_passes(3601.0)
    wait_for(rung)


def test_python_that_does_not_return_is_ended() -> None:
    """The error is raised where the code is, with its message."""
    with pytest.raises(JobTimeout, match="its time is up") as caught:
        run(clock(), spin)
    assert caught.traceback[-1].name == "spin"


def test_an_error_that_was_swallowed_comes_again_at_the_end() -> None:
    """A job cannot talk itself out of its time."""
    swallowed = []

    def swallow(ring: Ring) -> None:
        try:
            spin(ring)
        except JobTimeout:
            swallowed.append(True)

    with pytest.raises(JobTimeout):
        run(clock(), swallow)
    assert swallowed


def test_a_job_in_time_is_left_alone() -> None:
    """Nothing is raised, in it or after it."""
    done: list[str] = []
    run(clock(), lambda _: done.append("job"))
    assert done == ["job"]


def test_a_step_is_ended_by_its_own_function() -> None:
    """A step is not torn apart; it is asked to end, and the error gives the reason."""
    ended, timed = threading.Event(), clock()

    def send(ring: Ring) -> None:
        with timed.step(ended.set):
            ring()
            wait_for(ended)
            raise Interrupted("interrupted")

    with pytest.raises(JobTimeout) as caught:
        run(timed, send)
    assert isinstance(caught.value.__cause__, Interrupted)


def test_a_step_that_cannot_be_ended_comes_to_its_end_and_no_other_begins() -> None:
    """A pull is worth having; whatever comes after it is not done."""
    timed, done = clock(), []

    def job(ring: Ring) -> None:
        with timed.step():
            ring()
            done.append("first")
        with timed.step():
            done.append("second")

    with pytest.raises(JobTimeout):
        run(timed, job)
    assert done == ["first"]


def test_what_is_shielded_is_not_ended_in_the_middle() -> None:
    """A pod that is being rented or given back is not left half way; the error waits for its end."""
    timed, done = clock(), []

    def rent(ring: Ring) -> None:
        with timed.shielded():
            ring()
            done.append("all of it")

    with pytest.raises(JobTimeout):
        run(timed, rent)
    assert done == ["all of it"]


def test_time_in_steps_may_not_count() -> None:
    """With ``again_seconds`` a long step costs nothing; the job's own code does."""
    timed, done = clock(again_seconds=0.05), []

    def job(ring: Ring) -> None:
        with timed.shielded():
            ring()
        with timed.step():
            done.append("another")
        spin(ring)

    with pytest.raises(JobTimeout) as caught:
        run(timed, job)
    assert caught.traceback[-1].name == "spin"
    assert done == ["another"]


def test_a_job_that_stays_stuck_is_spoken_of() -> None:
    """Code that waits outside of Python cannot be ended; a notice says so."""
    done = threading.Event()
    timed = JobClock(lambda: JobTimeout("up"), done.set, patience_seconds=0.05)
    with pytest.raises(JobTimeout), timed.running(Alarms(), uptime()):
        wait_for(done)


def test_a_job_can_be_disturbed_in_its_own_code_only() -> None:
    """Its work on a pod learns of it by itself; its local code is ended."""
    timed, done = clock(), []

    def job(_: Ring) -> None:
        with timed.shielded():
            timed.disturb(Interrupted("not now"))
            done.append("step")
        spin(lambda: timed.disturb(Interrupted("Ctrl-C")))

    with pytest.raises(Interrupted, match="Ctrl-C"):
        run(timed, job)
    assert done == ["step"]


def test_time_can_be_moved() -> None:
    """Time that an earlier process took is gone."""
    timed = clock()

    def job() -> None:
        timed.move(uptime() + 0.05)
        spin()

    with pytest.raises(JobTimeout), timed.running(Alarms(), uptime() + DEADLINE):
        job()


def test_alarms_ring_in_their_order_and_cancelled_ones_not_at_all(
    time_passes: Callable[[float], None],
) -> None:
    """Whatever the order they were set in."""
    alarms, rung, all_rung = Alarms(), [], threading.Event()
    alarms.set(10, all_rung.set)
    alarms.set(8, lambda: rung.append("second"))
    cancel = alarms.set(4, lambda: rung.append("never"))
    alarms.set(6, lambda: rung.append("first"))
    cancel()
    time_passes(10)
    wait_for(all_rung)
    assert rung == ["first", "second"]


def test_a_teardown_ends_a_while_after_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes to its end is not disturbed by a stop; one that does not is ended, and its error says why."""
    stop, held = Stop(), deadlines.Deadlines()
    with held.unwinding(stop, "data", lambda: None):
        stop.request(StopLevel.END, "Ctrl-C")
    monkeypatch.setattr(deadlines, "TEARDOWN_SECONDS", 0.05)
    with (
        pytest.raises(Interrupted, match="the teardown of data went on for"),
        held.unwinding(stop, "data", lambda: None),
    ):
        spin()
    assert held.clock is None


def test_own_code_after_a_step_that_outlasted_the_time_is_ended() -> None:
    """The time is up in a step that comes to its end: the job's own code after it is ended at once."""
    held = deadlines.Deadlines()
    held.clock = clock()

    def job(ring: Ring) -> None:
        with held.timed():
            ring()
        held.check()
        spin()

    with pytest.raises(JobTimeout):
        run(held.clock, job)


AFTERWARDS = """
import sys
from rpd.errors import JobTimeout
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from rpd.uptime import uptime

clock = JobClock(lambda: JobTimeout("over"))
try:
    with clock.running(Alarms(), uptime() + 0.05):
        while True:
            pass
except JobTimeout:
    print("ended")
sys.setprofile(lambda *_: None)
(lambda: print("profiled"))()
"""


def test_nothing_is_left_of_an_exception_that_ended_a_job() -> None:
    """In a process with a profiler or a debugger, CPython 3.11 would otherwise begin no function any more."""
    done = subprocess.run(
        [sys.executable, "-c", AFTERWARDS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("ended\nprofiled\n", "")
