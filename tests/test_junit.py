"""The JUnit report: valid against the schema, complete, masked, and written whatever happens."""

from __future__ import annotations

import signal
import textwrap
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpd.emulator.launch import Launched
from rpd.errors import Cause, CollectionError
from rpd.junit import dumps
from rpd.redaction import NO_SECRETS, Redactor
from rpd.testing import RpdRun
from rpd.values.frozen import replace
from rpd.values.report import (
    CostRecord,
    Failure,
    NodeRecord,
    NodeReport,
    Outcome,
    PodRecord,
    Result,
    RunSummary,
)
from tests.cli.conftest import wait_for

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "hf_TopSecretToken"


@cache
def schema() -> Any:
    """Return the schema of pytest's own reports; its library takes a second to load."""
    import xmlschema

    return xmlschema.XMLSchema(Path(__file__).parent / "xunit2.xsd")


def make_report(
    name: str = "train[seed42]",
    outcome: Outcome = Outcome.PASSED,
    *,
    reason: str = "",
    failure: Failure | None = None,
    pod: bool = False,
    metrics: dict[str, object] | None = None,
    folder: str = "",
) -> NodeReport:
    return NodeReport(
        node=NodeRecord(id=f"exp/deploy_x.py::{name}", job="train", file="exp/deploy_x.py", line=3),
        result=Result(
            outcome=outcome,
            cause=None if outcome.is_ok else Cause.OOM,
            reason=reason,
            attempts=2,
            phases={"setup": 0.5, "job": 1.0},
        ),
        pod=PodRecord(id="pod1", name="rpd-1", gpu="NVIDIA L4", datacenter="EU-RO-1") if pod else None,
        cost=CostRecord(estimated_usd=0.25),
        metrics=metrics or {},
        failure=failure,
        folder=folder,
    )


def written(
    *reports: NodeReport, errors: tuple[CollectionError, ...] = (), redactor: Redactor = NO_SECRETS
) -> ET.Element:
    """Return the test suite, after checking the whole against the schema."""
    summary = RunSummary(folder="/runs/1", reports=reports, seconds=12.5)
    text = dumps(summary, errors, started=NOW, redactor=redactor)
    schema().validate(text)
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    [suite] = root
    return suite


def properties(case: ET.Element) -> dict[str, str]:
    return {each.get("name", ""): each.get("value", "") for each in case.iterfind("properties/property")}


def test_the_suite_counts_by_outcome() -> None:
    """Failures, errors and skipped ones (xfailed and pruned too) are counted; so are all nodes, the time and when it began."""
    suite = written(*(make_report(f"x[{outcome}]", outcome) for outcome in Outcome))
    assert {
        name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time", "timestamp")
    } == {
        "tests": "7",
        "failures": "1",
        "errors": "1",
        "skipped": "3",
        "time": "12.500",
        "timestamp": "2026-01-02T03:04:05.000+00:00",
    }
    assert suite.get("hostname")


@pytest.mark.parametrize(
    ("outcome", "children"),
    [
        (Outcome.PASSED, []),
        (Outcome.XPASSED, []),
        (Outcome.FAILED, ["failure"]),
        (Outcome.ERROR, ["error"]),
        (Outcome.SKIPPED, ["skipped"]),
        (Outcome.XFAILED, ["skipped"]),
        (Outcome.PRUNED, ["skipped"]),
    ],
)
def test_an_outcome_has_its_element(outcome: Outcome, children: list[str]) -> None:
    """Each outcome has the element JUnit has for it, with the reason as its message."""
    [case] = written(make_report(outcome=outcome, reason="because")).iterfind("testcase")
    elements = [child for child in case if child.tag != "properties"]
    assert [child.tag for child in elements] == children
    assert all(child.get("message") == "because" for child in elements)
    assert (case.get("classname"), case.get("name"), case.get("time")) == (
        "exp.deploy_x",
        "train[seed42]",
        "1.500",
    )


def test_what_was_passed_over_for_its_needs_is_skipped_as_such() -> None:
    """CI can tell it from a deliberate skip."""
    report = make_report(outcome=Outcome.SKIPPED, reason="needs a.py::x, which failed (code)")
    held_up = replace(report, result=replace(report.result, cause=Cause.NEEDS))
    kinds = [each.get("type") for each in written(report, held_up).iter("skipped")]
    assert kinds == ["rpd.skip", "rpd.needs"]


def test_a_failure_tells_cause_and_place() -> None:
    """The type of a failure is its cause, its text the user's frames and the reason; the log's end goes to system-out."""
    failure = Failure(traceback=("deploy_x.py:7", "    pod.run()"), log_tail=("line 1", "line 2"))
    [case] = written(make_report(outcome=Outcome.FAILED, reason="exit 1", failure=failure)).iterfind(
        "testcase"
    )
    element = case.find("failure")
    assert element is not None
    assert (element.get("type"), element.text) == ("oom", "deploy_x.py:7\n    pod.run()\nexit 1")
    assert case.findtext("system-out") == "line 1\nline 2"


