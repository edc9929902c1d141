"""Numbers that people enter, anywhere: absurd ones are refused with the rule they break.

Infinity, NaN and 1e300 pass every comparison with a lower bound, or fail them all; with them a cap limits
nothing and a deadline never comes. So every number has an upper bound as well, far above any need.
"""

from __future__ import annotations

from typing import Any

MOST_USD = 1_000_000
MOST_SECONDS = 366 * 86_400
MOST_AGE_SECONDS = 100 * MOST_SECONDS
"""... of something that lies in the past: a run folder may be years old."""
MOST_GB = 1_000_000
MOST_GPUS = 1_000
MOST_RETRIES = 1_000
MOST_NODES = 8
"""... in one cluster: RunPod rents Instant Clusters of two to eight."""
_MOST_DIGITS = 20
MOST = 1_000_000_000
"""... of things that are counted, where nothing closer is known."""


def check_number(value: object, *, least: float, most: float, above: bool = False) -> None:
    """Raise ValueError (with the rule) unless ``value`` is a number from ``least`` (``above``: excluded) to ``most``.

    Booleans, infinities and NaN are refused.
    """
    _check(value, int | float, "a number", least, most, above=above)


def check_whole(value: object, *, least: int, most: int) -> None:
    """Raise ValueError (with the rule) unless ``value`` is an integer from ``least`` to ``most``."""
    _check(value, int, "a whole number", least, most, above=False)


def _check(value: object, kind: Any, name: str, least: float, most: float, *, above: bool) -> None:
    number: Any = value if isinstance(value, kind) and not isinstance(value, bool) else None
    if number is None or not (number > least if above else number >= least):
        raise ValueError(f"expected {name} {'>' if above else '>='} {least:g}")
    if number > most:
        raise ValueError(f"expected {name} <= {most:,}")


def read_whole(text: str, *, least: int, most: int = MOST) -> int:
    """Return the whole number that a text is. Raise ValueError (with the rule)."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"expected a whole number >= {least}")
    # Python itself refuses to parse numbers of thousands of digits, with a message that helps no user.
    value = int(text.lstrip("0")[:_MOST_DIGITS] or "0")
    check_whole(value, least=least, most=most)
    return value
