"""Durations as people write them: ``"90s"``, ``"60m"``, ``"1h30m"``, ``"2d"`` or a number of seconds."""

from __future__ import annotations

from functools import lru_cache

from rpd.values.number_bounds import MOST_SECONDS

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}

RULE = 'expected a duration such as "90s", "60m" or "1h30m", or a number of seconds'
RULE_OF_MINUTES = RULE.replace("seconds", "minutes")
"""... where a bare number is minutes."""


def parse_duration(value: str | float, most: int = MOST_SECONDS) -> float:
    """Return ``value`` in seconds.

    Raise ValueError (with a rule to show) for anything that is not a duration > 0, or is longer than ``most``.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(RULE)
    return _parse(value, most)


@lru_cache(maxsize=256, typed=True)
def _parse(value: str | float, most: int) -> float:
    seconds = _read(value.strip().replace(" ", "").lower()) if isinstance(value, str) else value
    if not 0 < seconds < float("inf"):
        raise ValueError(RULE)
    if seconds > most:
        raise ValueError(f"expected a duration of at most {most // 86_400} days")
    return float(seconds)


def _read(text: str) -> float:
    """Return the seconds of ``1h30m`` or ``90``. By hand: a pattern to compile would be a tenth of every start."""
    seconds, number = 0.0, ""
    try:
        for character in text if text[-1:] in _UNITS else ():
            if character in _UNITS:
                seconds += _number(number) * _UNITS[character]
                number = ""
            else:
                number += character
        return seconds or float(text)
    except ValueError:
        raise ValueError(RULE) from None


def _number(text: str) -> float:
    whole, dot, rest = text.partition(".")
    if not (whole + rest).isascii() or not whole.isdigit() or (dot and not rest.isdigit()):
        raise ValueError(text)
    return float(text)


def format_duration(seconds: float) -> str:
    """Return ``seconds`` for a screen: ``0.42s``, ``12s``, ``3m12s``, ``2h05m``, from two days on ``3d04h``."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 2 * 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    hours = round(seconds / 3600)
    return f"{hours // 24}d{hours % 24:02d}h"
