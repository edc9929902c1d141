"""The step summary: a run as a short Markdown table on the page of a GitHub Actions job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rpd.events import Events
from rpd.hooks import hookimpl
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport, Outcome, RunSummary
from rpd.values.safe_text import plain

ENVIRONMENT_NAME = "GITHUB_STEP_SUMMARY"
"""The file that GitHub Actions shows, as Markdown, on the page of a workflow run."""
MOST_ROWS = 50
_LONGEST = 160
_MARKUP = frozenset("\\`*_{}[]<>|#!&~$@")


class StepSummary:
    """Appends to ``path`` when a run is over; a notice says why it cannot."""

    def __init__(self, path: Path, *, redactor: Redactor, events: Events) -> None:
        self._path = path
        self._redactor = redactor
        self._events = events

    @hookimpl
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Append the table."""
        text = "\n".join(lines(summary, self._redactor)) + "\n"
        try:
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:
            self._events.notice(
                f"{ENVIRONMENT_NAME} {self._path}: cannot be written: {error.strerror or error}"
            )


def lines(summary: RunSummary, redactor: Redactor = NO_SECRETS) -> Iterator[str]:
    """Yield a heading with counts and money, and one row per node; those that did not pass come first."""
    counts = [f"{number} {each}" for each in Outcome if (number := summary.count(each))]
    outcomes = ", ".join(counts) or "nothing ran"
    yield f"### rpd: {outcomes} in {format_duration(summary.seconds)}, ${summary.estimated_usd:.2f}"
    yield ""
    if summary.unreleased:
        yield f"**May still bill:** {_cell(', '.join(summary.unreleased), redactor)}"
        yield ""
    reports = sorted(summary.reports, key=lambda report: report.result.outcome.is_ok)
    if not reports:
        return
    yield "| node | outcome | GPU | time | $ | reason |"
    yield "| --- | --- | --- | ---: | ---: | --- |"
    for report in reports[:MOST_ROWS]:
        yield f"| {' | '.join(_cell(text, redactor) for text in _row(report))} |"
    if len(reports) > MOST_ROWS:
        yield ""
        yield f"… and {len(reports) - MOST_ROWS} more"


def _row(report: NodeReport) -> tuple[str, ...]:
    result, pod = report.result, report.pod
    cause = f" ({result.cause})" if result.cause else ""
    gpu = (pod.gpu or "CPU") if pod else ""
    usd = f"{report.cost.estimated_usd:.2f}"
    return (
        report.node.id,
        f"{result.outcome}{cause}",
        gpu,
        format_duration(result.seconds),
        usd,
        result.reason,
    )


def _cell(text: str, redactor: Redactor) -> str:
    """Return a text that stays inside its cell and is no markup."""
    # Once more after the control characters are gone: one in its middle could have hidden a secret.
    masked = redactor.text(plain(redactor.text(text)))
    line = " ".join("".join(char if char.isprintable() else " " for char in masked).split())
    short = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    return "".join(f"&#{ord(char)};" if char in _MARKUP else char for char in short)
