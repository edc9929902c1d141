"""RunOutcome: how a run called from Python ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.api.reports import Reports
from rpd.errors import CollectionError, CollectionFailed, ExitCode, NodesFailed, ReleaseError
from rpd.values.frozen import frozen
from rpd.values.report import NodeReport, RunSummary

if TYPE_CHECKING:
    import pandas


@frozen
class RunOutcome:
    """The end of a run: the exit code that ``rpd run`` would have had, and the reports of its nodes.

    ``summary`` is None if nothing ran; ``errors`` are those of unusable files. ``notices`` are those that the
    screen would have shown.
    """

    exit_code: ExitCode
    reports: Reports
    summary: RunSummary | None = None
    errors: tuple[CollectionError, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything passed."""
        return self.exit_code is ExitCode.OK

    @property
    def folder(self) -> Path | None:
        """The run folder; None for a dry run, and where nothing ran."""
        return Path(self.summary.folder) if self.summary and self.summary.folder else None

    @property
    def id(self) -> str:
        """The id of the run, as ``rpd show`` takes it; empty if the run has no folder."""
        return self.folder.name if self.folder else ""

    @property
    def usd(self) -> float:
        """The cost of its nodes."""
        return self.summary.estimated_usd if self.summary else 0.0

    def report(self, name: str) -> NodeReport:
        """Return the report of the node of that id, or of that name after ``::``. Raise LookupError."""
        return self.reports.report(name)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each node."""
        return self.reports.rows()

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a DataFrame. Raise RpdError if pandas is not installed."""
        return self.reports.to_pandas()

    def raise_for_outcome(self) -> None:
        """Do nothing if everything passed.

        Raise ReleaseError (a pod may still bill), CollectionFailed, or NodesFailed with the reports of the
        nodes that did not pass.
        """
        if self.ok:
            return
        if self.summary and self.summary.unreleased:
            raise ReleaseError(self.summary.unreleased[0], "", "it could not be confirmed as released")
        if self.errors:
            raise CollectionFailed(self.errors)
        failed = [report for report in self.reports if not report.result.outcome.is_ok]
        raise NodesFailed(self._why(failed), failed)

    def _why(self, failed: list[NodeReport]) -> str:
        lines = [
            f"{report.node.id}: {report.result.outcome}: {report.result.reason}" for report in failed[:10]
        ]
        lines += [f"… and {len(failed) - 10} more"] if len(failed) > 10 else []
        if self.summary is None:
            return "nothing ran: " + (
                "no node is selected" if self.exit_code is ExitCode.NOTHING_COLLECTED else "stopped"
            )
        if self.summary.not_run:
            lines.append(f"{self.summary.not_run} not run: {self.summary.stop_reason}")
        return "\n".join(lines) or f"exit code {int(self.exit_code)}"

    def _foot(self) -> str:
        parts = [f"exit code {int(self.exit_code)}"]
        if self.summary and self.summary.not_run:
            parts.append(f"{self.summary.not_run} not run ({self.summary.stop_reason})")
        parts += [str(self.folder)] if self.folder else []
        parts += [f"{error.place}: {error}" for error in self.errors]
        return "\n".join(parts)

    def __repr__(self) -> str:
        return f"<RunOutcome {self.id or 'dry run'}: {self.exit_code.name}, {len(self.reports)} nodes, ${self.usd:.2f}>"

    def __str__(self) -> str:
        return f"{self.reports}\n{self._foot()}"

    def __rich__(self) -> str:
        """For rich: the table, with no text read as markup."""
        return str(self).replace("[", "\\[")

    def _repr_html_(self) -> str:
        from rpd.api.tables import html_table

        return self.reports._repr_html_() + html_table((), (), self._foot())
