"""The HTML report: a run as one file that needs nothing else, for people and mail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rpd.disk.regular import is_regular, tail_of
from rpd.events import Events
from rpd.hooks import hookimpl
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport, Outcome, RunSummary
from rpd.values.safe_text import plain

TAIL_LINES = 40
_TAIL_BYTES = 32768

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { cursor: pointer; user-select: none; white-space: nowrap; }
th[aria-sort=ascending]::after { content: " \\25b2"; }
th[aria-sort=descending]::after { content: " \\25bc"; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #8882; overflow-x: auto; padding: .6rem; }
.passed { color: #1a7f37; } .failed, .error { color: #d1242f; } .skipped, .xfailed, .xpassed { color: #9a6700; }
.scroll { overflow-x: auto; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; }
dd { margin: 0; }
"""

# Cells carry what to compare in data-v; numbers compare as numbers, and what is empty comes last either way.
_SCRIPT = """
for (const head of document.querySelectorAll("th")) head.addEventListener("click", () => {
  const table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[at].dataset.v;
  const compare = (a, b) => a === "" || b === "" ? (a === "") - (b === "")
    : (down ? -1 : 1) * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
});
"""


class HtmlReport:
    """Writes the report to ``path`` when the run is over.

    Secrets are masked. ``write`` writes the file and raises OSError, which becomes a notice.
    """

    def __init__(
        self,
        path: Path,
        *,
        redactor: Redactor,
        write: Callable[[Path, str], object],
        events: Events,
        order: Callable[[Sequence[NodeReport]], Sequence[NodeReport]] = tuple,
    ) -> None:
        self._path = path
        self._redactor = redactor
        self._write = write
        self._events = events
        self._order = order

    @hookimpl
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Write the report."""
        title = Path(summary.folder).name or "dry run"
        text = dumps(summary, title=title, redactor=self._redactor, reports=self._order(summary.reports))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._write(self._path, text)
        except OSError as error:
            self._events.notice(f"--html {self._path}: cannot be written: {error.strerror or error}")


def dumps(
    summary: RunSummary,
    *,
    title: str,
    redactor: Redactor = NO_SECRETS,
    reports: Sequence[NodeReport] | None = None,
) -> str:
    """Return the report: counts and money, a table that a click on a heading sorts, and every non-pass with its log.

    ``reports`` are the nodes in the order wanted.
    """
    page = _Page(redactor)
    held = summary.reports if reports is None else reports
    body = [*page.summary(summary, title), *page.table(held), *page.failures(held)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{page.text(f'rpd run {title}')}</title>",
            f"<style>{_STYLE}</style></head>",
            "<body>",
            *body,
            f"<script>{_SCRIPT}</script>",
            "</body></html>",
            "",
        ]
    )


class _Page:
    """Makes elements whose every text is masked and escaped."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def text(self, value: object) -> str:
        # Once more after the control characters are gone: one in its middle could have hidden a secret.
        legible = self._redactor.text(plain(self._redactor.text(str(value))))
        return escape(legible.encode("utf-8", "replace").decode("utf-8"))

    def summary(self, summary: RunSummary, title: str) -> Iterator[str]:
        yield f"<h1>rpd run {self.text(title)}</h1>"
        counts = [(outcome, summary.count(outcome)) for outcome in Outcome]
        told = [f'<b class="{outcome}">{number} {outcome}</b>' for outcome, number in counts if number]
        told += [
            f"{n} {what}"
            for n, what in ((summary.deselected, "deselected"), (summary.not_run, "not run"))
            if n
        ]
        yield f"<p>{', '.join(told) or 'nothing ran'}</p>"
        facts = {
            "time": format_duration(summary.seconds),
            "cost": f"${summary.estimated_usd:.2f} (computed from rates; RunPod's bill decides)",
            "stopped": summary.stop_reason,
            "pods that may still bill": ", ".join(summary.unreleased),
            "pods that were kept": ", ".join(summary.leftover),
            "run folder": summary.folder,
        }
        yield from self.facts(facts)

    def facts(self, facts: Mapping[str, object]) -> Iterator[str]:
        yield "<dl>"
        for name, value in facts.items():
            if value != "":
                yield f"<dt>{self.text(name)}</dt><dd>{self.text(value)}</dd>"
        yield "</dl>"

    def table(self, reports: Sequence[NodeReport]) -> Iterator[str]:
        if not reports:
            return
        parameters = _names(report.node.parameters for report in reports)
        metrics = _names(report.metrics for report in reports)
        head = ["node", "outcome", *parameters, *metrics, "GPU", "data centre", "seconds", "$"]
        yield "<h2>Nodes</h2>"
        yield '<div class="scroll"><table><thead><tr>'
        yield "".join(f"<th>{self.text(name)}</th>" for name in head)
        yield "</tr></thead><tbody>"
        for number, report in enumerate(reports):
            yield f"<tr>{''.join(self._cells(number, report, parameters, metrics))}</tr>"
        yield "</tbody></table></div>"

    def _cells(
        self, number: int, report: NodeReport, parameters: Sequence[str], metrics: Sequence[str]
    ) -> Iterator[str]:
        outcome, cause = report.result.outcome, report.result.cause
        name = self.text(report.node.id)
        linked = name if outcome.is_ok else f'<a href="#node-{_anchor(report)}">{name}</a>'
        yield f'<td data-v="{number}">{linked}</td>'
        told = self.text(f"{outcome} ({cause})" if cause else outcome)
        yield f'<td data-v="{told}" class="{outcome}">{told}</td>'
        for wanted in parameters:
            yield self._value(report.node.parameters.get(wanted, ""))
        for wanted in metrics:
            yield self._value(report.metrics.get(wanted, ""))
        pod = report.pod
        yield self._value(pod.gpu or "CPU" if pod else "")
        yield self._value(pod.datacenter if pod else "")
        yield self._value(round(report.result.seconds, 1))
        yield self._value(round(report.cost.estimated_usd, 4))

    def _value(self, value: Any) -> str:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        told = f"{value:.6g}" if isinstance(value, float) else value
        # Masked too: a number is never a secret, a text may be.
        compared = value if is_number else told
        return f'<td{" class=n" if is_number else ""} data-v="{self.text(compared)}">{self.text(told)}</td>'

    def failures(self, reports: Sequence[NodeReport]) -> Iterator[str]:
        failed = [report for report in reports if not report.result.outcome.is_ok]
        if failed:
            yield "<h2>What did not pass</h2>"
        for report in failed:
            yield from self._failure(report)

    def _failure(self, report: NodeReport) -> Iterator[str]:
        result, pod = report.result, report.pod
        yield f'<section id="node-{_anchor(report)}"><h3 class="{result.outcome}">{self.text(report.node.id)}</h3>'
        yield from self.facts(
            {
                "outcome": result.outcome,
                "cause": result.cause or "",
                "reason": result.reason,
                "attempts": result.attempts,
                "pod": f"{pod.id}, {pod.gpu or 'CPU'} in {pod.datacenter or '?'} ({pod.final_state})"
                if pod
                else "",
                "folder": report.folder,
            }
        )
        if report.failure is not None and report.failure.traceback:
            yield f"<pre>{self.text(chr(10).join(report.failure.traceback))}</pre>"
        tail = _log_tail(report)
        if tail:
            yield f"<p>The end of its log:</p><pre>{self.text(chr(10).join(tail))}</pre>"
        yield "</section>"


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _anchor(report: NodeReport) -> str:
    """Return the id as the name of a place in the page: letters, digits and hexadecimal codes."""
    return re.sub(r"[^A-Za-z0-9]", lambda found: f"-{ord(found[0]):x}-", report.node.id)


def _log_tail(report: NodeReport) -> Sequence[str]:
    """Return the last lines of the node's log file, else those its failure holds."""
    path = Path(report.folder) / "output.log"
    if report.folder and is_regular(path):
        try:
            lines = tail_of(path, _TAIL_BYTES).decode(errors="replace").rstrip("\n").split("\n")
        except OSError:
            lines = []
        shown = [line.rstrip("\r").rpartition("\r")[2] for line in lines[-TAIL_LINES:]]
        if any(shown):
            return shown
    return report.failure.log_tail if report.failure else ()
