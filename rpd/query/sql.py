"""SQL over past nodes: SQLite in memory, filled for one question, unable to write or to open files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any, TypeVar

from rpd.errors import UsageError
from rpd.query.answer import Answer
from rpd.query.rows import COLUMNS, OWN, Row

T = TypeVar("T")
_LONG = {"param": "params", "metric": "metrics", "var": "vars", "phase": "phases"}
TABLES: Mapping[str, tuple[str, ...]] = {
    "nodes": tuple(COLUMNS),
    **{_LONG[prefix]: ("run", "node", "name", "value", "text") for prefix in OWN},
    "events": ("run", "node", "time", "event", "detail"),
}
"""Table to its columns: one row per node; one per value (``value`` is a number where it is one, ``text`` always text);
one per event (``detail`` is JSON)."""

_ALLOWED = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
MOST_ROWS = 1_000_000


def wants_events(query: str) -> bool:
    """Return whether a query may read the table ``events``: filling it means reading every journal."""
    return "events" in query.casefold()


def answer(rows: Iterable[Row], query: str, events: Iterable[Mapping[str, Any]] = ()) -> Answer:
    """Run ``query`` on the tables made of ``rows`` and ``events`` and return its result.

    Raise UsageError with SQLite's own words.
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        for name, columns in TABLES.items():
            connection.execute(f"create table {name} ({', '.join(columns)})")
        for name, values in table_rows(rows, events):
            marks = ", ".join("?" * len(TABLES[name]))
            connection.executemany(f"insert into {name} values ({marks})", values)  # noqa: S608 - a name of ours
        connection.commit()
        connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
        )
        try:
            cursor = connection.execute(query)
            if cursor.description is None:
                raise UsageError("--sql: expected a SELECT")
            columns = tuple(str(column[0]) for column in cursor.description)
            return Answer(columns=columns, rows=tuple(cursor.fetchmany(MOST_ROWS)))
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise wrong(error) from None


def wrong(error: Exception) -> UsageError:
    """Return the error of a query as users see it, with the tables there are."""
    named = "; ".join(f"{name}({', '.join(columns)})" for name, columns in TABLES.items())
    return UsageError(f"--sql: {error}. The tables are {named}")


def table_rows(
    rows: Iterable[Row], events: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Yield names of tables with some of their rows, as plain values; a thousand nodes or events at a time."""
    for some in _batches(rows):
        yield "nodes", [tuple(plain(row.get(name)) for name in COLUMNS) for row in some]
        for prefix in OWN:
            start = f"{prefix}."
            yield (
                _LONG[prefix],
                [
                    (row["run"], row["node"], name[len(start) :], plain(value), _text(value))
                    for row in some
                    for name, value in row.items()
                    if name.startswith(start)
                ],
            )
    for few in _batches(events):
        yield "events", [_event_row(event) for event in few]


def _event_row(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return run, node, at, event, and the remaining fields as JSON."""
    named = ("run", "node", "at", "event")
    detail = {name: value for name, value in event.items() if name not in named}
    return (*(str(event.get(name, "")) for name in named), json.dumps(detail, default=str))


def _batches(items: Iterable[T], size: int = 1000) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def _text(value: Any) -> str:
    stored = plain(value)
    return "" if stored is None else str(stored)


def plain(value: Any) -> Any:
    """Return a value as SQLite holds it; lists and tables as JSON."""
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, float | str):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    return json.dumps(value, default=str)
