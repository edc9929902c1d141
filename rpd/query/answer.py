"""Answers: chosen columns of chosen rows, or one row for each group with counts, sums and means."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from rpd.errors import UsageError
from rpd.query.rows import Row, resolve, value_of
from rpd.values.frozen import frozen

SHOWN = ("run", "node", "outcome", "gpu", "seconds", "usd")
"""What is shown where nobody says."""
GROUPED = ("count", "passed", "sum(seconds)", "sum(usd)")
_AGGREGATE = re.compile(r"(\w+)\(([^()]+)\)")

Numbers = Sequence[float]


def _statistics() -> ModuleType:
    """Import a module that is slow to import and rarely needed."""
    import statistics

    return statistics


def _spread(numbers: Numbers) -> float | None:
    return _statistics().stdev(numbers) if len(numbers) > 1 else None


AGGREGATES: Mapping[str, Callable[[Numbers], float | None]] = {
    "sum": math.fsum,
    "mean": lambda numbers: _statistics().fmean(numbers),
    "std": _spread,
    "median": lambda numbers: _statistics().median(numbers),
    "min": min,
    "max": max,
}
"""Functions over the numbers of a column in a group; ``std`` is that of a sample, and needs two."""


@frozen
class Answer:
    """A table: names of columns, and rows with None for missing values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def dicts(self) -> list[dict[str, Any]]:
        """Return each row as a dict."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@frozen
class Totals:
    """The totals of the chosen nodes."""

    nodes: int
    runs: int
    outcomes: Mapping[str, int]
    seconds: float
    usd: float


class Tally:
    """Adds up nodes as they pass by."""

    def __init__(self) -> None:
        self._runs: set[str] = set()
        self._outcomes: Counter[str] = Counter()
        self._seconds = self._usd = 0.0

    def counting(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, and count them."""
        for row in rows:
            self._runs.add(row["run"])
            self._outcomes[row["outcome"]] += 1
            self._seconds += row["seconds"]
            self._usd += row["usd"]
            yield row

    @property
    def totals(self) -> Totals:
        """The totals so far."""
        return Totals(
            nodes=self._outcomes.total(),
            runs=len(self._runs),
            outcomes=dict(self._outcomes),
            seconds=self._seconds,
            usd=self._usd,
        )


def totals(rows: Iterable[Row]) -> Totals:
    """Return counts, time and money of ``rows``."""
    tally = Tally()
    for _ in tally.counting(rows):
        pass
    return tally.totals


def inner_name(text: str) -> str:
    """Return the column an aggregate is about, ``loss`` of ``mean(loss)``; the text itself where it is none."""
    match = _AGGREGATE.fullmatch(text.replace(" ", ""))
    return match[2] if match else text


def listed(rows: Iterable[Row], shown: Sequence[str], columns: Sequence[str]) -> Answer:
    """Return the columns ``shown`` of each row. Raise UsageError for a name that no row has."""
    names = [resolve(name, columns, "--show") for name in shown]
    return Answer(
        columns=tuple(names), rows=tuple(tuple(value_of(row, name) for name in names) for row in rows)
    )


def grouped(rows: Iterable[Row], by: Sequence[str], shown: Sequence[str], columns: Sequence[str]) -> Answer:
    """Return one row for each combination of values of the columns ``by``, in the order they came.

    ``shown`` names ``count``, outcomes (``passed``), and aggregates such as ``mean(accuracy)``. Raise UsageError.
    """
    keys = [resolve(name, columns, "--by") for name in by]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(_hashable(value_of(row, key)) for key in keys), []).append(row)
    measures = [_measure(text, columns) for text in shown]
    return Answer(
        columns=(*keys, *shown),
        rows=tuple((*key, *(measure(members) for measure in measures)) for key, members in groups.items()),
    )


def _measure(text: str, columns: Sequence[str]) -> Callable[[Sequence[Row]], Any]:
    if text == "count":
        return len
    match = _AGGREGATE.fullmatch(text.replace(" ", ""))
    if match is None:
        if text in ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "pruned"):
            return lambda rows: sum(row["outcome"] == text for row in rows)
        raise UsageError(
            f"--show {text}: with --by expected count, an outcome such as passed, or one of "
            f"{', '.join(AGGREGATES)} of a column, such as mean(loss)"
        )
    name, aggregate = resolve(match[2], columns, "--show"), AGGREGATES.get(match[1])
    if aggregate is None:
        raise UsageError(f"--show {text}: expected one of {', '.join(AGGREGATES)}, got {match[1]!r}")

    def measure(rows: Sequence[Row]) -> float | None:
        values = [value_of(row, name) for row in rows]
        numbers = [float(value) for value in values if _is_number(value)]
        return aggregate(numbers) if numbers else None

    return measure


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def ordered(answer: Answer, sort: str, columns: Sequence[str]) -> Answer:
    """Return the rows ordered by a column of the answer; ``NAME:desc`` puts the greatest first, missing ones last.

    Raise UsageError for a column that the answer does not have.
    """
    name, _, order = sort.partition(":")
    if order not in ("", "asc", "desc"):
        raise UsageError(f"--sort {sort}: expected NAME or NAME:desc")
    column = name if name in answer.columns else resolve(name, columns, "--sort")
    if column not in answer.columns:
        raise UsageError(f"--sort {sort}: the result has no column {column}; add it: --show {column}")
    at = answer.columns.index(column)
    there = [row for row in answer.rows if row[at] is not None]
    missing = [row for row in answer.rows if row[at] is None]
    there.sort(key=lambda row: _key(row[at]), reverse=order == "desc")
    return Answer(columns=answer.columns, rows=(*there, *missing))


def _key(value: Any) -> tuple[int, Any]:
    """Return a sort key for values of several types: numbers first, then text."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))
