"""The JUnit report: a run as XML of the kind ``xunit2``, for build servers."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from rpd.disk.regular import tail_of
from rpd.errors import Cause, CollectionError
from rpd.events import Events
from rpd.hooks import hookimpl
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.report import NodeReport, Outcome, RunSummary
from rpd.values.safe_text import plain

TAIL_LINES = 20
_TAIL_BYTES = 16384
_NOT_XML = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


class Junit:
    """Writes the report to ``path`` when the run is over, or when nothing can be run.

    Secrets are masked. ``write`` writes the file and raises OSError, which becomes a notice.
    ``now`` is the time in UTC.
    """

    def __init__(
        self,
        path: Path,
        *,
        redactor: Redactor,
        write: Callable[[Path, str], object],
        events: Events,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._redactor = redactor
        self._write_file = write
        self._events = events
        self._started = now()
        self._errors: tuple[CollectionError, ...] = ()

    @hookimpl
    def rpd_collected(self, nodes: Sequence[object], errors: Sequence[CollectionError]) -> None:
        """Keep the collection errors; where nothing will run, this is the whole report."""
        self._errors = tuple(errors)
        if self._errors or not nodes:
            self._write(RunSummary(folder="", reports=(), seconds=0.0))

    @hookimpl
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Write the report."""
        self._write(summary)

    def _write(self, summary: RunSummary) -> None:
        text = dumps(summary, self._errors, started=self._started, redactor=self._redactor)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._write_file(self._path, text)
        except OSError as error:
            self._events.notice(f"--junitxml {self._path}: cannot be written: {error.strerror or error}")


