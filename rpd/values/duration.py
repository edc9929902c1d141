"""Durations as people write them: ``"90s"``, ``"60m"``, ``"1h30m"``, ``"2d"`` or a number of seconds."""

from __future__ import annotations

import re
from functools import lru_cache

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])", re.IGNORECASE)

RULE = 'expected a duration such as "90s", "60m" or "1h30m", or a number of seconds'


def parse_duration(value: str | float) -> float:
    """Return ``value`` in seconds. Raises ValueError (with a rule to show) for anything that is not a duration > 0."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(RULE)
    return _parse(value)


@lru_cache(maxsize=256, typed=True)
def _parse(value: str | float) -> float:
    if isinstance(value, str):
        text = value.strip().replace(" ", "")
        if _WHOLE.fullmatch(text):
            seconds = sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(text))
        else:
            try:
                seconds = float(text)
            except ValueError:
                raise ValueError(RULE) from None
    else:
        seconds = float(value)
    if not 0 < seconds < float("inf"):
        raise ValueError(RULE)
    return seconds


def format_duration(seconds: float) -> str:
    """Return ``seconds`` for a screen: ``0.42s``, ``12s``, ``3m12s``, ``2h05m``."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
