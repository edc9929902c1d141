"""The end of a run as lines: failures, table, pods that are left, summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rpd.disk.regular import is_regular, tail_of
from rpd.errors import Cause
from rpd.terminal.end_tables import outcomes_of
from rpd.terminal.line_buffer import OutputLines
from rpd.terminal.styles import OUTCOME_STYLES, Ink, cell_len, counted, money, rule, shorten
from rpd.values.duration import format_duration
from rpd.values.frozen import frozen
from rpd.values.report import Failure, NodeReport, Outcome, RunSummary

MOST_FAILURES = 10
"""How many failures are shown at full length without ``-v``."""
LOG_FILE = "output.log"
TAIL_LINES = 20
"""How many lines of a log are shown."""
_TAIL_BYTES = 64 * 1024
MOST_ALIKE = 10
"""How many cached or interrupted nodes are listed without ``-v``."""

_COUNT_WORDS: dict[str, tuple[str, str]] = {Outcome.ERROR: ("error", "errors")}


@frozen(kw_only=False)
class Style:
    """How failures are shown: ``name`` as ``--tb`` has it, ``full`` with whole tracebacks, ``log`` with its end."""

    name: str = "auto"
    full: bool = False
    log: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether tracebacks tell the place themselves."""
        return self.full or self.name in ("long", "native")


def failures(
    reports: Sequence[NodeReport],
    *,
    width: int,
    verbose: bool,
    ink: Ink,
    style: Style = Style(),  # noqa: B008 - it cannot change
) -> Iterator[str]:
    """Yield the section FAILURES: every node that did not pass, with the details to fix it.

    Interrupted nodes have nothing to fix: without ``verbose`` only the short summary lists them.
    """
    failed = [
        report
        for report in reports
        if not report.result.outcome.is_ok and (verbose or report.result.cause is not Cause.INTERRUPTED)
    ]
    if not failed or style.name == "no":
        return
    yield ""
    yield ink(rule("FAILURES", "=", width))
    shown = failed if verbose else failed[:MOST_FAILURES]
    for report in shown:
        yield from [_one_line(report, ink)] if style.name == "line" else _failure(report, width, ink, style)
    if len(shown) < len(failed):
        yield ink(f"… and {len(failed) - len(shown)} more: -v shows all, `rpd show` each", "yellow")


def _one_line(report: NodeReport, ink: Ink) -> str:
    place = report.failure.place if report.failure else ""
    reason = because(report).partition("\n")[0]
    return ink(f"{place or report.node.id}: {reason}")


def _failure(report: NodeReport, width: int, ink: Ink, style: Style) -> Iterator[str]:
    name = report.node.id.rpartition("::")[2]
    prefix = "ERROR in " if report.result.outcome is Outcome.ERROR else ""
    yield ink(rule(f"{prefix}{name}", "_", width), "bold red")
    for line in because(report).splitlines():
        yield ink(line, "red")
    failure = report.failure
    if failure is None:
        return
    yield from _traceback(failure, ink, style)
    if failure.log_tail and style.log:
        yield ink(rule(f"last {counted(len(failure.log_tail), 'line')} of its log", "-", width), "dim")
        yield from (ink(line) for line in failure.log_tail)
    if failure.hint:
        yield ink(failure.hint, "yellow")
    log = log_of(report)
    if log is not None:
        yield ink(f"log: {ink.relative(log)}", "dim")


def _traceback(failure: Failure, ink: Ink, style: Style) -> Iterator[str]:
    """Yield the frames, and at their end the place where it happened, once."""
    frames = [line for text in failure.traceback for line in text.splitlines()]
    tells_place = style.is_whole and frames
    if not tells_place:
        frames = _without_end(frames, [failure.place, failure.source_line.strip()])
    if frames or failure.place:
        yield ""
    yield from (ink(line) for line in frames)
    if failure.place and not tells_place:
        yield ink(failure.place, "bold")
        if failure.source_line:
            yield f">   {ink(failure.source_line.strip())}"


def _without_end(lines: list[str], end: Sequence[str]) -> list[str]:
    """Return ``lines`` without ``end`` (blanks around a line do not count), if that is how they end."""
    ending = [line for line in end if line]
    if ending and [line.strip() for line in lines[-len(ending) :]] == ending:
        return lines[: -len(ending)]
    return lines


def log_of(report: NodeReport) -> Path | None:
    """Return where a node's log is, if its commands wrote any."""
    path = Path(report.folder) / LOG_FILE
    return path if report.folder and is_regular(path) else None


def passes(reports: Sequence[NodeReport], *, width: int, ink: Ink) -> Iterator[str]:
    """Yield the section PASSES (``-rP``): the end of the log of every node that passed and wrote one."""
    logs = [
        (report, log)
        for report in reports
        if report.result.outcome is Outcome.PASSED and (log := log_of(report)) is not None
    ]
    if not logs:
        return
    yield ""
    yield ink(rule("PASSES", "=", width))
    for report, log in logs:
        lines = _last_lines(log)
        yield ink(rule(report.node.id.rpartition("::")[2], "_", width), "bold green")
        yield ink(rule(f"last {counted(len(lines), 'line')} of its log", "-", width), "dim")
        yield from (ink(line) for line in lines)
        yield ink(f"log: {ink.relative(log)}", "dim")


def _last_lines(log: Path) -> list[str]:
    """Return the last lines of a log as a person would see them; of a long log only a few screens are read."""
    try:
        data = tail_of(log, _TAIL_BYTES)
    except OSError:
        return []
    output = OutputLines()
    return [*output.feed(data), *output.flush()][-TAIL_LINES:]