def dumps(
    summary: RunSummary,
    errors: Sequence[CollectionError] = (),
    *,
    started: datetime,
    redactor: Redactor = NO_SECRETS,
) -> str:
    """Return the report as XML: a test case for each node, and an error for each file that was not collected.

    A node that failed and could not be torn down either makes two cases of one name, as with pytest; ``tests``
    counts it once.
    """
    writer = _Writer(redactor)
    broken = _by_file(errors)
    reports = summary.reports
    torn = sum(bool(_teardown(report)) for report in reports)
    suite = writer.element(
        None,
        "testsuite",
        name="rpd",
        errors=str(summary.count(Outcome.ERROR) + torn + len(broken)),
        failures=str(summary.count(Outcome.FAILED)),
        skipped=str(sum(map(summary.count, (Outcome.SKIPPED, Outcome.XFAILED, Outcome.PRUNED)))),
        tests=str(len(reports) + len(broken)),
        time=f"{summary.seconds:.3f}",
        timestamp=started.isoformat(timespec="milliseconds"),
        hostname=platform.node(),
    )
    writer.properties(suite, {"run_folder": summary.folder})
    for file, messages in broken.items():
        writer.collection_error(suite, file, messages)
    for report in reports:
        writer.cases(suite, report)
    root = ET.Element("testsuites", name="rpd")
    root.append(suite)
    ET.indent(root, "")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _by_file(errors: Iterable[CollectionError]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for error in errors:
        place = f"{error.place}: " if error.line else ""
        files.setdefault(error.file, []).append(f"{place}{error.message}")
    return files


class _Writer:
    """Makes elements whose every text is masked and legal."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def text(self, text: str) -> str:
        # Once more afterwards: a colour code in its middle could have hidden a secret.
        return self._redactor.text(_NOT_XML.sub("", plain(self._redactor.text(text))))

    def element(
        self, parent: ET.Element | None, tag: str, text: str = "", /, **attributes: str
    ) -> ET.Element:
        clean = {name: self.text(value) for name, value in attributes.items()}
        made = ET.Element(tag, clean) if parent is None else ET.SubElement(parent, tag, clean)
        made.text = self.text(text) or None
        return made

    def properties(self, parent: ET.Element, values: Mapping[str, str]) -> None:
        texts = {name: value for name, value in values.items() if value}
        if texts:
            holder = self.element(parent, "properties")
            for name, value in texts.items():
                self.element(holder, "property", name=name, value=value)

    def collection_error(self, suite: ET.Element, file: str, messages: Sequence[str]) -> None:
        case = self.element(suite, "testcase", classname="", name=_dotted(file) or "conftest", time="0.000")
        self.element(case, "error", "\n\n".join(messages), message="collection failure", type="collection")

    def cases(self, suite: ET.Element, report: NodeReport) -> None:
        case = self._case(suite, report)
        self.properties(case, _facts(report))
        self._result(case, report)
        log = "\n".join(_log_tail(report))
        if log:
            self.element(case, "system-out", log)
        teardown = _teardown(report)
        if teardown:
            again = self._case(suite, report)
            self.element(again, "error", "\n".join(teardown), message="; ".join(teardown), type="teardown")

    def _case(self, suite: ET.Element, report: NodeReport) -> ET.Element:
        name = report.node.id.partition("::")[2]
        seconds = f"{report.result.seconds:.3f}"
        return self.element(suite, "testcase", classname=_dotted(report.node.file), name=name, time=seconds)

    def _result(self, case: ET.Element, report: NodeReport) -> None:
        result = report.result
        match result.outcome:
            case Outcome.FAILED | Outcome.ERROR:
                tag = "failure" if result.outcome is Outcome.FAILED else "error"
                reason = _own_reason(report)
                shown = [*(report.failure.traceback if report.failure else ()), reason]
                kind = str(result.cause or "")
                self.element(case, tag, "\n".join(shown), message=reason, type=kind)
            case Outcome.SKIPPED:
                kind = "rpd.needs" if result.cause is Cause.NEEDS else "rpd.skip"
                self.element(case, "skipped", message=result.reason, type=kind)
            case Outcome.XFAILED:
                self.element(case, "skipped", message=result.reason, type="rpd.xfail")
            case Outcome.PRUNED:
                self.element(case, "skipped", message=result.reason, type="rpd.pruned")


def _dotted(file: str) -> str:
    """Return a file as pytest names a class: dots for slashes, without its ending."""
    return file.removesuffix(".py").replace("/", ".")


def _teardown(report: NodeReport) -> tuple[str, ...]:
    return report.failure.teardown if report.failure else ()


def _own_reason(report: NodeReport) -> str:
    """Return the reason without the part that the second test case has."""
    reason = report.result.reason
    for text in reversed(_teardown(report)):
        reason = reason.removesuffix(text).removesuffix("; ")
    return reason


def _facts(report: NodeReport) -> dict[str, str]:
    """Return the properties of a node; a metric that is called as one of them becomes ``metric.NAME``."""
    pod, result = report.pod, report.result
    facts = {
        "pod": pod.id if pod else "",
        "gpu": pod.gpu if pod else "",
        "datacenter": pod.datacenter if pod else "",
        "usd": f"{report.cost.estimated_usd:.6f}" if pod else "",
        "attempt": str(result.attempts),
        "cause": str(result.cause or ""),
        "needs": "\n".join(report.node.needs),
        "run_dir": report.folder,
    }
    metrics = {
        (f"metric.{name}" if name in facts else name): str(value) for name, value in report.metrics.items()
    }
    return {**facts, **metrics}


def _log_tail(report: NodeReport) -> Sequence[str]:
    """Return the last lines of the node's log: those of its failure, else of its file."""
    if report.failure and report.failure.log_tail:
        return report.failure.log_tail
    return list(_file_tail(Path(report.folder) / "output.log")) if report.folder else ()


def _file_tail(path: Path) -> Iterator[str]:
    try:
        data = tail_of(path, _TAIL_BYTES)
    except OSError:
        return
    lines = data.decode(errors="replace").rstrip("\n").split("\n")
    for line in lines[-TAIL_LINES:]:
        yield line.rstrip("\r").rpartition("\r")[2]
