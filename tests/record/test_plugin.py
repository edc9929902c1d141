"""The record of a run is on disk from its start to its end, without its secrets."""

import csv
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from rpd.config import Config, config_of
from rpd.errors import ExitCode
from rpd.hooks import make_plugin_manager, register
from rpd.record import manifest, run_info
from rpd.record.plugin import ManifestPlugin
from rpd.redaction import Redactor
from rpd.values.plan import Plan
from rpd.values.report import AttemptRecord, CostRecord, NodeReport, Outcome, RunSummary
from tests.heard import Heard

MakeReport = Callable[..., NodeReport]
SECRET = "s3cr3t/canary"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    argv = ("run", "--var", f"token={SECRET}")
    return config_of(command="run", rootdir=tmp_path, invocation_dir=tmp_path, argv=argv)


def make_plugin(notices: list[str], **keywords: object) -> ManifestPlugin:
    return ManifestPlugin(
        redactor=Redactor([SECRET]),
        events=Heard(notices),
        now=iter(["2026-01-02T03:04:05+00:00", "2026-01-02T03:05:05+00:00"]).__next__,
        **keywords,  # type: ignore[arg-type]
    )


def test_a_whole_run_through_the_hooks(
    make_report: MakeReport, config: Config, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    """Manifests, run file and results are written, can be read back and hold no secret anywhere."""
    notices: list[str] = []
    plugin = make_plugin(notices)
    manager = make_plugin_manager()
    register(manager, plugin, "manifest")
    folder = tmp_path / "20260102T030405-ab12"
    reports = []
    for seed, outcome in ((1, Outcome.PASSED), (2, Outcome.FAILED)):
        (folder / str(seed)).mkdir(parents=True)
        reports.append(make_report(seed, outcome, secret=SECRET, folder=folder / str(seed)))
    plan = Plan(lanes=(), width=2, worst_case_usd=10.0)
    manager.hook.rpd_run_started(config=config, plan=plan, backend="RunPod", folder=folder, done=())
    begun = run_info.read(folder / "run.toml")
    assert (begun.started, begun.finished, begun.exit_code) == ("2026-01-02T03:04:05+00:00", "", None)
    for report in reports:
        manager.hook.rpd_node_report(node=None, report=report)
    summary = RunSummary(
        folder=str(folder),
        reports=tuple(reports),
        seconds=60.0,
        not_run=1,
        stop_reason=f"interrupted {SECRET}",
        unreleased=("pod1",),
    )
    manager.hook.rpd_run_finished(config=config, summary=summary)
    plugin.record_exit_code(ExitCode.POD_NOT_RELEASED)

    ended = run_info.read(folder / "run.toml")
    assert ended.exit_code == 6
    assert ended.outcomes == {"passed": 1, "failed": 1}
    assert ended.argv == ("run", "--var", "token=***")
    assert ended.unreleased == ("pod1",)
    assert manifest.read(folder / "1" / "manifest.toml").node.parameters["token"] == "p***"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [path.name for path in files] == [
        ".manifests",
        "manifest.toml",
        "manifest.toml",
        "results.csv",
        "run.toml",
    ]
    assert not [path for path in files if b"canary" in path.read_bytes()]
    assert (folder / "results.csv").read_text() == snapshot
    assert notices == []


def test_a_rewritten_report_replaces_the_first(make_report: MakeReport, tmp_path: Path) -> None:
    """A teardown that fails later changes the manifest."""
    plugin = make_plugin([])
    plugin.rpd_node_report(make_report(outcome=Outcome.PASSED, folder=tmp_path))
    plugin.rpd_node_report(make_report(outcome=Outcome.ERROR, folder=tmp_path))
    assert manifest.read(tmp_path / "manifest.toml").result.outcome is Outcome.ERROR


def test_only_what_had_a_pod_waits_for_the_disk(
    make_report: MakeReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest with money in it outlasts a power cut at once; the others are committed in groups."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    plugin = make_plugin([])
    plain = replace(make_report(folder=tmp_path), pod=None, steps=())
    plugin.rpd_node_report(plain)
    assert synced == []
    assert manifest.read(tmp_path / "manifest.toml").pod is None
    billed = [
        make_report(folder=tmp_path),
        replace(plain, attempts=(AttemptRecord(number=1, outcome=Outcome.ERROR),)),
        replace(plain, cost=CostRecord(billed_seconds=1.0)),
    ]
    for report in billed:
        synced.clear()
        plugin.rpd_node_report(report)
        assert synced


def test_a_folder_that_cannot_be_written_is_a_notice(make_report: MakeReport, tmp_path: Path) -> None:
    """The run continues, and a notice names the missing file."""
    notices: list[str] = []
    make_plugin(notices).rpd_node_report(make_report(folder=tmp_path / "gone"))
    assert len(notices) == 1
    assert "could not write" in notices[0]
    assert "manifest.toml" in notices[0]


def test_a_dry_run_leaves_nothing(make_report: MakeReport, config: Config, tmp_path: Path) -> None:
    """Without a run folder nothing is written."""
    plugin = make_plugin([])
    plugin.rpd_run_started(config, Plan(lanes=()), "dry run", None)
    plugin.rpd_node_report(make_report())
    plugin.rpd_run_finished(config, RunSummary(folder="", reports=(make_report(),), seconds=1.0))
    plugin.record_exit_code(ExitCode.OK)
    assert list(tmp_path.iterdir()) == []


def test_results_of_jobs_with_other_columns_share_one_table(make_report: MakeReport) -> None:
    """A name that is a parameter, a metric and a fixed column is three columns; gaps are empty."""
    from dataclasses import replace

    from rpd.record import results_csv

    one = make_report(1)
    other = replace(
        make_report(2), metrics={"seed": 3, "usd": 1.5}, node=replace(one.node, parameters={"seed": "x,\n"})
    )
    rows = list(csv.DictReader(io.StringIO(results_csv.dumps([one, other]))))
    assert [row["seed"] for row in rows] == ["1", "x,\n"]
    assert [row["metric.seed"] for row in rows] == ["", "3"]
    assert [row["metric.usd"] for row in rows] == ["", "1.5"]
    assert [row["curve"] for row in rows] == ["[1, 2.5]", ""]
    assert rows[0]["usd"] == "0.250000"
