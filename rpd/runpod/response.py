"""The one door for RunPod's responses: a field has the expected form, or is not used.

A response may come from anything along the way (a proxy, a gateway, a stand-in) and contain anything. Readers
take every field through the functions here, and are called through ``understood``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rpd.disk.nested import is_deeper
from rpd.errors import TransientError
from rpd.values.late_pattern import late_pattern

T = TypeVar("T")

UNEXPECTED = "RunPod returned an unexpected response"
_DEEPEST = 40
_LONGEST = 2000
"""Most characters of a text in a response."""
_LARGEST = 1e12
_ID = late_pattern(r"[!-~]{1,200}")
"""Characters allowed in the id of a pod or volume: ids are used in addresses, commands and file names."""


class Misshapen(ValueError):
    """A response, or a part of it, has an unexpected form."""


def understood(read: Callable[[Any], T], answer: object) -> T:
    """Return the result of ``read`` for a response. Raise TransientError if the response is not as expected."""
    try:
        if not is_deeper(answer, _DEEPEST):
            return read(answer)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        pass
    raise TransientError(UNEXPECTED)


def table(value: object) -> Mapping[str, Any]:
    """Return a table, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def needed_table(value: object) -> Mapping[str, Any]:
    """Return a table. Raise Misshapen for anything else."""
    if not isinstance(value, dict):
        raise Misshapen("no table")
    return value


def tables(value: object) -> list[Mapping[str, Any]]:
    """Return the tables in a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def needed_tables(value: object) -> list[Mapping[str, Any]]:
    """Return the tables in a list. Raise Misshapen for anything but a list."""
    if not isinstance(value, list):
        raise Misshapen("no list")
    return tables(value)


def text(value: object) -> str:
    """Return a text on one line, a number as text; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, int) and abs(value) > _LARGEST:
        return ""
    line = str(value)[:_LONGEST]
    return line if line.isprintable() else "".join(char if char.isprintable() else " " for char in line)


def identifier(value: object) -> str:
    """Return an id. Raise Misshapen if it cannot be one."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Misshapen("no id")
    return value


def number(value: object) -> float | None:
    """Return a finite number, also if it is written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) and abs(result) <= _LARGEST else None


def price(value: object) -> float | None:
    """Return dollars; None if there is no price, and for 0 or less: nothing is free."""
    usd = number(value)
    return usd if usd is not None and usd > 0 else None


def whole(value: object) -> int | None:
    """Return a whole number >= 0; None for anything else."""
    result = number(value)
    return None if result is None or result < 0 else int(result)


def port(value: object) -> int | None:
    """Return a TCP port; None for anything else."""
    result = whole(value)
    return result if result is not None and 0 < result < 1 << 16 else None


def host(value: object) -> str | None:
    """Return the name or address of a host; None for anything else."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,253}", value) else None


def flag(value: object) -> bool | None:
    """Return a truth value; None for anything else."""
    return value if isinstance(value, bool) else None
