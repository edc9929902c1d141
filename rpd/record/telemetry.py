"""Telemetry as a node's folder has it: how busy its GPUs were, moment by moment."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rpd.disk.nested import is_deeper
from rpd.disk.regular import lines_of
from rpd.values.frozen import frozen
from rpd.values.moments import moment

FILE_NAME = "metrics.jsonl"
MOST_BYTES = 64 << 20
"""Of a longer file, what comes after is not read."""
IDLE_BELOW = 1.0
"""Percent: GPUs that are less busy on average do nothing."""
_LONGEST_LINE = 1 << 20
_DEEPEST = 8


@frozen(kw_only=False)
class Moment:
    """The GPUs of a pod at one moment (s since 1970): average load (percent), and memory of the fullest.

    ``used_mb`` and ``total_mb`` are MiB. Missing measurements are None.
    """

    at: float
    busy: float | None
    used_mb: float | None
    total_mb: float | None
    gpus: int = 1

    @property
    def is_idle(self) -> bool:
        """Whether the GPUs are known to do nothing."""
        return self.busy is not None and self.busy < IDLE_BELOW


def read(path: Path) -> list[Moment]:
    """Return the GPU samples of a file in order of time, skipping invalid lines."""
    taken = [sample for measured in _objects(path) if (sample := _moment_of(measured)) is not None]
    return sorted(taken, key=lambda sample: sample.at)


def idle_seconds(taken: Sequence[Moment]) -> float:
    """Return for how many seconds the GPUs did nothing, taking a sample to hold until the next one."""
    return sum(after.at - before.at for before, after in pairwise(taken) if before.is_idle)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, one per line.

    Skip invalid lines; yield nothing if the file cannot be read.
    """
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


def _moment_of(document: dict[str, Any]) -> Moment | None:
    at, gpus = moment(document.get("at")), document.get("gpus")
    if at is None or not isinstance(gpus, list):
        return None
    sound = [gpu for gpu in gpus if isinstance(gpu, dict)]
    busy = [value for gpu in sound if (value := _number(gpu.get("utilization"))) is not None]
    used = [
        (value, _number(gpu.get("memory_total_mb")))
        for gpu in sound
        if (value := _number(gpu.get("memory_used_mb"))) is not None
    ]
    if not busy and not used:
        return None
    used_mb, total_mb = max(used, key=lambda pair: pair[0], default=(None, None))
    mean = sum(min(100.0, max(0.0, value)) for value in busy) / len(busy) if busy else None
    return Moment(at, mean, used_mb, total_mb, len(sound))
