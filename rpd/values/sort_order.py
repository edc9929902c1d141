"""Ranking: reports in the order of one of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rpd.values.frozen import frozen

if TYPE_CHECKING:
    from rpd.values.report import NodeReport


_OWN = ("outcome", "seconds", "usd")


@frozen
class Ranking:
    """By which column (a metric or parameter, ``seconds``, ``usd``, ``outcome``), and if the greatest comes first."""

    column: str
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> Ranking:
        """Read ``loss`` or ``accuracy:desc``. Raise ValueError with a rule to show."""
        column, colon, direction = text.rpartition(":")
        if not colon or direction not in ("asc", "desc"):
            column, direction = text, "asc"
        if not column.strip():
            raise ValueError("expected a metric or parameter, or NAME:desc for the largest first")
        return cls(column=column.strip(), descending=direction == "desc")


def columns(reports: Sequence[NodeReport]) -> tuple[str, ...]:
    """Return the names of columns by which the reports can be ranked."""
    named = [(*_OWN, *report.node.parameters, *report.metrics) for report in reports]
    return tuple(dict.fromkeys(name for names in named for name in names))


def _is_both(reports: Sequence[NodeReport], name: str) -> bool:
    """Return whether the name is that of a parameter and of a metric."""
    of_parameter = any(name in report.node.parameters for report in reports)
    return of_parameter and any(name in report.metrics for report in reports)


def missing(reports: Sequence[NodeReport], ranking: Ranking) -> str:
    """Return an error if no report has that column, with the available ones; empty if one has it."""
    if not reports:
        return ""
    name, names = ranking.column, columns(reports)
    if _is_both(reports, name):
        return f"{name!r} is a parameter and a metric: write parameter.{name} or metric.{name}"
    if any(name in _values(report) for report in reports):
        return ""
    import difflib  # for a mistake only

    close = difflib.get_close_matches(ranking.column, names, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"no node has a metric or parameter {ranking.column!r}: there are {', '.join(names)}{meant}"


def ranked(reports: Sequence[NodeReport], ranking: Ranking) -> list[NodeReport]:
    """Return the reports in that order: numbers before texts, those without a value last; equal ones stay in order."""
    keyed = [(_key(_values(report).get(ranking.column)), report) for report in reports]
    valued = [pair for pair in keyed if pair[0] is not None]
    valued.sort(key=lambda pair: pair[0] or (0, 0.0, ""), reverse=ranking.descending)
    return [report for _, report in valued] + [report for key, report in keyed if key is None]


def _values(report: NodeReport) -> Mapping[str, Any]:
    return {
        "outcome": report.result.outcome.value,
        "seconds": report.result.seconds,
        "usd": report.cost.estimated_usd,
        **report.node.parameters,
        **report.metrics,
        **{f"parameter.{name}": value for name, value in report.node.parameters.items()},
        **{f"metric.{name}": value for name, value in report.metrics.items()},
    }


def _key(value: Any) -> tuple[int, float, str] | None:
    """Return the sort key of a value; None for no value, and for NaN, which has no place in any order."""
    if value is None or value != value:
        return None
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value)
