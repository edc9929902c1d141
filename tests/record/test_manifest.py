"""A manifest holds the whole report, and says so clearly where it is damaged."""

import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from rpd.errors import Cause, RpdError
from rpd.record import manifest
from rpd.record.atomic_write import write_whole
from rpd.record.toml_records import toml_value
from rpd.redaction import Redactor
from rpd.values.report import (
    ArtifactRecord,
    AttemptRecord,
    CostRecord,
    EnvironmentRecord,
    Failure,
    NodeRecord,
    NodeReport,
    Outcome,
    PodRecord,
    Result,
    SeriesRecord,
    SourceRecord,
)
from rpd.values.step import Step, StepKind

MakeReport = Callable[..., NodeReport]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False)
AMOUNT = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), NUMBER, st.text(), st.datetimes(), st.binary()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FREE = st.dictionaries(TEXT, VALUES, max_size=4).map(toml_value)


def records(record: type, /, **own: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Any instance of a record, its fields by type unless given."""
    by_type = {
        "str": TEXT,
        "int": WHOLE,
        "float": AMOUNT,
        "bool": st.booleans(),
        "int | None": st.none() | WHOLE,
        "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
        "Mapping[str, str]": st.dictionaries(TEXT, TEXT, max_size=3),
    }
    fields = {
        name: own[name] if name in own else by_type[str(hint)]
        for name, hint in record.__annotations__.items()
    }
    return st.builds(record, **fields)


SECTIONS = {
    "node": records(NodeRecord, parameters=FREE, marks=st.lists(TEXT, max_size=3).map(tuple)),
    "result": records(
        Result,
        outcome=st.sampled_from(Outcome),
        cause=st.none() | st.sampled_from(Cause),
        phases=st.dictionaries(TEXT, AMOUNT, max_size=3),
    ),
    "pod": st.none() | records(PodRecord),
    "pods": st.lists(records(PodRecord), max_size=2).map(tuple),
    "cost": records(CostRecord),
    "source": records(SourceRecord),
    "environment": records(EnvironmentRecord),
    "steps": st.lists(records(Step, kind=st.sampled_from(StepKind)), max_size=2).map(tuple),
    "artifacts": st.lists(records(ArtifactRecord), max_size=2).map(tuple),
    "attempts": st.lists(
        records(AttemptRecord, outcome=st.sampled_from(Outcome), cause=st.none() | st.sampled_from(Cause)),
        max_size=2,
    ).map(tuple),
    "failure": st.none() | records(Failure),
    "metrics": FREE,
    "variables": FREE,
}


@pytest.mark.parametrize("section", SECTIONS)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_report_round_trips(make_report: MakeReport, section: str, data: st.DataObject) -> None:
    """Reading a written report gives an equal one, whatever one of its sections holds."""
    report = replace(make_report(), **{section: data.draw(SECTIONS[section])})
    assert manifest.loads(manifest.dumps(report)) == report


def test_not_a_number_stays_a_number(make_report: MakeReport) -> None:
    """A loss of NaN is a float when read, although it equals nothing."""
    report = replace(make_report(), metrics={"loss": math.nan, "best": math.inf})
    again = manifest.loads(manifest.dumps(report))
    assert math.isnan(again.metrics["loss"])
    assert again.metrics["best"] == math.inf
    assert manifest.dumps(again) == manifest.dumps(report)


def test_names_that_no_text_has_are_written_all_the_same(make_report: MakeReport, tmp_path: Path) -> None:
    """JSON from a pod can spell a lone surrogate: it must cost no manifest, and no other file of the run."""
    series = SeriesRecord().with_point(1, 1.0)
    report = replace(make_report(), metrics={"a\ud800": 1.0}, series={"a\ud800": series})
    again = manifest.loads(manifest.dumps(report))
    assert list(again.series) == list(again.metrics) == ["a\\ud800"]
    write_whole(tmp_path / "results.csv", "a\ud800\n")
    assert (tmp_path / "results.csv").read_text(encoding="utf-8") == "a\\ud800\n"


def test_the_layout(make_report: MakeReport, snapshot: SnapshotAssertion) -> None:
    """The file reads as the contract says."""
    assert manifest.dumps(make_report(outcome=Outcome.FAILED)) == snapshot


def test_a_file_is_written_whole_and_read_with_its_folder(make_report: MakeReport, tmp_path: Path) -> None:
    """A rewritten manifest leaves no temporary file and knows where it lies."""
    path = tmp_path / "manifest.toml"
    manifest.write(path, make_report(outcome=Outcome.PASSED))
    manifest.write(path, make_report(outcome=Outcome.ERROR))
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.toml"]
    again = manifest.read(path)
    assert again == make_report(outcome=Outcome.ERROR)
    assert again.folder == str(tmp_path)


def test_a_newer_manifest_is_read(make_report: MakeReport) -> None:
    """Keys and tables of a later version are passed over."""
    text = manifest.dumps(make_report()).replace("schema_version = 1", 'schema_version = 2\nmade_by = "x"')
    assert manifest.loads(text + '\n[later]\nkey = "value"\n') == make_report()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema_version = 1\n", "", r"m\.toml: schema_version: expected a whole number >= 1, got None"),
        ("line = 7", 'line = "7"', r"m\.toml: \[node\] line: expected a whole number, got '7'"),
        ('kind = "pull"', 'kind = "fly"', r"m\.toml: \[\[steps\]\] 1 kind: expected one of run, .*got 'fly'"),
        ("[result", "[outcome", r"m\.toml: the table \[result\] is missing"),
        ("[metrics]\n", "[metrics\n", r"m\.toml: not valid TOML: .*line"),
        ("call = 2.0", 'call = "2"', r"m\.toml: \[result\] phases: expected a table of numbers, got"),
    ],
)
def test_damage_is_told_with_file_and_key(make_report: MakeReport, old: str, new: str, message: str) -> None:
    """One sentence names the file, the key, the expected and the actual value."""
    text = manifest.dumps(make_report())
    assert old in text
    with pytest.raises(RpdError, match=message):
        manifest.loads(text.replace(old, new), where="m.toml")


def test_a_file_that_cannot_be_read_is_told_with_its_path(tmp_path: Path) -> None:
    """Missing files and bytes that are no text are errors of rpd's own kind."""
    with pytest.raises(RpdError, match=r"none\.toml: No such file"):
        manifest.read(tmp_path / "none.toml")
    (tmp_path / "manifest.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RpdError, match="not UTF-8"):
        manifest.read(tmp_path / "manifest.toml")


def test_secrets_are_masked_in_every_text_and_the_rest_can_be_read(make_report: MakeReport) -> None:
    """A canary in every free field is gone; a secret that is the word of an outcome damages nothing."""
    report = make_report(outcome=Outcome.FAILED, secret="s3cr3t/canary")
    masked = manifest.redacted(report, Redactor(["s3cr3t/canary", "failed"]))
    text = manifest.dumps(masked)
    assert "canary" not in text + repr(masked)
    assert tomllib.loads(text)["result"]["outcome"] == "failed"
    assert manifest.loads(text) == masked
