"""Ranking: reports in the order of one of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rpd.values.frozen import frozen

if TYPE_CHECKING:
    from rpd.values.report import NodeReport


@frozen
class Ranking:
    """By which column (a metric or parameter, ``seconds``, ``usd``, ``outcome``), and if the greatest comes first."""

    column: str
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> Ranking:
        """Read ``loss`` or ``accuracy:desc``. Raises ValueError with a rule to show."""
        column, colon, direction = text.rpartition(":")
        if not colon or direction not in ("asc", "desc"):
            column, direction = text, "asc"
        if not column.strip():
            raise ValueError("expected a metric or parameter, or NAME:desc for the greatest first")
        return cls(column=column.strip(), descending=direction == "desc")


def columns(reports: Sequence[NodeReport]) -> tuple[str, ...]:
    """Return by what the reports can be ranked."""
    return tuple(dict.fromkeys(name for report in reports for name in _values(report)))


def missing(reports: Sequence[NodeReport], ranking: Ranking) -> str:
    """Return what is wrong where no report has that column, with what there is; empty where one has."""
    known = columns(reports)
    if ranking.column in known or not reports:
        return ""
    import difflib  # for a mistake only

    close = difflib.get_close_matches(ranking.column, known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"no node has a metric or parameter {ranking.column!r}: there are {', '.join(known)}{meant}"


def ranked(reports: Sequence[NodeReport], ranking: Ranking) -> list[NodeReport]:
    """Return the reports in that order: numbers before texts, those without a value last; equal ones stay in order."""
    held = [(_key(_values(report).get(ranking.column)), report) for report in reports]
    valued = [pair for pair in held if pair[0] is not None]
    valued.sort(key=lambda pair: pair[0] or (0, 0.0, ""), reverse=ranking.descending)
    return [report for _, report in valued] + [report for key, report in held if key is None]


def _values(report: NodeReport) -> Mapping[str, Any]:
    return {
        "outcome": report.result.outcome.value,
        "seconds": report.result.seconds,
        "usd": report.cost.estimated_usd,
        **report.node.parameters,
        **report.metrics,
    }


def _key(value: Any) -> tuple[int, float, str] | None:
    """Return what to compare; None for nothing, and for NaN, which is neither more nor less than anything."""
    if value is None or value != value:
        return None
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value)
