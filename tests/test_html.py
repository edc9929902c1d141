"""The HTML report: whatever users and pods wrote is text in it, and secrets are not in it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rpd import html
from rpd.errors import Cause
from rpd.redaction import Redactor
from rpd.values.report import Failure, NodeRecord, NodeReport, Outcome, PodRecord, Result, RunSummary

KNOWN = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "h3",
    "p",
    "b",
    "dl",
    "dt",
    "dd",
    "div",
} | {*("table", "thead", "tbody", "tr", "th", "td", "section", "a", "pre", "script")}


class Reader(HTMLParser):
    """Collects the elements, the text outside of scripts, and what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def report(node_id: str = "deploy_a.py::fit", reason: str = "no", **facts: object) -> NodeReport:
    node = NodeRecord(id=node_id, job="fit", file="deploy_a.py", line=1, parameters={"n": 1})
    result = Result(outcome=Outcome.FAILED, cause=Cause.CODE, reason=reason)
    return NodeReport(node=node, result=result, **facts)  # type: ignore[arg-type]


def page(*reports: NodeReport, **how: object) -> str:
    return html.dumps(RunSummary(folder="/f", reports=reports, seconds=1.0), title="t", **how)  # type: ignore[arg-type]


@given(st.text(), st.text())
def test_any_text_stays_text(name: str, value: str) -> None:
    """No id, reason, parameter or metric makes an element."""
    made = read(page(report(f"deploy_a.py::{name}", reason=value, metrics={name: value})))
    assert set(made.tags) <= KNOWN
    assert made.tags.count("tr") == 2
    assert made.tags.count("th") == 8


def test_links_lead_to_places_in_the_page() -> None:
    """A failed node's link leads to its section, and nothing leads out of the file."""
    made = read(page(report("a/deploy_x.py::fit[é &]"), report("b::c")))
    assert [reference.removeprefix("#") for reference in made.references] == made.ids


def test_the_log_of_a_failure_is_shown(tmp_path: Path) -> None:
    """The end of the log file, as a terminal would leave it, without colours."""
    (tmp_path / "output.log").write_bytes(b"1%\r100%\n\x1b[31mboom\x1b[0m <end>\n")
    made = read(page(report(folder=str(tmp_path))))
    assert "100%\nboom <end>" in made.words


def test_without_a_file_the_failure_has_the_tail() -> None:
    """A node whose folder is gone still has what its report holds."""
    failure = Failure(traceback=("deploy_a.py:3",), log_tail=("last words",))
    assert {"last words", "deploy_a.py:3"} <= set(read(page(report(failure=failure))).words)


def test_secrets_are_masked_everywhere(tmp_path: Path) -> None:
    """Also one that a colour code cuts in two, in a log, a metric, a parameter or a reason."""
    secret = "sesame-81f2"
    (tmp_path / "output.log").write_text(f"{secret} sesame\x1b[0m-81f2\n", encoding="utf-8")
    pod = PodRecord(id=secret, name=secret, gpu=secret)
    held = report(f"a::{secret}", reason=secret, folder=str(tmp_path), metrics={secret: secret}, pod=pod)
    text = page(held, redactor=Redactor([secret]))
    assert secret not in text
    assert "***" in text


def test_numbers_are_sorted_as_numbers() -> None:
    """A cell carries its value unrounded, for the script that sorts."""
    assert '<td class=n data-v="0.123456789">0.123457</td>' in page(report(metrics={"loss": 0.123456789}))
