"""The table of results: a job's nodes with their parameters, outcomes and metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rpd.terminal.styles import OUTCOME_STYLES, Ink, money, rule
from rpd.values.columns import GAP, Column, cut_middle, fitted, joined
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport

MOST_ROWS = 40
"""Rows of all tables together, without ``-v``."""
_WIDEST_CELL = 120
"""Columns of a text in a table; a whole prompt is for results.csv."""
_NARROWEST_CELL = 12
_OUTCOME, _TIME, _USD = "outcome", "time", "$"


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
    columns, dropped = fitted(_columns(shown, ink), width - 1)
    yield ""
    yield ink(rule(f"results of {job}", "=", width))
    yield ink(joined(columns, [column.title for column in columns]), "bold")
    at = next(number for number, column in enumerate(columns) if column.title == _OUTCOME)
    for report, row in zip(shown, zip(*(column.cells for column in columns), strict=True), strict=True):
        yield _row(columns, row, ink, at, OUTCOME_STYLES[report.result.outcome])
    notes = []
    if len(shown) < len(members):
        notes.append(f"{len(members) - len(shown)} more rows")
    if dropped:
        notes.append(f"more columns ({', '.join(dropped)})")
    if notes:
        yield ink(f"… {' and '.join(notes)} in results.csv", "dim")


def _columns(reports: Sequence[NodeReport], ink: Ink) -> list[Column]:
    parameters = [report.node.parameters for report in reports]
    metrics = [report.metrics for report in reports]
    taken = {_OUTCOME, _TIME, _USD}
    names = {name for mapping in parameters for name in mapping}
    return [
        *_columns_of("parameter", parameters, taken, ink),
        Column(title=_OUTCOME, cells=tuple(_outcome(report) for report in reports)),
        *_columns_of("metric", metrics, taken | names, ink),
        Column(
            title=_TIME, cells=tuple(format_duration(r.result.seconds) for r in reports), right=True, rank=1
        ),
        Column(title=_USD, cells=tuple(_usd(r.cost.estimated_usd) for r in reports), right=True),
    ]


def _columns_of(
    kind: str, mappings: Sequence[Mapping[str, Any]], taken: Collection[str], ink: Ink
) -> Iterator[Column]:
    """Yield a column for each name; a name that another column has gets its kind added, as in results.csv."""
    for name in dict.fromkeys(name for mapping in mappings for name in mapping):
        values = [mapping.get(name, "") for mapping in mappings]
        texts = tuple(cut_middle(ink.legible(_text(value)), _WIDEST_CELL) for value in values)
        is_number = all(value == "" or type(value) in (int, float) for value in values)
        title = f"{kind}.{name}" if name in taken else name
        yield Column(
            title=cut_middle(ink.legible(title).replace("\n", " "), _WIDEST_CELL),
            cells=texts,
            right=is_number,
            least=0 if is_number else _NARROWEST_CELL,
            rank=1,
            says_little=len(texts) > 1 and len(set(texts)) == 1,
        )


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).splitlines())


def _outcome(report: NodeReport) -> str:
    return f"{report.result.outcome} ({report.result.cause})" if report.result.cause else report.result.word


def _usd(usd: float) -> str:
    return money(usd).replace("$", "")


def _row(columns: Sequence[Column], row: Sequence[str], ink: Ink, at: int, style: str) -> str:
    """Return one row; the cell at ``at`` is its outcome, in ``style``."""
    texts = [column.aligned(text) for column, text in zip(columns, row, strict=True)]
    return GAP.join(ink(text, style if number == at else "") for number, text in enumerate(texts)).rstrip()
