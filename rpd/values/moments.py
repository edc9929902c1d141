"""Moments: times as read from a file."""

from __future__ import annotations

from datetime import datetime


def moment(text: object) -> float | None:
    """Return the seconds since 1970 of a moment in ISO 8601 with its offset; None for anything else."""
    if not isinstance(text, str) or not text:
        return None
    try:
        read = datetime.fromisoformat(text)
        return round(read.timestamp(), 3) if read.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None