def test_properties_tell_of_pod_and_metrics() -> None:
    """Pod, GPU, data centre, cost, attempt, cause, folder and every recorded metric are properties."""
    report = make_report(
        outcome=Outcome.FAILED, pod=True, metrics={"f1": 0.5, "gpu": "mine"}, folder="/runs/1/deploy_x.train"
    )
    report = replace(report, node=replace(report.node, needs=("a.py::x[n1]", "a.py::y")))
    suite = written(report)
    [case] = suite.iterfind("testcase")
    assert properties(case) == {
        "needs": "a.py::x[n1]\na.py::y",
        "pod": "pod1",
        "gpu": "NVIDIA L4",
        "datacenter": "EU-RO-1",
        "usd": "0.250000",
        "attempt": "2",
        "cause": "oom",
        "run_dir": "/runs/1/deploy_x.train",
        "f1": "0.5",
        "metric.gpu": "mine",
    }
    assert properties(suite) == {"run_folder": "/runs/1"}


def test_failure_and_teardown_error_are_two_cases() -> None:
    """A node that failed and could not be torn down makes a failure and an error of one name, counted as one node."""
    failure = Failure(traceback=("x.py:1",), teardown=("teardown of a: E: 1", "teardown of b: E: 2"))
    reason = "exit 1; teardown of a: E: 1; teardown of b: E: 2"
    suite = written(make_report(outcome=Outcome.FAILED, reason=reason, failure=failure))
    first, second = suite.iterfind("testcase")
    assert first.get("name") == second.get("name")
    assert first.find("failure").get("message") == "exit 1"  # type: ignore[union-attr]
    assert second.find("error").get("message") == "teardown of a: E: 1; teardown of b: E: 2"  # type: ignore[union-attr]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "1")


def test_collection_errors_are_one_case_a_file() -> None:
    """Each file that could not be collected is one error, with all that is wrong in it."""
    errors = (
        CollectionError("first", file="a/deploy_x.py", line=3),
        CollectionError("second", file="a/deploy_x.py", line=9),
        CollectionError("third", file="conftest.py"),
    )
    suite = written(errors=errors)
    first, second = suite.iterfind("testcase")
    assert (first.get("name"), second.get("name")) == ("a.deploy_x", "conftest")
    assert first.findtext("error") == "a/deploy_x.py:3: first\n\na/deploy_x.py:9: second"
    assert (suite.get("tests"), suite.get("errors")) == ("2", "2")


def test_an_empty_run_is_an_empty_suite() -> None:
    """Nothing selected is a suite of no tests."""
    suite = written()
    assert (suite.get("tests"), len(suite.findall("testcase"))) == ("0", 0)


def test_the_end_of_the_log_is_read_from_its_file(tmp_path: Path) -> None:
    """Of a node that passed the last 20 lines of its log are shown, as they look in the end."""
    lines = [f"line {number}" for number in range(30)]
    (tmp_path / "output.log").write_text(
        "\n".join([*lines, "10%\r100%"]) + "\n", encoding="utf-8", newline=""
    )
    [case] = written(make_report(folder=str(tmp_path))).iterfind("testcase")
    assert case.findtext("system-out") == "\n".join([*lines[11:], "100%"])


TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)


@settings(max_examples=100)
@given(TEXT, TEXT, TEXT)
def test_any_text_makes_a_valid_report(name: str, reason: str, line: str) -> None:
    """Whatever names, reasons and logs hold, the report is well-formed, valid and free of control characters."""
    failure = Failure(traceback=(line,), log_tail=(line, reason), teardown=(reason,))
    report = make_report(name or "x", Outcome.FAILED, reason=reason, failure=failure, metrics={name: line})
    suite = written(report, make_report(name, Outcome.SKIPPED, reason=line))
    for element in suite.iter():
        for text in (element.text or "", *element.attrib.values()):
            assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text)


def test_secrets_are_masked_everywhere() -> None:
    """No text of the report holds a secret, not even one that colour codes had cut in two."""
    cut = f"{SECRET[:8]}\x1b[31m{SECRET[8:]}"
    failure = Failure(traceback=(SECRET,), log_tail=(cut, SECRET), teardown=(f"teardown: {SECRET}",))
    report = make_report(
        SECRET, Outcome.FAILED, reason=f"a {SECRET}", failure=failure, metrics={SECRET: SECRET, "x": cut}
    )
    errors = (CollectionError(SECRET, file=f"{SECRET}.py"),)
    suite = written(report, errors=errors, redactor=Redactor([SECRET]))
    assert SECRET not in ET.tostring(suite, encoding="unicode")
    assert "***" in ET.tostring(suite, encoding="unicode")


# --- through the command line ---------------------------------------------------------------------------------------

DEPLOY = """
import rpd

@rpd.fixture
def leaky():
    yield
    raise RuntimeError("cannot let go")

@rpd.job
@rpd.mark.parametrize("n", [1, 2])
def check(n, record_metric):
    record_metric("score", n / 2)
    assert n == 1, "\\x1b[31mtwo\\x1b[0m"

@rpd.job
def both(leaky):
    rpd.fail("the job itself")

@rpd.job
@rpd.mark.skip(reason="not now")
def later(): ...
"""


