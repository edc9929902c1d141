"""Curves in a terminal: one line of bars for the board, a chart of a few lines for ``rpd show``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

_BARS = " ▁▂▃▄▅▆▇█"
"""From nothing to a whole cell, in eighths."""
_LABEL = 10


def sparkline(values: Sequence[float], width: int) -> str:
    """Return bars of one line for values in order, at most ``width``; a gap where a value is no number."""
    return "".join(
        _BARS[max(1, round(8 * share))] if share is not None else " " for share in _shares(values, width)
    )


def chart(curve: Mapping[float, float], *, width: int, height: int) -> Iterator[str]:
    """Yield ``height`` lines of bars for a curve (step -> value); the first and last have their values as labels.

    Steps are spread evenly: a curve is logged at regular steps, or the values in between are unknown.
    """
    values = list(curve.values())
    shares = _shares(values, max(1, width - _LABEL - 1))
    finite = [value for value in values if math.isfinite(value)]
    labels = {0: max(finite), height - 1: min(finite)} if finite else {}
    for row in range(height):
        floor = height - 1 - row
        cells = "".join(_cell(share, floor, height) for share in shares)
        label = f"{labels[row]:.4g}" if row in labels else ""
        yield f"{label:>{_LABEL}} {cells}".rstrip()


def _cell(share: float | None, floor: int, height: int) -> str:
    """Return the part of a bar in one row; its foot is visible even if it is the lowest."""
    if share is None:
        return " "
    eighths = max(1, round(8 * height * share)) - 8 * floor
    return _BARS[min(8, max(0, eighths))]


def _shares(values: Sequence[float], width: int) -> list[float | None]:
    """Return how high each bar is, from 0 to 1; None for a gap. Of neighbours that share a bar it is their mean."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return [_share(piece, low, high) for piece in _pieces(values, width)]


def _pieces(values: Sequence[float], width: int) -> Iterator[Sequence[float]]:
    count = min(width, len(values))
    for at in range(count):
        yield values[at * len(values) // count : (at + 1) * len(values) // count]


def _share(piece: Sequence[float], low: float, high: float) -> float | None:
    values = [min(max(value, low), high) for value in piece if not math.isnan(value)]
    if not values:
        return None
    # Halved before they are taken apart: the greatest floats are further apart than a float can say.
    span = high / 2 - low / 2
    mean = sum(value / len(values) for value in values)
    return min(1.0, max(0.0, (mean / 2 - low / 2) / span)) if span else 0.5
