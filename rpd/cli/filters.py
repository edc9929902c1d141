"""``--filter NAME=VALUE``: compares values with the text that the user typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rpd.errors import UsageError
from rpd.values.suggestions import closest

Filters = Sequence[tuple[str, str]]


def is_same(value: Any, text: str) -> bool:
    """Return whether ``text`` means ``value``: numbers are compared as numbers, the name of a node means the node."""
    if isinstance(value, bool):
        return text.casefold() == str(value).casefold()
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    written = "" if value is None else str(value)
    return text in (written, written.rpartition("::")[2])


class Filter:
    """Selects rows with the wanted value of each name, and knows which names there were."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._seen: dict[str, None] = {}

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether ``row`` has the wanted values."""
        self._seen |= dict.fromkeys(row)
        return all(name in row and is_same(row[name], text) for name, text in self._filters)

    def check(self, what: str) -> None:
        """Raise UsageError for a name that nothing had, if there was anything."""
        for name, _ in self._filters:
            if self._seen and name not in self._seen:
                close = closest(name, self._seen)
                raise UsageError(
                    f"--filter {name}=…: no {what} has {name!r}; "
                    + (f"did you mean {close}?" if close else f"there are {', '.join(sorted(self._seen))}")
                )


def matching(rows: Iterable[Mapping[str, Any]], filters: Filters, what: str) -> list[Mapping[str, Any]]:
    """Return those that have the wanted values. Raise UsageError for a name that none has."""
    filter_ = Filter(filters)
    fitting = [row for row in rows if filter_.matches(row)]
    filter_.check(what)
    return fitting
