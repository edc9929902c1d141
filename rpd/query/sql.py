"""SQL over past nodes: SQLite in memory, filled for one question, unable to write or to open files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from rpd.errors import UsageError
from rpd.query.answer import Answer
from rpd.query.rows import COLUMNS, OWN, Row

_LONG = {"param": "params", "metric": "metrics", "var": "vars", "phase": "phases"}
TABLES: Mapping[str, tuple[str, ...]] = {
    "nodes": tuple(COLUMNS),
    **{_LONG[prefix]: ("run", "node", "name", "value") for prefix in OWN},
}
"""Table to its columns: one row per node, and one per value in the others."""

_ALLOWED = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
MOST_ROWS = 1_000_000


def answer(rows: Sequence[Row], query: str) -> Answer:
    """Return what ``query`` selects from the tables made of ``rows``. Raises UsageError with SQLite's own words."""
    with closing(sqlite3.connect(":memory:")) as connection:
        _fill(connection, rows)
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
            named = "; ".join(f"{name}({', '.join(held)})" for name, held in TABLES.items())
            raise UsageError(f"--sql: {error}. The tables are {named}") from None


def _fill(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    for name, columns in TABLES.items():
        connection.execute(f"create table {name} ({', '.join(columns)})")
    into_nodes = f"insert into nodes values ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - no name of a user
    connection.executemany(into_nodes, ([_plain(row.get(name)) for name in COLUMNS] for row in rows))
    for prefix in OWN:
        connection.executemany(
            f"insert into {_LONG[prefix]} values (?, ?, ?, ?)",  # noqa: S608 - one of four names above
            (
                (row["run"], row["node"], name.partition(".")[2], _plain(value))
                for row in rows
                for name, value in row.items()
                if name.startswith(f"{prefix}.")
            ),
        )
    connection.commit()


def _plain(value: Any) -> Any:
    """Return a value as SQLite holds it; lists and tables as JSON."""
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, float | str):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    return json.dumps(value, default=str)
