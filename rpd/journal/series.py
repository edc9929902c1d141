"""The file of series: metrics of a node's commands over time, one JSON object per line.

A line is ``{"step": 3, "time": "…", "values": {"loss": 0.1}}``, with ``"attempt": 2`` in a second attempt.
NaN and infinities are the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, because JSON has no such
numbers. Of two values of one series at one step the later counts: after the loss of a host, its last steps
are repeated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rpd.disk.regular import lines_of
from rpd.values.series import Point, number

SERIES_FILE = "series.jsonl"
LONGEST_LINE = 1 << 20
MOST_BYTES = 64 << 20
"""The rest of a longer file is not read."""
MOST_NAMES = 1000


class Line(NamedTuple):
    """The values of one step and attempt."""

    step: float
    attempt: int
    values: Mapping[str, float]


Curve = dict[float, float]
"""Step -> value, in the order of steps."""


def text_of(line: Line, at: str) -> str:
    """Return a line of the file; ``at`` is the time of arrival (UTC, ISO 8601)."""
    values = {name: value if math.isfinite(value) else _odd(value) for name, value in line.values.items()}
    attempt = {"attempt": line.attempt} if line.attempt > 1 else {}
    return json.dumps({"step": line.step, "time": at, **attempt, "values": values}, separators=(",", ":"))


def _odd(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file, skipping invalid ones; nothing if the file cannot be read."""
    read = 0
    try:
        for counted, data in enumerate(lines_of(path, LONGEST_LINE)):
            read += len(data)
            if read > MOST_BYTES:
                return
            if (line := _line(data, counted)) is not None:
                yield line
    except OSError:
        return


def _line(data: bytes, counted: int) -> Line | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("values"), dict):
        return None
    step, attempt = number(document.get("step", counted)), document.get("attempt", 1)
    values = {name: value for name, text in document["values"].items() if (value := number(text)) is not None}
    if step is None or not math.isfinite(step) or not values:
        return None
    return Line(int(step) if step.is_integer() else step, attempt if isinstance(attempt, int) else 1, values)


def read(path: Path) -> dict[str, Curve]:
    """Return the series in a file, by name, each in the order of steps; empty if there is no file."""
    curves: dict[str, Curve] = {}
    for line in lines(path):
        for name, value in line.values.items():
            if name in curves or len(curves) < MOST_NAMES:
                curves.setdefault(name, {})[line.step] = value
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def points(line: Line) -> Iterator[Point]:
    """Yield the values of a line, one by one."""
    for name, value in line.values.items():
        yield Point(name, line.step, value)
