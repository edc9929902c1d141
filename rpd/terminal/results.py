"""The table of results: a job's nodes, parameters beside outcomes and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from rpd.terminal.ink import OUTCOME_STYLES, Ink, fit, money, rule, shorten
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport

MOST_ROWS = 40
"""Rows of all tables together, without ``-v``."""
_WIDEST_CELL = 24
_GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its title, its cells as text, whether they are numbers, and whether it may be left out."""

    title: str
    cells: tuple[str, ...]
    right: bool = False
    optional: bool = False

    @property
    def width(self) -> int:
        """Columns of the screen it takes."""
        return max(cell_len(text) for text in (self.title, *self.cells))


def tables(
    reports: Sequence[NodeReport], *, width: int, verbose: bool, ink: Ink, every: bool = False
) -> Iterator[str]:
    """Yield one table for each job that has several nodes or recorded metrics (``every``: any); fitted to ``width``."""
    rows_left = len(reports) if verbose else MOST_ROWS
    groups: dict[tuple[str, str], list[NodeReport]] = {}
    for report in reports:
        groups.setdefault((report.node.file, report.node.job), []).append(report)
    for (_, job), members in groups.items():
        if rows_left > 0 and (every or len(members) > 1 or any(report.metrics for report in members)):
            yield from _table(job, members, members[:rows_left], width, ink)
            rows_left -= len(members)


def _table(
    job: str, members: Sequence[NodeReport], shown: Sequence[NodeReport], width: int, ink: Ink
) -> Iterator[str]:
    columns, dropped = _fitted(_columns(shown, ink), width - 1)
    yield ""
    yield ink(rule(f"results of {job}", "=", width))
    yield ink(_joined([column.title for column in columns], columns), "bold")
    for number, report in enumerate(shown):
        yield _row(columns, number, report, ink)
    notes = []
    if len(shown) < len(members):
        notes.append(f"{len(members) - len(shown)} more rows")
    if dropped:
        notes.append(f"more columns ({', '.join(dropped)})")
    if notes:
        yield ink(f"… {' and '.join(notes)} in results.csv", "dim")


def _columns(reports: Sequence[NodeReport], ink: Ink) -> list[Column]:
    return [
        *_columns_of([report.node.parameters for report in reports], ink),
        Column(title="outcome", cells=tuple(_outcome(report) for report in reports)),
        *_columns_of([report.metrics for report in reports], ink),
        Column(
            title="time",
            cells=tuple(format_duration(r.result.seconds) for r in reports),
            right=True,
            optional=True,
        ),
        Column(title="$", cells=tuple(_usd(r.cost.estimated_usd) for r in reports), right=True),
    ]


def _columns_of(mappings: Sequence[Mapping[str, Any]], ink: Ink) -> Iterator[Column]:
    for name in dict.fromkeys(name for mapping in mappings for name in mapping):
        values = [mapping.get(name, "") for mapping in mappings]
        cells = tuple(shorten(ink.legible(_text(value)), _WIDEST_CELL) for value in values)
        right = all(value == "" or type(value) in (int, float) for value in values)
        yield Column(title=shorten(ink.legible(name), _WIDEST_CELL), cells=cells, right=right, optional=True)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("\n", " ")


def _outcome(report: NodeReport) -> str:
    return f"{report.result.outcome} ({report.result.cause})" if report.result.cause else report.result.word


def _usd(usd: float) -> str:
    return money(usd).replace("$", "")


def _fitted(columns: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """Drop columns until it fits: first those whose cells are all the same, then from the right."""
    dropped: list[str] = []

    def total() -> int:
        return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)

    same = [c for c in columns if c.optional and len(c.cells) > 1 and len(set(c.cells)) == 1]
    for column in (*reversed(same), *(c for c in reversed(columns) if c.optional and c not in same)):
        if total() <= width:
            break
        columns = [kept for kept in columns if kept is not column]
        dropped.insert(0, column.title)
    return columns, dropped


def _joined(texts: Sequence[str], columns: Sequence[Column]) -> str:
    return _GAP.join(_aligned(text, column) for text, column in zip(texts, columns, strict=True)).rstrip()


def _aligned(text: str, column: Column) -> str:
    return " " * (column.width - cell_len(text)) + text if column.right else fit(text, column.width)


def _row(columns: Sequence[Column], number: int, report: NodeReport, ink: Ink) -> str:
    style = OUTCOME_STYLES[report.result.outcome]
    cells = [_aligned(column.cells[number], column) for column in columns]
    at = next((i for i, column in enumerate(columns) if column.title == "outcome" and not column.optional), 0)
    return _GAP.join(ink(cell, style if i == at else "") for i, cell in enumerate(cells)).rstrip()
