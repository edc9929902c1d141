"""Checks how deeply data from elsewhere is nested, before code walks it recursively."""

from __future__ import annotations

from typing import Any


def is_deeper(value: Any, most: int) -> bool:
    """Return whether tables and lists are nested deeper than ``most``; found out without going deep oneself."""
    level: list[Any] = [value]
    for _ in range(most):
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
