"""Samples: the measurements of a node, thinned out to the resolution of a chart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rpd.journal import series
from rpd.record import telemetry
from rpd.web.clean import Clean

MOST_SERIES = 60
"""Curves of one node."""


# --- telemetry --------------------------------------------------------------------------------------------------------


def strip(path: Path, buckets: int) -> dict[str, Any] | None:
    """Return the utilisation of the GPUs of a node's pods, in at most ``buckets`` pieces of equal length.

    ``from`` and ``to`` are seconds since 1970; ``util`` is the mean of all GPUs in percent and ``mem`` the
    memory of the fullest one in percent, None for a piece without samples; ``mean_util`` (percent),
    ``peak_mb`` and ``total_mb`` are of the whole time, ``idle_seconds`` is the time in which the GPUs were
    idle. None without GPU samples.
    """
    taken = telemetry.read(path)
    if not taken:
        return None
    first, last = taken[0].at, taken[-1].at
    count = min(buckets, len(taken))
    width = (last - first) / count or 1.0
    util: list[list[float]] = [[] for _ in range(count)]
    mem: list[list[float]] = [[] for _ in range(count)]
    for sample in taken:
        place = min(count - 1, int((sample.at - first) / width))
        if sample.busy is not None:
            util[place].append(sample.busy)
        if sample.used_mb is not None and sample.total_mb:
            mem[place].append(100.0 * sample.used_mb / sample.total_mb)
    all_util = [sample.busy for sample in taken if sample.busy is not None]
    return {
        "from": first,
        "to": last,
        "util": [round(sum(measured) / len(measured)) if measured else None for measured in util],
        "mem": [round(max(measured)) if measured else None for measured in mem],
        "mean_util": round(sum(all_util) / len(all_util), 1) if all_util else None,
        "peak_mb": max((each.used_mb for each in taken if each.used_mb is not None), default=None),
        "total_mb": max((each.total_mb for each in taken if each.total_mb is not None), default=None),
        "idle_seconds": round(telemetry.idle_seconds(taken), 1),
    }


# --- series -----------------------------------------------------------------------------------------------------------


def curves(path: Path, points: int, clean: Clean) -> dict[str, list[list[float]]]:
    """Return the series that a node logged: from name to ``[steps, values]``, with ``points`` at most each.

    NaN and infinities are left out: a picture has no place for them.
    """
    drawn: dict[str, list[list[float]]] = {}
    for name, curve in series.read(path).items():
        taken = [(step, value) for step, value in curve.items() if math.isfinite(value)]
        if taken and len(drawn) < MOST_SERIES:
            drawn[clean.text(name)] = _thinned(taken, points)
    return drawn


def _thinned(taken: list[tuple[float, float]], points: int) -> list[list[float]]:
    """Return steps and values in order: of each piece of a long curve the lowest and the highest point."""
    taken.sort(key=lambda pair: pair[0])
    if len(taken) > points:
        pieces = max(1, points // 2)
        size = len(taken) / pieces
        kept: list[tuple[float, float]] = []
        for piece in range(pieces):
            part = taken[int(piece * size) : int((piece + 1) * size)]
            if part:
                ends = {min(part, key=lambda pair: pair[1]), max(part, key=lambda pair: pair[1])}
                kept += sorted(ends)
        if kept[-1] != taken[-1]:
            kept.append(taken[-1])
        taken = kept
    return [[_short(step) for step, _ in taken], [_short(value) for _, value in taken]]


def _short(value: float) -> float:
    """Return a number as short as a picture needs it."""
    number = float(f"{value:.7g}")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number
