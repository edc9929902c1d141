"""Steps a second from points that come in bursts, and the forecast from them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.measure.speed import Speed, forecast, longest, speed_of


def points(
    rate: float, seconds: float, *, burst: float = 0.5, noise: float = 0.0
) -> list[tuple[float, float]]:
    """Points of a job that makes ``rate`` steps a second; they are heard every ``burst`` seconds, together."""
    heard: list[tuple[float, float]] = []
    step, shaken = 0, random.Random(1)
    at = 0.0
    while at < seconds:
        step += 1
        at += max(0.0, (1 + shaken.gauss(0, noise)) / rate)
        heard.append((-(-at // burst) * burst + step * 1e-7, step))
    return heard


@pytest.mark.parametrize(("rate", "seconds"), [(20.0, 60.0), (200.0, 60.0), (0.5, 60.0), (20.0, 10.0)])
def test_the_speed_is_found_and_its_interval_holds_it(rate: float, seconds: float) -> None:
    speed = speed_of(points(rate, seconds, noise=0.2))
    assert speed is not None
    assert speed.mean == pytest.approx(rate, rel=0.1)
    assert speed.low <= rate <= speed.high * 1.05
    assert speed.high < rate * 1.6


def test_a_slow_start_does_not_count() -> None:
    """A compiler that takes the first seconds makes no job slower than it is."""
    slow = [(second, second) for second in range(6)]
    fast = [(6 + number * 0.1, 5 + number) for number in range(1, 541)]
    speed = speed_of([(float(at), float(step)) for at, step in slow + fast])
    assert speed is not None
    assert speed.mean == pytest.approx(10, rel=0.01)


def test_too_little_tells_nothing() -> None:
    assert speed_of([]) is None
    assert speed_of([(0, 1), (1, 2)]) is None
    assert speed_of([(0, 5), (10, 5), (20, 5), (30, 5)]) is None
    assert longest({"loss": [(0, 1), (1, 2)], "val": [(0, 1)]}) == [(0, 1), (1, 2)]


def test_a_forecast_has_the_overhead_once_and_the_interval_the_right_way_round() -> None:
    told = forecast(Speed(mean=10, low=5, high=20), steps=36_000, overhead=100, usd_per_hr=3.6)
    assert told.seconds == (3700, 1900, 7300)
    assert told.usd == pytest.approx((3.7, 1.9, 7.3))


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e6)), max_size=30))
def test_no_points_break_it(raw: list[tuple[float, float]]) -> None:
    """Steps that go back, points at one moment: a speed is positive and lies in its interval, or is None."""
    speed = speed_of(sorted(raw, key=lambda point: point[0]))
    if speed is not None:
        assert 0 < speed.low <= speed.mean <= speed.high