def because(report: NodeReport) -> str:
    """Return ``cause: reason``, as far as they are known."""
    result = report.result
    cause = "" if result.cause is None or result.reason.lower().startswith(result.cause) else result.cause
    return ": ".join(part for part in (cause, result.reason) if part) or result.outcome.value


def short_summary(
    reports: Sequence[NodeReport], *, width: int, verbose: bool, crop: bool, ink: Ink, chars: str = "fE"
) -> Iterator[str]:
    """Yield ``FAILED id - reason`` for the outcomes in ``chars`` (``-r``); with ``verbose`` for all but passed ones.

    Cached nodes are listed with the folder of their files, ten of them without ``verbose``; if more than ten
    were interrupted, or skipped because of their needs, only their number is shown. With ``crop`` a reason
    ends with the line.
    """
    outcomes = outcomes_of(f"{chars}a" if verbose else chars)
    cached = [report for report in reports if report.result.word == "cached"]
    held_up = [report for report in reports if report.result.cause is Cause.NEEDS]
    listed = [
        report
        for report in reports
        if (report.result.outcome in outcomes or report.result.cause is Cause.NEEDS) and report not in cached
    ]
    if not verbose and len(held_up) > MOST_ALIKE:
        listed = [report for report in listed if report.result.cause is not Cause.NEEDS]
    cut = [report for report in listed if report.result.cause is Cause.INTERRUPTED]
    if not verbose and len(cut) > MOST_ALIKE:
        listed = [report for report in listed if report.result.cause is not Cause.INTERRUPTED]
    if not listed and not cached and not cut and not held_up:
        return
    yield ""
    yield ink(rule("short summary", "=", width), "cyan")
    shown = cached if verbose else cached[:MOST_ALIKE]
    for report in shown:
        yield f"{ink('CACHED', 'yellow')} {ink(f'{report.node.id} - {ink.relative(Path(report.folder))}')}"
    if len(shown) < len(cached):
        yield ink(f"… and {len(cached) - len(shown)} more cached: -v shows all", "yellow")
    if cut and cut[0] not in listed:
        yield ink(f"{len(cut)} nodes were interrupted: -v lists them, `rpd run --lf` reruns them", "yellow")
    if held_up and held_up[0] not in listed:
        yield ink(
            f"{len(held_up)} nodes were skipped because nodes they need did not pass: -v lists them", "yellow"
        )
    for report in listed:
        outcome = report.result.outcome
        reason = because(report).partition("\n")[0]
        suffix = "" if reason == outcome.value else f" - {reason}"
        line = ink.legible(report.node.id + suffix)
        if crop:
            line = _cropped(line, ink.legible(report.node.id), width - len(outcome) - 2)
        yield f"{ink(outcome.upper(), OUTCOME_STYLES[outcome])} {ink(line)}"


def _cropped(line: str, node_id: str, room: int) -> str:
    """Cut the reason, never the id, which is there to be copied; an id that is too long stands alone, and wraps."""
    return shorten(line, room) if cell_len(node_id) + len(" - …") < room else node_id


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
            yield ink(f"{pod} is kept, and bills until you release it: rpd stop {pod}", "yellow")


def last_line(summary: RunSummary, *, width: int, ink: Ink, worst_case: str = "", crop: bool = False) -> str:
    """Return the last line: counts, time, money, the run folder, and why the run stopped early.

    With ``crop`` a folder that does not fit stands on a line before it.
    ``worst_case`` is that of a dry run as text; empty for a live run.
    """
    costs = f"worst case {worst_case}" if worst_case else money(summary.estimated_usd)
    text = f"{_counts(summary, is_dry=bool(worst_case))} in {format_duration(summary.seconds)}, {costs}"
    if summary.stop_reason:
        text += f", stopped: {summary.stop_reason}"
    if worst_case:
        text = f"dry run: {text}"
    style = f"bold {_color(summary)}"
    if worst_case or not summary.folder:
        return ink(rule(text, "=", width), style)
    folder = f"run folder {ink.relative(Path(summary.folder))}"
    in_one = f"{text} ({folder})"
    if not crop or cell_len(in_one) + 4 < width:
        return ink(rule(in_one, "=", width), style)
    return f"{ink(folder)}\n{ink(rule(text, '=', width), style)}"


def _counts(summary: RunSummary, *, is_dry: bool) -> str:
    """Return ``5 passed, 1 failed``; in a dry run nothing was run, so nothing passed: it is planned."""
    parts = []
    words = {**_COUNT_WORDS, Outcome.PASSED: ("planned", "planned")} if is_dry else _COUNT_WORDS
    numbers = Counter(report.result.word for report in summary.reports)
    for word in (*Outcome, "cached"):
        number = numbers[word]
        one, many = words.get(word, (word, word))
        if number:
            parts.append(f"{number} {one if number == 1 else many}")
    parts += [
        f"{n} {what}"
        for n, what in (
            (summary.deselected, "deselected"),
            (summary.not_run, "not run" if summary.is_over else "not yet over"),
        )
        if n
    ]
    return ", ".join(parts) or "nothing ran"


def _color(summary: RunSummary) -> str:
    if summary.unreleased or any(not report.result.outcome.is_ok for report in summary.reports):
        return "red"
    passed = summary.count(Outcome.PASSED) + summary.count(Outcome.PRUNED)
    return "green" if passed and not summary.stop_reason and not summary.not_run else "yellow"
