"""The pace of calls, on a clock that moves only when somebody waits."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import NoCapacity, RateLimited, TransientError
from rpd.runpod.rate_limit import LONGEST_HOLD, Retry, TokenBucket, heed
from tests.clock import Clock


def bucket(clock: Clock, rate: float = 10.0, burst: int = 20) -> TokenBucket:
    return TokenBucket(rate, burst, clock=clock, sleep=clock.sleep)


def test_a_burst_passes_at_once_and_then_the_rate_holds() -> None:
    """Twenty calls go out at once, the next hundred take ten seconds."""
    clock = Clock()
    made = bucket(clock)
    for _ in range(20):
        made.take()
    assert clock.now == pytest.approx(0)
    for _ in range(100):
        made.take()
    assert clock.now == pytest.approx(10.0)


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 5))
def test_no_window_holds_more_than_burst_and_rate_allow(pauses: list[float], burst: int) -> None:
    """However calls come, any stretch of time sees at most the burst and the calls that the rate adds."""
    clock = Clock()
    made = bucket(clock, rate=2.0, burst=burst)
    passed = []
    for pause in pauses:
        clock.now += pause
        made.take()
        passed.append(clock.now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + 2.0 * (passed[last] - passed[first]) + 1e-6


def test_answers_set_the_pace() -> None:
    """Told that there are too many calls, half as many pass, never less than one a second; then it recovers."""
    clock = Clock()
    made = bucket(clock, rate=10.0, burst=20)
    made.slow_down()
    made.take()
    began = clock.now
    for _ in range(5):
        made.take()
    assert clock.now - began == pytest.approx(5 * 0.2, rel=0.1)
    for _ in range(10):
        made.slow_down()
    began = clock.now
    made.take()
    made.take()
    assert clock.now - began <= 2.0
    for _ in range(300):
        made.take()
    began = clock.now
    for _ in range(10):
        made.take()
    assert clock.now - began == pytest.approx(1.0)


def test_a_hold_stops_everybody_for_as_long_as_is_sensible() -> None:
    """RunPod's wish to wait is kept by all calls, up to a minute."""
    clock = Clock()
    made = bucket(clock)
    made.hold(7)
    made.take()
    assert clock.now >= 7
    made.hold(3600)
    made.take()
    assert clock.now <= 8 + LONGEST_HOLD


def test_what_is_left_of_a_window_is_spread_over_its_rest() -> None:
    """The first half of a window passes as it comes; the rest lasts until the window ends, and no longer."""
    clock = Clock()
    made = bucket(clock, rate=10.0, burst=60)
    for left in range(59, 30, -1):
        made.take()
        heed(made, 200, {"RateLimit": f'"minute";r={left};t=40, "hour";r=20;t=3000'})
    assert clock.now == 0
    heed(made, 200, {"RateLimit": '"minute";r=20;t=40'})
    for _ in range(10):
        made.take()
    assert clock.now == pytest.approx(20, abs=2)
    clock.now = 100.0
    for _ in range(40):
        made.take()
    assert clock.now == 100.0


def test_a_window_that_is_used_up_is_waited_for() -> None:
    """All calls wait until it ends; a 429 halves the pace, and says how long to wait."""
    clock = Clock()
    holds: list[float] = []
    made = bucket(clock)
    made.on_hold = holds.append
    heed(made, 200, {"RateLimit": '"minute";r=0;t=12'})
    made.take()
    assert clock.now >= 12
    heed(made, 429, {"Retry-After": "7", "RateLimit": '"minute";r=0;t=50'})
    assert holds == [12.0, 7.0]
    heed(made, 200, {"RateLimit": "nonsense"})
    heed(made, 200, {})


def test_threads_share_one_bucket() -> None:
    """Calls from several threads together keep the rate."""
    waits: list[float] = []
    made = TokenBucket(10.0, 5, clock=lambda: 0.0, sleep=waits.append)
    threads = [threading.Thread(target=made.take) for _ in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(wait, 6) for wait in waits) == [round(0.1 * n, 6) for n in range(1, 11)]


def failing(*errors: Exception) -> tuple[list[Exception], object]:
    left = list(errors)

    def act() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return left, act


def test_hiccups_are_tried_again_with_growing_waits() -> None:
    """Each wait is about twice the last one."""
    waits: list[float] = []
    _, act = failing(*[TransientError("x")] * 3)
    assert Retry(sleep=waits.append).call(act) == "done"  # type: ignore[arg-type]
    assert len(waits) == 3
    for n, wait in enumerate(waits):
        assert 0.5 * 2**n * 0.5 <= wait <= 0.5 * 2**n * 1.5


def test_the_last_hiccup_is_raised() -> None:
    """After the tries are used up the error reaches the caller."""
    left, act = failing(*[TransientError(str(n)) for n in range(9)])
    with pytest.raises(TransientError, match="3"):
        Retry(sleep=lambda _: None).call(act)  # type: ignore[arg-type]
    assert len(left) == 5


@pytest.mark.parametrize("error", [NoCapacity("x"), RateLimited("x", retry_after=3600)])
def test_what_waiting_does_not_mend_is_raised_at_once(error: Exception) -> None:
    """A stock-out is not a hiccup, and an hour is too long to wait without a word."""
    waits: list[float] = []
    _, act = failing(error)
    with pytest.raises(type(error)):
        Retry(sleep=waits.append).call(act)  # type: ignore[arg-type]
    assert waits == []
