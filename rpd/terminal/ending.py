"""The end of a run as lines: failures, table, pods that are left, summary."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len

from rpd.errors import Cause
from rpd.terminal.ink import OUTCOME_STYLES, Ink, counted, money, rule, shorten
from rpd.terminal.lists import outcomes_of
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport, Outcome, RunSummary

MOST_FAILURES = 10
"""How many failures are shown at full length without ``-v``."""

_COUNT_WORDS = {Outcome.ERROR: ("error", "errors")}


def failures(reports: Sequence[NodeReport], *, width: int, verbose: bool, ink: Ink) -> Iterator[str]:
    """Yield the section FAILURES: every node that did not pass, with what a person needs to mend it.

    Interrupted nodes have nothing to mend: without ``verbose`` only the short summary lists them.
    """
    failed = [
        report
        for report in reports
        if not report.result.outcome.is_ok and (verbose or report.result.cause is not Cause.INTERRUPTED)
    ]
    if not failed:
        return
    yield ""
    yield ink(rule("FAILURES", "=", width))
    shown = failed if verbose else failed[:MOST_FAILURES]
    for report in shown:
        yield from _failure(report, width, ink)
    if len(shown) < len(failed):
        yield ink(f"… and {len(failed) - len(shown)} more: -v shows all, `rpd show` each", "yellow")


def _failure(report: NodeReport, width: int, ink: Ink) -> Iterator[str]:
    name = report.node.id.rpartition("::")[2]
    prefix = "ERROR in " if report.result.outcome is Outcome.ERROR else ""
    yield ink(rule(f"{prefix}{name}", "_", width), "bold red")
    for line in because(report).splitlines():
        yield ink(line, "red")
    failure = report.failure
    if failure is None:
        return
    if failure.place:
        yield ""
        yield ink(failure.place, "bold")
        if failure.source_line:
            yield f">   {ink(failure.source_line.strip())}"
    frames = [line for text in failure.traceback for line in text.splitlines()]
    if not {line.strip() for line in frames} <= {failure.place, failure.source_line.strip()}:
        yield from (ink(line) for line in frames)
    if failure.log_tail:
        yield ink(rule(f"last {counted(len(failure.log_tail), 'line')} of its log", "-", width), "dim")
        yield from (ink(line) for line in failure.log_tail)
    if report.folder:
        yield ink(f"log: {relative(Path(report.folder) / 'output.log')}", "dim")


def because(report: NodeReport) -> str:
    """Return ``cause: reason``, or what there is of it."""
    result = report.result
    cause = "" if result.cause is None or result.reason.lower().startswith(result.cause) else result.cause
    return ": ".join(part for part in (cause, result.reason) if part) or result.outcome.value


def relative(path: Path) -> str:
    """Return ``path`` as seen from here, if that is shorter."""
    try:
        seen = os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)
    return min(seen, str(path), key=len)


def short_summary(
    reports: Sequence[NodeReport], *, width: int, verbose: bool, crop: bool, ink: Ink, chars: str = "fE"
) -> Iterator[str]:
    """Yield ``FAILED id - reason`` for the outcomes of ``chars`` (``-r``); with ``verbose`` for all but passed ones.

    With ``crop`` a reason ends where the line does.
    """
    wanted = outcomes_of(f"{chars}a" if verbose else chars)
    listed = [report for report in reports if report.result.outcome in wanted]
    if not listed:
        return
    yield ""
    yield ink(rule("short summary", "=", width), "cyan")
    for report in listed:
        outcome = report.result.outcome
        reason = because(report).partition("\n")[0]
        told = "" if reason == outcome.value else f" - {reason}"
        line = ink.redact(report.node.id + told)
        if crop:
            line = shorten(line, max(width - len(outcome) - 2, cell_len(ink.redact(report.node.id))))
        yield f"{ink(outcome.upper(), OUTCOME_STYLES[outcome])} {ink(line)}"


def pods_left(summary: RunSummary, *, width: int, ink: Ink) -> Iterator[str]:
    """Yield, loudly, which pods are not gone, and the command that releases each."""
    if summary.unreleased:
        yield ""
        title = f"{counted(len(summary.unreleased), 'pod')} MAY STILL BILL"
        yield ink(rule(title.upper(), "!", width), "bold red")
        for pod in summary.unreleased:
            yield ink(f"{pod} could not be confirmed as released. Release it: rpd stop {pod}", "bold red")
    if summary.leftover:
        yield ""
        yield ink(
            rule(f"{counted(len(summary.leftover), 'pod')} kept, and still billing", "!", width),
            "bold yellow",
        )
        for pod in summary.leftover:
            yield ink(f"{pod} is still there, as asked for. Release it: rpd stop {pod}", "yellow")


def last_line(
    summary: RunSummary, *, width: int, ink: Ink, dry_run_usd: str | None = None, crop: bool = False
) -> str:
    """Return the last line: counts, time, money, the run folder, and why the run stopped early.

    With ``crop`` a folder that does not fit stands on a line before it.
    ``dry_run_usd`` is the worst case of a dry run as text; None for a real run.
    """
    costs = f"worst case {dry_run_usd}" if dry_run_usd is not None else money(summary.estimated_usd)
    text = f"{_counts(summary)} in {format_duration(summary.seconds)}, {costs}"
    if summary.stop_reason:
        text += f", stopped: {summary.stop_reason}"
    if dry_run_usd is not None:
        text = f"dry run: {text}"
    style = f"bold {_color(summary)}"
    if dry_run_usd is not None or not summary.folder:
        return ink(rule(text, "=", width), style)
    folder = f"run folder {relative(Path(summary.folder))}"
    in_one = f"{text} ({folder})"
    if not crop or cell_len(in_one) + 4 < width:
        return ink(rule(in_one, "=", width), style)
    return f"{ink(folder)}\n{ink(rule(text, '=', width), style)}"


def _counts(summary: RunSummary) -> str:
    parts = []
    numbers = Counter(report.result.outcome for report in summary.reports)
    for outcome in Outcome:
        number = numbers[outcome]
        one, many = _COUNT_WORDS.get(outcome, (outcome.value, outcome.value))
        if number:
            parts.append(f"{number} {one if number == 1 else many}")
    parts += [
        f"{n} {what}" for n, what in ((summary.deselected, "deselected"), (summary.not_run, "not run")) if n
    ]
    return ", ".join(parts) or "nothing ran"


def _color(summary: RunSummary) -> str:
    if summary.unreleased or any(not report.result.outcome.is_ok for report in summary.reports):
        return "red"
    passed = summary.count(Outcome.PASSED)
    return "green" if passed and not summary.stop_reason and not summary.not_run else "yellow"
