"""Tables of plain values: as text, as HTML for a notebook, and as a DataFrame where pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from rpd.errors import RpdError
from rpd.values.columns import Column, fitted, joined
from rpd.values.duration import format_duration
from rpd.values.safe_text import plain

if TYPE_CHECKING:
    import pandas

Row = Mapping[str, Any]

MOST_ROWS = 60
"""Rows that a notebook or a terminal shows; the rest is counted."""
_WIDTH = 118
_SECONDS = frozenset({"seconds", "expected_seconds"})
_COLOURS = {
    **dict.fromkeys(("passed", "finished", "in use"), "#1a7f37"),
    **dict.fromkeys(("failed", "error", "damaged", "left behind"), "#d1242f"),
    **dict.fromkeys(("skipped", "xfailed", "xpassed", "unfinished", "running"), "#9a6700"),
}


def shown(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return those of ``columns`` that some row has a value for, and all others that rows have."""
    there = dict.fromkeys(name for row in rows for name, value in row.items() if value not in (None, ""))
    return [name for name in columns if name in there]


def text_table(columns: Sequence[str], rows: Sequence[Row], foot: str = "") -> str:
    """Return the rows as lines that fit a terminal."""
    made = [
        Column(
            title=_title(name),
            cells=tuple(_cell(name, row.get(name)) for row in rows),
            right=_is_right(name, rows),
        )
        for name in columns
    ]
    kept, dropped = fitted(made, _WIDTH)
    lines = [joined(kept, [column.title for column in kept])] if kept else []
    lines += [joined(kept, cells) for cells in zip(*(column.cells for column in kept), strict=True)]
    if dropped:
        lines.append(f"… more columns: {', '.join(dropped)}")
    return "\n".join([*lines, *([foot] if foot else [])])


def html_table(columns: Sequence[str], rows: Sequence[Row], foot: str = "") -> str:
    """Return the rows as a self-contained table. Every text is escaped."""
    head = "".join(f'<th style="text-align:left">{_escaped(_title(name))}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(_html_cells(columns, row))}</tr>" for row in rows)
    paragraph = f"<p>{_escaped(foot)}</p>" if foot else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f'<div class="rpd">{table}{paragraph}</div>'


def _html_cells(columns: Sequence[str], row: Row) -> Iterator[str]:
    for name in columns:
        value = row.get(name)
        colour = _COLOURS.get(str(value), "") if name in ("outcome", "state") else ""
        style = f' style="color:{colour}"' if colour else ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            style = ' style="text-align:right"'
        yield f"<td{style}>{_escaped(_cell(name, value))}</td>"


def _escaped(text: str) -> str:
    return escape(plain(text).encode("utf-8", "replace").decode("utf-8"))


def _title(name: str) -> str:
    return name.partition(".")[2] or name


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in _SECONDS and isinstance(value, int | float):
        return format_duration(float(value)) if value else ""
    if "usd" in name and isinstance(value, int | float):
        return f"{value:.4f}" if 0 < value < 1 else f"{value:.2f}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(plain(str(value)).split())


def _is_right(name: str, rows: Iterable[Row]) -> bool:
    values = [row.get(name) for row in rows]
    return all(isinstance(value, int | float | None) and not isinstance(value, bool) for value in values)


def to_pandas(rows: Sequence[Row]) -> pandas.DataFrame:
    """Return the rows as a DataFrame. Raise RpdError if pandas is not installed."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise RpdError(
            "to_pandas() needs pandas: pip install pandas. Without it, rows() returns a list of dicts, which polars "
            "and csv.DictWriter take as they are"
        ) from error
    return pandas.DataFrame(list(rows))