def project(folder: Path, text: str = DEPLOY) -> Path:
    (folder / "rpd.toml").write_text("", encoding="utf-8")
    (folder / "deploy_x.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def suite_of(path: Path) -> ET.Element:
    schema().validate(str(path))
    return ET.parse(path).getroot()[0]


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_run_writes_its_report(tmp_path: Path, rpd_run: RpdRun, flags: tuple[str, ...]) -> None:
    """``--junitxml`` writes a valid report into a new folder, of a run and of a dry run."""
    result = rpd_run(project(tmp_path), "--junitxml", "reports/out.xml", *flags)
    assert result.exit_code == 1
    suite = suite_of(tmp_path / "reports" / "out.xml")
    cases = [
        (case.get("name"), [c.tag for c in case if c.tag != "properties"])
        for case in suite.iterfind("testcase")
    ]
    assert cases == [
        ("check[n1]", []),
        ("check[n2]", ["failure"]),
        ("both", ["failure"]),
        ("both", ["error"]),
        ("later", ["skipped"]),
    ]
    assert properties(suite.findall("testcase")[0])["score"] == "0.5"
    assert suite.findall("testcase")[2].find("failure").get("message") == "the job itself"  # type: ignore[union-attr]
    teardown = suite.findall("testcase")[3].find("error")
    assert teardown is not None
    assert "cannot let go" in (teardown.text or "")


def test_collection_errors_are_reported(tmp_path: Path, rpd_run: RpdRun) -> None:
    """Where files cannot be collected nothing runs, and the report says which."""
    project(tmp_path)
    (tmp_path / "deploy_broken.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    assert rpd_run(tmp_path, "--junitxml", "out.xml").exit_code == 2
    [case] = suite_of(tmp_path / "out.xml").iterfind("testcase")
    assert case.get("name") == "deploy_broken"
    assert "nothing_of_that_name" in (case.findtext("error") or "")


def test_nothing_selected_is_an_empty_suite(tmp_path: Path, rpd_run: RpdRun) -> None:
    """Exit 5 leaves an empty, valid suite."""
    assert rpd_run(project(tmp_path), "--junitxml", "out.xml", "-k", "nothing").exit_code == 5
    assert suite_of(tmp_path / "out.xml").get("tests") == "0"


def test_a_folder_is_no_report(tmp_path: Path, rpd_run: RpdRun) -> None:
    """A folder as the path is a usage error, before anything runs."""
    result = rpd_run(project(tmp_path), "--junitxml", ".")
    assert result.exit_code == 4
    assert "--junitxml .: expected a file" in result.err
    assert result.reports == ()


def test_a_report_that_cannot_be_written_fails_nothing(tmp_path: Path, rpd_run: RpdRun) -> None:
    """If the report cannot be written the outcome of the run stays, with a notice."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = rpd_run(project(tmp_path), "-k", "n1", "--junitxml", "file/out.xml")
    assert result.exit_code == 0
    assert "--junitxml" in result.out + result.err
    assert "cannot be written" in result.out + result.err


ON_A_POD = """
import rpd
from rpd import Budget, Secret

@rpd.job(secrets=[Secret("HF_TOKEN")], budget=Budget(cost_cap_usd=1))
def train(pod, record_metric):
    pod.run("echo token is $HF_TOKEN; echo loss 0.5")
    record_metric("loss", 0.5)
    pod.run("{last}")
"""


def test_a_node_on_a_pod_is_told_whole(tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched) -> None:
    """Pod, money, log and metrics of a real run are in the report; its secret is not."""
    project(tmp_path, ON_A_POD.replace("{last}", "echo failing $HF_TOKEN >&2; exit 3"))
    rpd_run(tmp_path, "--yes", "--junitxml", "out.xml", env={"HF_TOKEN": SECRET})
    assert SECRET not in (tmp_path / "out.xml").read_text(encoding="utf-8")
    [case] = suite_of(tmp_path / "out.xml").iterfind("testcase")
    values = properties(case)
    assert {"pod", "datacenter"} <= values.keys()
    assert float(values["usd"]) > 0
    assert (values["loss"], values["cause"]) == ("0.5", "code")
    assert (case.findtext("system-out") or "").split("\n")[-3:] == ["token is ***", "loss 0.5", "failing ***"]


def test_ctrl_c_writes_the_report(tmp_path: Path, rpd_run: RpdRun, clean_emulator: Launched) -> None:
    """After Ctrl-C the report holds the interrupted nodes."""
    project(tmp_path, ON_A_POD.replace("{last}", "echo waiting; sleep 300"))
    running = rpd_run.start(tmp_path, "--yes", "-s", "--junitxml", "out.xml", env={"HF_TOKEN": SECRET})
    wait_for("| waiting", running)
    running.send_signal(signal.SIGINT)
    result = running.finish()
    assert result.exit_code == 2, result.out + result.err
    [case] = suite_of(tmp_path / "out.xml").iterfind("testcase")
    error = case.find("error")
    assert error is not None
    assert error.get("type") == "interrupted"
    assert clean_emulator.pods() == []
