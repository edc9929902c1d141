"""``rpd query``: questions over the nodes of all past runs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rpd.cli.command_options import QueryOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import hand_over, note, say
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, RpdError, UsageError
from rpd.hooks import PluginManager
from rpd.query import answer
from rpd.query.answer import Answer, Tally, Totals
from rpd.query.expression import Expression, names_in
from rpd.query.rows import COLUMNS, Damaged, Row, Rows, Scope, is_event, read_events, read_rows, resolve
from rpd.values.duration import format_duration

MOST_DAMAGED = 5
"""Files that cannot be read are named one by one, up to this many."""


def main(config: Config, manager: PluginManager) -> int:
    """Choose nodes of past runs by an expression, group and order them, and print them with their totals."""
    own: QueryOptions = config.own
    del manager
    if len(config.args) > 1:
        raise UsageError(
            f"rpd query takes one expression, got {len(config.args)} arguments: put it in quotes, "
            "as in rpd query 'outcome == \"failed\" and lr < 0.01'"
        )
    scope = Scope(
        runs_path=config.runs_path,
        runs=(own.of_run,) if own.of_run else (),
        since=since(own.since),
    )
    damaged: list[RpdError] = []
    if own.list_columns:
        _print_columns(Rows(read_rows(scope, events=True, damaged=damaged.append), ()).columns)
        tell_damage(damaged)
        return ExitCode.OK
    result, totals = (_selected if own.sql else _asked)(own, config.args, scope, damaged.append)
    tell_damage(damaged)
    if own.most_rows:
        result = Answer(columns=result.columns, rows=result.rows[: own.most_rows])
    _print(own, result, totals, as_json=config.output.as_json, here=config.invocation_dir)
    return ExitCode.OK if result.rows else ExitCode.NOTHING_COLLECTED


def since(seconds: float | None) -> str:
    """Return when a time that long ago was (UTC, ISO 8601); empty for None."""
    if seconds is None:
        return ""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def tell_damage(damaged: Sequence[RpdError]) -> None:
    """Say which files could not be read; of many, the first."""
    for error in damaged[:MOST_DAMAGED]:
        note(f"rpd: left out: {error}")
    if len(damaged) > MOST_DAMAGED:
        note(f"rpd: left out: {len(damaged) - MOST_DAMAGED} more files that cannot be read")


def _asked(own: QueryOptions, args: Sequence[str], scope: Scope, damaged: Damaged) -> tuple[Answer, Totals]:
    """Return the answer to the flags, and the totals of the nodes that were chosen."""
    names = _names(own, args)
    kept = Rows(read_rows(scope, events=any(map(is_event, names)), damaged=damaged), names)
    columns = kept.columns
    rows = _chosen(kept.rows, args, columns)
    if own.group_by:
        result = answer.grouped(rows, own.group_by, own.show_columns or answer.GROUPED, columns)
    else:
        shown = own.show_columns or (*answer.SHOWN, *_asked_for(own, args, columns))
        result = answer.listed(rows, shown, columns)
    return answer.ordered(result, own.sort_by, columns) if own.sort_by else result, answer.totals(rows)


def _selected(
    own: QueryOptions, args: Sequence[str], scope: Scope, damaged: Damaged
) -> tuple[Answer, Totals]:
    """Return the answer to a query in SQL, and the totals of the nodes it could select from."""
    from rpd.query import sql  # and SQLite with it

    tally = Tally()
    if own.group_by or own.show_columns:
        raise UsageError("--sql selects and groups by itself: leave out --by and --show")
    rows: Iterable[Row] = read_rows(scope, events=any(map(is_event, _names(own, args))), damaged=damaged)
    if args and args[0].strip():
        kept = Rows(rows)
        rows = _chosen(kept.rows, args, kept.columns)
    events = read_events(scope, damaged=damaged) if sql.wants_events(own.sql) else ()
    select = sql.answer
    if own.engine == "duckdb":
        from rpd.query import duck

        select = duck.answer
    selected = select(tally.counting(rows), own.sql, events)
    return answer.ordered(selected, own.sort_by, selected.columns) if own.sort_by else selected, tally.totals


def _names(own: QueryOptions, args: Sequence[str]) -> set[str]:
    """Return every name in the question, as typed."""
    texts = (*own.show_columns, *own.group_by, own.sort_by.partition(":")[0])
    names = {inner for text in texts for inner in (text, answer.inner_name(text))}
    return {*answer.SHOWN, *names, *(names_in(args[0]) if args else ())}


def _chosen(rows: Sequence[Row], args: Sequence[str], columns: Sequence[str]) -> Sequence[Row]:
    if not args or not args[0].strip():
        return rows
    expression = Expression(args[0], columns)
    return [row for row in rows if expression.matches(row)]


def _asked_for(own: QueryOptions, args: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the columns that the expression and the order name, beyond those that are always shown."""
    names = Expression(args[0], columns).names if args and args[0].strip() else []
    sort = own.sort_by.partition(":")[0]
    named = [*names, *([resolve(sort, columns, "--sort")] if sort else [])]
    return [name for name in dict.fromkeys(named) if name not in answer.SHOWN]


def _print(own: QueryOptions, result: Answer, totals: Totals, *, as_json: bool, here: Path) -> None:
    if as_json:
        document = {
            "columns": list(result.columns),
            "rows": result.dicts(),
            "totals": totals_document(totals),
        }
        say_document(document)
    elif own.parquet is not None:
        _write_parquet(here, own.parquet, result)
    elif own.as_csv:
        import csv  # not at the top: a table on the screen needs none

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows([["" if value is None else value for value in row] for row in result.rows])
        hand_over(out.getvalue())
    else:
        _print_table(result)
        say(f"\n{totals_line(totals)}")


def _write_parquet(folder: Path, target: str, result: Answer) -> None:
    path = folder / Path(target).expanduser()
    try:
        from rpd.query import parquet

        parquet.write(path, result)
    except OSError as error:
        raise UsageError(f"--parquet {target}: cannot be written: {error.strerror or error}") from error
    say(f"wrote {path}: {len(result.rows)} rows")


def _print_table(result: Answer) -> None:
    if not result.rows:
        return
    numbers = {
        at
        for at in range(len(result.columns))
        if all(isinstance(row[at], int | float | None) for row in result.rows)
    }
    heads = tuple(name.partition(".")[2] or name for name in result.columns)
    cells = [
        tuple(_cell(name, value) for name, value in zip(result.columns, row, strict=True))
        for row in result.rows
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


def totals_line(totals: Totals) -> str:
    """Return the totals of nodes, as a line for people."""
    counted = f"{_counted(totals.nodes, 'node')} in {_counted(totals.runs, 'run')}"
    if not totals.nodes:
        return counted
    outcomes = ", ".join(f"{number} {outcome}" for outcome, number in totals.outcomes.items())
    return f"{counted}: {outcomes}, {format_duration(totals.seconds)}, ${totals.usd:.2f}"


def totals_document(totals: Totals) -> dict[str, Any]:
    """Return the totals of nodes, for programs."""
    return {
        "nodes": totals.nodes,
        "runs": totals.runs,
        "outcomes": dict(totals.outcomes),
        "seconds": round(totals.seconds, 3),
        "usd": round(totals.usd, 6),
    }


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_columns(columns: Sequence[str]) -> None:
    width = max(map(len, columns))
    for name in columns:
        say(f"{name:<{width}}  {COLUMNS.get(name, '')}".rstrip())
