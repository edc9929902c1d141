"""The ``Retry-After`` header of an HTTP response."""

from __future__ import annotations

import math
import time


def seconds_to_wait(header: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds in a ``Retry-After`` header, given as a number or a date; None if it is neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if math.isfinite(seconds) else None
    import email.utils  # a date is rare

    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))
