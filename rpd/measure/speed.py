"""Speed: steps per second from the points of a series, and the time and cost of the whole job, with intervals."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]
"""When a point was heard (s), and its step; in order of time."""

WARM_UP = 0.1
"""The first part of a measurement does not count: compilers and caches are at work."""
_BLOCKS = 8
_BURST = 200
"""Points that are closer than this part of the whole time came together."""
_T = {1: 6.31, 2: 2.92, 3: 2.35, 4: 2.13, 5: 2.02, 6: 1.94, 7: 1.89}
"""Student's t for an interval of 90 %, by degrees of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Steps per second, with an interval that holds the true value nine times out of ten at an unchanged pace."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The seconds and USD of one node, each as the likely value, the least and the most."""

    seconds: tuple[float, float, float]
    usd: tuple[float, float, float]


def longest(series: Mapping[str, Points]) -> Points:
    """Return the points of the series that has most of them: the one that tells steps best."""
    return max(series.values(), key=len, default=())


def speed_of(points: Points) -> Speed | None:
    """Return the speed of steps; None if the points are too few to tell.

    The time is cut into blocks of equal length; each has its own speed, and their spread makes the interval.
    """
    if len(points) < 3:
        return None
    begin = points[0][0] + (points[-1][0] - points[0][0]) * WARM_UP
    kept = _arrivals([point for point in points if point[0] >= begin])
    if len(kept) < 3 or kept[-1][0] <= kept[0][0] or kept[-1][1] <= kept[0][1]:
        return None
    whole = (kept[-1][1] - kept[0][1]) / (kept[-1][0] - kept[0][0])
    rates = _rates(kept)
    if len(rates) < 2:
        return Speed(mean=whole, low=whole / 2, high=whole * 2)
    half = _T.get(len(rates) - 1, 1.9) * statistics.stdev(rates) / math.sqrt(len(rates))
    return Speed(mean=whole, low=max(whole - half, whole / 10), high=whole + half)


def _arrivals(points: Points) -> list[tuple[float, float]]:
    """Return the last point of each burst: points come some at a time, twice a second."""
    kept: list[tuple[float, float]] = []
    if points:
        gap = (points[-1][0] - points[0][0]) / _BURST
        begin = -math.inf
        for point in points:
            if point[0] - begin > gap:
                begin = point[0]
                kept.append(point)
            else:
                kept[-1] = point
    return kept


def _rates(points: Points) -> list[float]:
    """Return the speed in each block of time that has an end and a beginning."""
    first, last = points[0][0], points[-1][0]
    length = (last - first) / _BLOCKS
    ends = [points[0]]
    for number in range(1, _BLOCKS + 1):
        limit = first + number * length
        end = next((point for point in reversed(points) if point[0] <= limit + 1e-9), points[0])
        if end[0] - ends[-1][0] > length / 2:
            ends.append(end)
    return [(after[1] - before[1]) / (after[0] - before[0]) for before, after in itertools.pairwise(ends)]


def forecast(speed: Speed, *, steps: float, overhead: float, usd_per_hr: float) -> Forecast:
    """Return time and cost of ``steps`` steps at that speed plus ``overhead`` seconds (boot, staging, start)."""
    seconds = tuple(overhead + steps / each for each in (speed.mean, speed.high, speed.low))
    likely, least, most = seconds
    per_second = usd_per_hr / 3600
    return Forecast(
        seconds=(likely, least, most), usd=(likely * per_second, least * per_second, most * per_second)
    )
