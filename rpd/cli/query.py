"""``rpd query``: questions over the nodes of all past runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rpd.cli.output import hand_over, note, say
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, RpdError, UsageError
from rpd.hooks import PluginManager
from rpd.query import answer, sql
from rpd.query.answer import Answer, Totals
from rpd.query.expression import Expression
from rpd.query.rows import COLUMNS, Row, column_names, read_rows
from rpd.values.duration import format_duration

SCHEMA_VERSION = 1
"""Of ``--json``."""


def main(config: Config, manager: PluginManager) -> int:
    """Choose nodes of past runs by an expression, group and order them, and print them with their totals."""
    del manager
    if len(config.args) > 1:
        raise UsageError(
            f"rpd query takes one expression, got {len(config.args)} arguments: put it in quotes, "
            "as in rpd query 'outcome == \"failed\" and lr < 0.01'"
        )
    damaged: list[RpdError] = []
    rows: list[Row] = list(
        read_rows(
            config.runs_path,
            runs=(config.own.of_run,) if config.own.of_run else (),
            since=_since(config.own.since),
            damaged=damaged.append,
        )
    )
    for error in damaged:
        note(f"rpd: left out: {error}")
    columns = column_names(rows)
    if config.own.list_columns:
        _print_columns(columns)
        return ExitCode.OK
    chosen = _chosen(rows, config.args, columns)
    found = _answer(config, chosen, columns)
    if config.own.most_rows:
        found = Answer(columns=found.columns, rows=found.rows[: config.own.most_rows])
    _print(config, found, answer.totals(chosen))
    return ExitCode.OK if found.rows else ExitCode.NOTHING_COLLECTED


def _since(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def _chosen(rows: Sequence[Row], args: Sequence[str], columns: Sequence[str]) -> Sequence[Row]:
    if not args or not args[0].strip():
        return rows
    expression = Expression(args[0], columns)
    return [row for row in rows if expression.matches(row)]


def _answer(config: Config, rows: Sequence[Row], columns: Sequence[str]) -> Answer:
    if config.own.sql:
        if config.own.group_by or config.own.show_columns:
            raise UsageError("--sql says itself what is shown and grouped: leave out --by and --show")
        found = sql.answer(rows, config.own.sql)
    elif config.own.group_by:
        found = answer.grouped(rows, config.own.group_by, config.own.show_columns or answer.GROUPED, columns)
    else:
        shown = config.own.show_columns or (*answer.SHOWN, *_asked_for(config, columns))
        found = answer.listed(rows, shown, columns)
    return answer.ordered(found, config.own.sort_by, columns) if config.own.sort_by else found


def _asked_for(config: Config, columns: Sequence[str]) -> list[str]:
    """Return the columns that the expression and the order name, beyond those that are always shown."""
    names = Expression(config.args[0], columns).names if config.args and config.args[0].strip() else []
    sort = config.own.sort_by.partition(":")[0]
    return [name for name in dict.fromkeys([*names, *([sort] if sort else [])]) if name not in answer.SHOWN]


def _print(config: Config, found: Answer, totals: Totals) -> None:
    if config.output.as_json:
        document = {
            "schema_version": SCHEMA_VERSION,
            "columns": list(found.columns),
            "rows": found.dicts(),
            "totals": {
                "nodes": totals.nodes,
                "runs": totals.runs,
                "outcomes": dict(totals.outcomes),
                "seconds": round(totals.seconds, 3),
                "usd": round(totals.usd, 6),
            },
        }
        say(json.dumps(document, indent=2, default=str))
    elif config.own.as_csv:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(found.columns)
        writer.writerows([["" if value is None else value for value in row] for row in found.rows])
        hand_over(out.getvalue())
    else:
        _print_table(found)
        _print_totals(totals)


def _print_table(found: Answer) -> None:
    if not found.rows:
        return
    numbers = {
        at
        for at in range(len(found.columns))
        if all(isinstance(row[at], int | float | None) for row in found.rows)
    }
    heads = tuple(name.partition(".")[2] or name for name in found.columns)
    cells = [
        tuple(_cell(name, value) for name, value in zip(found.columns, row, strict=True))
        for row in found.rows
    ]
    say("\n".join(table([tuple(head.upper() for head in heads), *cells], right=numbers)))


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "usd" or column.endswith("(usd)"):
        return f"{value:.4f}"
    if column in ("seconds", "sum(seconds)", "mean(seconds)"):
        return format_duration(float(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _print_totals(totals: Totals) -> None:
    outcomes = ", ".join(f"{number} {outcome}" for outcome, number in totals.outcomes.items())
    say(
        f"\n{totals.nodes} node{'' if totals.nodes == 1 else 's'} in {totals.runs} run{'' if totals.runs == 1 else 's'}"
        + (f": {outcomes}, {format_duration(totals.seconds)}, ${totals.usd:.2f}" if totals.nodes else "")
    )


def _print_columns(columns: Sequence[str]) -> None:
    width = max(map(len, columns))
    for name in columns:
        say(f"{name:<{width}}  {COLUMNS.get(name, '')}".rstrip())
