"""SQL over past nodes in DuckDB, if that is installed: the tables of ``sql``, with typed columns."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rpd.errors import UsageError
from rpd.query.answer import Answer
from rpd.query.rows import KINDS, Row
from rpd.query.sql import MOST_ROWS, TABLES, table_rows, wrong

_TYPES = {int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", str: "VARCHAR"}


def answer(rows: Iterable[Row], query: str, events: Iterable[Mapping[str, Any]] = ()) -> Answer:
    """Run ``query`` on the tables made of ``rows`` and ``events`` and return its result.

    Raise UsageError with DuckDB's own words, and if it is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise UsageError("--engine duckdb: DuckDB is not installed: pip install 'rpd[duckdb]'") from None
    with duckdb.connect(":memory:") as connection, tempfile.TemporaryDirectory(prefix="rpd-query-") as folder:
        for name, path in _files(Path(folder), rows, events).items():
            types = {column: _type(name, column) for column in TABLES[name]}
            declared = ", ".join(f"{column} {kind}" for column, kind in types.items())
            connection.execute(f"create table {name} ({declared})")
            if path.stat().st_size:
                connection.execute(
                    f"insert into {name} select * from read_json(?, format='newline_delimited', columns=?)",  # noqa: S608 - a name of ours
                    [str(path), types],
                )
        # From here on a query can reach no file and no network.
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError("--sql: expected one SELECT")
            result = connection.execute(statements[0])
            columns = tuple(str(column[0]) for column in result.description or ())
            return Answer(columns=columns, rows=tuple(result.fetchmany(MOST_ROWS)))
        except duckdb.Error as error:
            raise wrong(error) from None


def _files(folder: Path, rows: Iterable[Row], events: Iterable[Mapping[str, Any]]) -> dict[str, Path]:
    """Write each table to a file that DuckDB reads in one go; row by row it would take a minute."""
    paths = {name: folder / f"{name}.json" for name in TABLES}
    files = {name: path.open("w", encoding="utf-8") for name, path in paths.items()}
    try:
        for name, values in table_rows(rows, events):
            for row in values:
                tables = dict(zip(TABLES[name], row, strict=True))
                if isinstance(tables.get("value"), str):
                    tables["value"] = None
                files[name].write(f"{json.dumps(tables)}\n")
    finally:
        for file in files.values():
            file.close()
    return paths


def _type(table: str, column: str) -> str:
    if table == "nodes":
        return _TYPES[KINDS.get(column, str)]
    return "DOUBLE" if column == "value" else "VARCHAR"
