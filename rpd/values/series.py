"""Series: numbers that a command writes while it runs, and how a line of them is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rpd.values.late_pattern import late_pattern
from rpd.values.safe_text import plain

LONGEST_LINE = 64 << 10
"""Bytes of a line that can be understood."""
LONGEST_NAME = 200
MOST_VALUES = 1000
"""Of one line."""
LARGEST_STEP = 2**53
_NUMBER = late_pattern(
    r"[+-]?(?:(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d{1,9})?|inf|infinity|nan)", re.IGNORECASE
)
STEP, TIME = "step", "time"
"""The keys of a line that are no series."""


class Point(NamedTuple):
    """One value of a series; ``step`` is None if the command gave none."""

    name: str
    step: float | None
    value: float


# --- lines of $RPD_METRICS --------------------------------------------------------------------------------------------


def points_of(line: bytes) -> list[Point]:
    """Return the values in a line: a JSON object, or words such as ``step=3 loss=0.1``; empty for an empty line.

    ``step`` is the step of all of them; ``time`` is ignored, and so are other values than numbers in an
    object. Raise ValueError that says what is wrong with the line.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it is longer than {LONGEST_LINE >> 10} KiB")
    text = line.decode(errors="replace").strip()
    if not text:
        return []
    pairs = _object(text) if text.startswith("{") else _words(text)
    step = pairs.pop(STEP, None)
    pairs.pop(TIME, None)
    values = {_name(name): value for name, value in pairs.items()}
    return _points(values, _step(step) if step is not None else None)


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = (
            error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep, or a number too long"
        )
        raise ValueError(f"it is not a JSON object ({reason})") from None
    if len(document) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} values")
    return {name: value for name, value in document.items() if name in (STEP, TIME) or _is_number(value)}


def _words(text: str) -> dict[str, Any]:
    # By split, not by a pattern: that takes as long as the line is long, however odd it is.
    words = [word.rstrip(",;").partition("=") for word in text.split()]
    pairs = {name: value for name, mark, value in words if mark and name}
    wrong = next(
        (f"{name}={value}" for name, value in pairs.items() if name != TIME and not _NUMBER.fullmatch(value)),
        "",
    )
    if wrong:
        raise ValueError(f"expected a number: {wrong[:100]}")
    if not pairs:
        raise ValueError('expected {"step": 1, "loss": 0.5} or step=1 loss=0.5')
    return pairs


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value.lower().lstrip("+-") in ("nan", "inf", "infinity")
    return not isinstance(value, bool) and (value is None or isinstance(value, int | float))


def _name(text: str) -> str:
    """Return the name of a series as it can be shown."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # JSON can spell what no text has: "\\ud800"
    return " ".join(plain(text).split())[:LONGEST_NAME]


def _step(value: object) -> float:
    """Return a step. Raise ValueError."""
    step = number(value)
    if step is None or not abs(step) <= LARGEST_STEP:
        raise ValueError(f"expected a number as step, got {str(value)[:100]}")
    return int(step) if step.is_integer() else step


def _points(values: Mapping[str, object], step: float | None) -> list[Point]:
    points = [
        Point(name, step, read)
        for name, value in values.items()
        if name and (read := number(value)) is not None
    ]
    if not points:
        raise ValueError("it contains no number")
    return points


def number(value: object) -> float | None:
    """Return a number or its text as a float, NaN and infinities too; None for anything else. JSON's null is NaN."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


# --- lines of output --------------------------------------------------------------------------------------------------


class LinePatterns:
    """Finds values in lines of output, by regular expressions with named groups.

    A group ``step`` is the step, ``name`` with ``value`` a series and its value, each other group a series that is
    called so. Raise ValueError for a text that is no such expression.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [_compiled(text) for text in patterns]

    def points_of(self, line: str) -> Iterator[Point]:
        """Yield the values in a line of output."""
        for pattern in self._patterns:
            step: float | None = None
            for match in pattern.finditer(line):
                groups = {name: text for name, text in match.groupdict().items() if text is not None}
                if STEP in groups:
                    said = number(groups.pop(STEP))
                    step = None if said is None or not abs(said) <= LARGEST_STEP else _step(said)
                named = groups.pop("name", None)
                if named is not None:
                    groups[named] = groups.pop("value", "")
                for name, text in groups.items():
                    if _name(name) and (value := number(text)) is not None:
                        yield Point(_name(name), step, value)


def _compiled(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    names = set(pattern.groupindex) - {STEP}
    if not names or ("name" in names and "value" not in names):
        raise ValueError(
            r"expected named groups, such as loss=(?P<loss>\S+), or (?P<name>\w+)=(?P<value>\S+)"
        )
    return pattern
