"""Reports: nodes of past runs or of a run that has just ended, as a sequence and as data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from rpd.api import tables
from rpd.errors import RpdError, UsageError
from rpd.query.answer import Totals, totals
from rpd.query.expression import Expression
from rpd.query.rows import OWN, Row, Rows, row_of
from rpd.record import manifest
from rpd.values.duration import format_duration, parse_duration
from rpd.values.number_bounds import MOST_AGE_SECONDS
from rpd.values.report import NodeReport, Outcome
from rpd.values.suggestions import closest

if TYPE_CHECKING:
    import pandas

Since = str | timedelta | datetime
"""``"7d"``, a timedelta, or a moment (without a time zone: of this place)."""

_SHOWN = ("run", "node", "outcome", "cause", "attempts", "gpu", "seconds", "usd")


class Reports(Sequence[NodeReport]):
    """Reports of nodes, in order. Each is read from its manifest when it is asked for; ``rows`` needs no reading.

    ``damaged`` are the errors of manifests and run folders that cannot be read, and are left out.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        damaged: Sequence[RpdError] = (),
        known: Mapping[str, NodeReport] | None = None,
    ) -> None:
        self._rows = list(rows)
        self._known = dict(known or {})
        """By folder."""
        self.damaged = tuple(damaged)

    @overload
    def __getitem__(self, at: int) -> NodeReport: ...
    @overload
    def __getitem__(self, at: slice) -> Reports: ...
    def __getitem__(self, at: int | slice) -> NodeReport | Reports:
        if isinstance(at, slice):
            return Reports(self._rows[at], damaged=self.damaged, known=self._known)
        return self._report(self._rows[at])

    def __len__(self) -> int:
        return len(self._rows)

    def _report(self, row: Row) -> NodeReport:
        """Return the report of a row. Raise RpdError if the manifest cannot be read any more."""
        key = f"{row['folder']}\n{row['node']}"
        if key in self._known:
            return self._known[key]
        return manifest.read(Path(row["folder"], manifest.FILE_NAME))

    def report(self, name: str) -> NodeReport:
        """Return the report of the node of that id, or of that name after ``::``. Raise LookupError."""
        for row in self._rows:
            if name in (row["node"], row["node"].rpartition("::")[2]):
                return self._report(row)
        raise LookupError(f"there is no node {name!r} among {[row['node'] for row in self._rows[:10]]}")

    def where(
        self,
        expression: str = "",
        *,
        job: str = "",
        outcome: Outcome | str | Collection[Outcome | str] = (),
        cause: str | Collection[str] = (),
        **parameters: object,
    ) -> Reports:
        """Return the reports that match all conditions.

        ``expression`` is one of ``rpd query``, such as ``"lr < 0.01 and outcome == 'failed'"``. A parameter
        matches if it is equal to the given value, is in the given list, or if the given function of it
        returns true. Raise UsageError.
        """
        columns = self.columns
        tests = [_test(name, value, columns) for name, value in parameters.items()] if self._rows else []
        if job:
            tests.append(lambda row: row["job"] == job)
        if outcome:
            tests.append(_among("outcome", outcome, [each.value for each in Outcome]))
        if cause:
            tests.append(_among("cause", cause, ()))
        if expression:
            tests.append(Expression(expression, columns).matches)
        kept = [row for row in self._rows if all(test(row) for test in tests)]
        return Reports(kept, damaged=self.damaged, known=self._known)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each node: the columns of ``rpd query --columns``, ``param.lr``, ``metric.loss``."""
        return [dict(row) for row in self._rows]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a DataFrame. Raise RpdError if pandas is not installed."""
        return tables.to_pandas(self._rows)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names in the rows: those of every node, then parameters, metrics, variables and phases."""
        return Rows(self._rows).columns

    @property
    def totals(self) -> Totals:
        """How many nodes and runs, the outcomes, seconds and USD."""
        return totals(self._rows)

    @property
    def usd(self) -> float:
        """Their total cost (USD)."""
        return self.totals.usd

    def __repr__(self) -> str:
        return f"<Reports: {self._foot()}>"

    def __str__(self) -> str:
        return tables.text_table(self._columns(), self._rows[: tables.MOST_ROWS], self._foot())

    def __rich__(self) -> str:
        """For rich: the table, with no text read as markup."""
        return str(self).replace("[", "\\[")

    def _repr_html_(self) -> str:
        return tables.html_table(self._columns(), self._rows[: tables.MOST_ROWS], self._foot())

    def _columns(self) -> list[str]:
        own = [name for name in self.columns if name.partition(".")[0] in ("param", "metric")]
        at = _SHOWN.index("outcome")
        order = [*_SHOWN[:at], *(n for n in own if n.startswith("param.")), *_SHOWN[at:4]]
        order += [*(name for name in own if name.startswith("metric.")), *_SHOWN[4:]]
        columns = tables.shown(order, self._rows)
        return columns if len({row["run"] for row in self._rows}) > 1 else [c for c in columns if c != "run"]

    def _foot(self) -> str:
        sums = self.totals
        parts = [f"{sums.nodes} node{'' if sums.nodes == 1 else 's'}"]
        parts += [f"{number} {outcome}" for outcome, number in sums.outcomes.items()]
        parts += [format_duration(sums.seconds), f"${sums.usd:.2f}"] if sums.nodes else []
        if len(self._rows) > tables.MOST_ROWS:
            parts.append(f"the first {tables.MOST_ROWS} are shown")
        if self.damaged:
            parts.append(f"{len(self.damaged)} that cannot be read (see .damaged)")
        return ", ".join(parts)


def reports_of(reports: Sequence[NodeReport], run: str) -> Reports:
    """Return the reports of a run that is over, as they are in memory."""
    rows = [row_of(run, report.folder, manifest.document_of(report)) for report in reports]
    reports_by_key = {f"{report.folder}\n{report.node.id}": report for report in reports}
    return Reports(rows, known=reports_by_key)


def moment_of(since: Since | None) -> str:
    """Return a moment as runs have it: UTC, ISO 8601; empty for None. Raise UsageError."""
    if since is None:
        return ""
    if isinstance(since, datetime):
        return since.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(since, timedelta):
        return (datetime.now(UTC) - since).isoformat(timespec="seconds")
    try:
        seconds = parse_duration(since, most=MOST_AGE_SECONDS)
    except ValueError as error:
        raise UsageError(f"since: {error}, got {since!r}") from None
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def _test(name: str, wanted: object, columns: Sequence[str]) -> Callable[[Row], bool]:
    own = {
        column.partition(".")[2]: column for column in reversed(columns) if column.partition(".")[0] in OWN
    }
    if name not in own:
        close = closest(name, own)
        meant = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"{name}: no node has a parameter, metric or variable of this name{meant}")
    column = own[name]

    def fits(row: Row) -> bool:
        if column not in row:
            return False
        value = row[column]
        if callable(wanted):
            return bool(wanted(value))
        if isinstance(wanted, list | tuple | set | frozenset | range):
            return value in wanted
        return bool(value == wanted)

    return fits


def _among(column: str, wanted: object, known: Sequence[str]) -> Callable[[Row], bool]:
    choices = {str(each) for each in ([wanted] if isinstance(wanted, str) else wanted)}  # type: ignore[attr-defined]
    if known and (odd := sorted(choices - set(known))):
        raise UsageError(f"{column}: expected one of {', '.join(known)}, got {odd[0]!r}")
    return lambda row: row[column] in choices
