"""Values of users as reports can show them: one whose own code raises is shown by the name of its type."""

from __future__ import annotations

from typing import Any

_PLAIN = (bool, float, str, type(None))

_SHORT_BITS = 2000
"""Up to here a number has fewer digits than any limit that Python can be given."""


def tellable(value: Any) -> Any:
    """Return ``value``, or ``<Type>`` for one that cannot be made into text (a ``__repr__`` that raises).

    A whole number with more digits than Python writes (4,300) is returned as hexadecimal text.
    """
    if type(value) in _PLAIN:
        return value
    if type(value) is int:
        return value if value.bit_length() < _SHORT_BITS or _is_written(value) else hex(value)
    try:
        repr(value)
        str(value)
    except Exception:  # noqa: BLE001 - the user's own code, which may raise anything
        return f"<{type(value).__name__}>"
    return value


def _is_written(number: int) -> bool:
    try:
        str(number)
    except ValueError:
        return False
    return True
