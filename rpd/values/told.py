"""Values of users as reports can tell them: one whose own code raises is told by the name of its type."""

from __future__ import annotations

from typing import Any

_PLAIN = (bool, int, float, str, type(None))


def tellable(value: Any) -> Any:
    """Return ``value``, or ``<Type>`` for one that cannot be made into text (a ``__repr__`` that raises)."""
    if type(value) in _PLAIN:
        return value
    try:
        repr(value)
        str(value)
    except Exception:  # noqa: BLE001 - the user's own code, which may raise anything
        return f"<{type(value).__name__}>"
    return value
