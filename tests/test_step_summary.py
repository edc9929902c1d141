"""The step summary: a short table in Markdown, whatever stands in it."""

from __future__ import annotations

import html
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rpd.redaction import Redactor
from rpd.step_summary import MOST_ROWS, StepSummary, lines
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result, RunSummary
from tests.heard import Heard


def summary(*outcomes: tuple[str, Outcome, str], **facts: object) -> RunSummary:
    reports = tuple(
        NodeReport(
            node=NodeRecord(id=node_id, job="j", file="f", line=1),
            result=Result(outcome=outcome, reason=reason),
        )
        for node_id, outcome, reason in outcomes
    )
    return RunSummary(folder="", reports=reports, seconds=61.0, **facts)  # type: ignore[arg-type]


@given(st.text())
def test_any_text_stays_in_its_cell(text: str) -> None:
    """No reason ends a row, begins another cell or makes a link or an element."""
    written = list(lines(summary(("a", Outcome.FAILED, text))))
    row = written[-1]
    assert len(written) == 5
    assert row.count("|") == 7
    assert not re.search(r"[`*<>\[\]]", row)


def test_a_reason_reads_as_it_was() -> None:
    """Escaping changes nothing for the reader."""
    row = list(lines(summary(("a::b[c]", Outcome.FAILED, "x | <y> *z*"))))[-1]
    assert html.unescape(row).startswith("| a::b[c] | failed | ")
    assert html.unescape(row).endswith("| x | <y> *z* |")


def test_what_did_not_pass_comes_first_and_long_runs_are_cut() -> None:
    """A hundred nodes are fifty rows, failures first, and a line with how many more there are."""
    many = [(f"n{number}", Outcome.PASSED, "") for number in range(99)]
    written = list(lines(summary(*many, ("bad", Outcome.ERROR, "why"))))
    assert written[0] == "### rpd: 99 passed, 1 error in 1m01s, $0.00"
    rows = [line for line in written if line.startswith("| ")][2:]
    assert rows[0].startswith("| bad | error ")
    assert (len(rows), written[-1]) == (MOST_ROWS, f"… and {100 - MOST_ROWS} more")


def test_pods_that_may_bill_stand_out() -> None:
    """They are listed above the table."""
    assert list(lines(summary(unreleased=("pod1",))))[2] == "**May still bill:** pod1"


def test_it_is_appended_masked_and_costs_nothing_where_it_cannot(tmp_path: Path) -> None:
    """Secrets are masked; a file that cannot be written gives a notice, and nothing else happens."""
    heard = Heard()
    file = tmp_path / "s.md"
    redactor = Redactor(["sesame-81f2"])
    StepSummary(file, redactor=redactor, events=heard).rpd_run_finished(
        summary(("a", Outcome.FAILED, "sesame-81f2"))
    )
    assert "sesame" not in file.read_text(encoding="utf-8")
    assert heard.notices == []
    StepSummary(tmp_path, redactor=redactor, events=heard).rpd_run_finished(summary())
    assert len(heard.notices) == 1
