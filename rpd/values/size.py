"""Sizes as people read them: ``"230 MB"``, in powers of ten."""

from __future__ import annotations

_UNITS = ("kB", "MB", "GB", "TB")


def format_size(size: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least 1 of it, with three digits at most."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in _UNITS:
        value /= 1000
        # A value that rounds up to 1000 belongs to the next unit.
        if value < 999.5 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"
    raise AssertionError("unreachable")
