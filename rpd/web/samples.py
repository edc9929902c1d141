"""Samples: what a node measured while it ran, thinned out to what a picture can show."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rpd.disk.nested import is_deeper
from rpd.disk.regular import lines_of
from rpd.journal import series
from rpd.web.clean import Clean, moment

_LONGEST_LINE = 1 << 20
MOST_BYTES = 64 << 20
"""Of a longer file, what comes after is not shown."""
MOST_SERIES = 60
"""Curves of one node."""
_DEEPEST = 8


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, one a line. What is none is passed over, and so is what cannot be read."""
    read = 0
    try:
        for line in lines_of(path, _LONGEST_LINE):
            read += len(line)
            if read > MOST_BYTES:
                return
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(document, dict) and not is_deeper(document, _DEEPEST):
                yield document
    except OSError:
        return


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


# --- telemetry --------------------------------------------------------------------------------------------------------


def strip(path: Path, buckets: int) -> dict[str, Any] | None:
    """Return how busy the GPUs of a node's pods were, in at most ``buckets`` pieces of equal length.

    ``from`` and ``to`` are seconds since 1970; ``util`` is the mean of all GPUs in percent and ``mem`` the memory of
    the fullest one in percent, None where nothing was measured; ``mean_util`` (percent), ``peak_mb`` and ``total_mb``
    are of the whole time, ``idle_seconds`` how long the GPUs did nothing. None where there is no GPU sample.
    """
    taken = [sample for measured in _objects(path) if (sample := _sample(measured)) is not None]
    if not taken:
        return None
    taken.sort(key=lambda sample: sample[0])
    first, last = taken[0][0], taken[-1][0]
    count = min(buckets, len(taken))
    width = (last - first) / count or 1.0
    util: list[list[float]] = [[] for _ in range(count)]
    mem: list[list[float]] = [[] for _ in range(count)]
    for at, busy, used, total in taken:
        place = min(count - 1, int((at - first) / width))
        if busy is not None:
            util[place].append(busy)
        if used is not None and total:
            mem[place].append(100.0 * used / total)
    all_util = [busy for _, busy, _, _ in taken if busy is not None]
    return {
        "from": first,
        "to": last,
        "util": [round(sum(measured) / len(measured)) if measured else None for measured in util],
        "mem": [round(max(measured)) if measured else None for measured in mem],
        "mean_util": round(sum(all_util) / len(all_util), 1) if all_util else None,
        "peak_mb": max((used for _, _, used, _ in taken if used is not None), default=None),
        "total_mb": max((total for _, _, _, total in taken if total is not None), default=None),
        "idle_seconds": round(_idle(taken), 1),
    }


_Sample = tuple[float, float | None, float | None, float | None]


def _sample(document: dict[str, Any]) -> _Sample | None:
    """Return when it was, the mean utilisation, and used and whole memory of the fullest GPU."""
    at, gpus = moment(document.get("at")), document.get("gpus")
    if at is None or not isinstance(gpus, list):
        return None
    known = [gpu for gpu in gpus if isinstance(gpu, dict)]
    busy = [value for gpu in known if (value := _number(gpu.get("utilization"))) is not None]
    used = [
        (value, _number(gpu.get("memory_total_mb")))
        for gpu in known
        if (value := _number(gpu.get("memory_used_mb"))) is not None
    ]
    if not busy and not used:
        return None
    fullest = max(used, key=lambda pair: pair[0], default=(None, None))
    mean = sum(_percent(value) for value in busy) / len(busy) if busy else None
    return at, mean, *fullest


def _percent(value: float) -> float:
    return min(100.0, max(0.0, value))


def _idle(taken: Sequence[_Sample]) -> float:
    """Return for how many seconds the GPUs did nothing, taking a sample to hold until the next one."""
    return sum(
        after[0] - before[0] for before, after in pairwise(taken) if before[1] is not None and before[1] < 1.0
    )


# --- series -----------------------------------------------------------------------------------------------------------


def curves(path: Path, points: int, clean: Clean) -> dict[str, list[list[float]]]:
    """Return what a node logged while it ran: name of a series to its ``[steps, values]``, ``points`` at most of each.

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
