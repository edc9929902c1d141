"""Past runs of runpod-deploy: found, read with suspicion, and known to every command that looks back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rpd.compat.runpod_deploy.imported_runs import MANIFEST, import_runs
from rpd.record import history
from rpd.testing import RpdRun, RunResult

STAMPS = ("20260101T101500Z", "20260102T101500Z", "20260103T101500Z")


def theirs(project: Path, stamp: str, **changes: Any) -> dict[str, Any]:
    """Return a manifest as runpod-deploy 0.8.4 writes it."""
    return {
        "schema_version": "v2",
        "pulled_at_utc": "2026-01-01T11:15:00.123456+00:00",
        "failed": False,
        "job_name": "finetune-{seed}",
        "run_id": f"ft-42-{stamp}",
        "config_path": str(project / "configs" / "full.yaml"),
        "storage_mode": "ephemeral",
        "datacenter_id": "EU-RO-1",
        "gpu_id": "NVIDIA RTX A4000",
        "gpu_price_per_hour_usd": 0.25,
        "gpu_price_source": "graphql",
        "pod_id": "abc123",
        "pod_final_state": "RUNNING",
        "pod_resumed": False,
        "image": "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
        "cost_cap_usd": 2.5,
        "wall_time_sec": 3600.0,
        "estimated_cost_usd": 0.25,
        "volume_mount": "/workspace",
        "volume_name": None,
        "volume_gb": 30,
        "deploy_metadata": {"local_git_sha": "a" * 40, "local_git_dirty": True, "payload_lockfile_sha256": "b" * 64},
        "artifacts": [
            {"label": "out", "remote_path": "/workspace/out/", "local_path": str(project / "results"), "required": True,
             "excludes": [], "delete": True, "status": "success", "bytes_transferred": None, "duration_sec": 1.5},
            {"label": "ckpt", "remote_path": "/workspace/ckpt", "local_path": "x", "status": "failed", "error": "gone"},
        ],
        "telemetry_files": ["metrics.jsonl"],
        **changes,
    }  # fmt: skip


def keep(project: Path, stamp: str, text: str, events: str = "") -> Path:
    folder = project / "artifacts" / "runpod" / stamp
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(text)
    if events:
        (folder / "events.jsonl").write_text(events)
    return folder


def rpd(command: str, *args: str, cwd: Path) -> RunResult:
    return RpdRun()(cwd, *args, command=command, env={"RUNPOD_API_KEY": None, "HOME": "/nonexistent"})


def test_every_command_that_looks_back_knows_them(project: Path) -> None:
    keep(project, STAMPS[0], json.dumps(theirs(project, STAMPS[0])))
    failed = theirs(project, STAMPS[1], failed=True, wall_time_sec=600, estimated_cost_usd=None)
    keep(project, STAMPS[1], json.dumps(failed), '{"event": "pod_killed_unexpected"}\n')
    keep(project, STAMPS[2], "{broken")
    first = rpd("import", "--runs", "artifacts", cwd=project)
    assert first.exit_code == 1
    assert f"artifacts/runpod/{STAMPS[2]}/{MANIFEST}: Expecting property name" in first.err
    assert "added 2 runs" in first.out
    again = rpd("import", "--runs", "artifacts/runpod", cwd=project)
    assert "added 0 runs; 2 had been imported before" in again.out
    listed = json.loads(rpd("runs", "--json", cwd=project).out)["runs"]
    assert [(run["backend"], run["outcomes"]) for run in listed] == [
        ("runpod-deploy", {"failed": 1}),
        ("runpod-deploy", {"passed": 1}),
    ]
    asked = rpd("query", "--show", "outcome,cause,gpu,usd,var.seed", "--json", cwd=project)
    rows = {row["outcome"]: row for row in json.loads(asked.out)["rows"]}
    assert {row["var.seed"] for row in rows.values()} == {"42"}
    assert (rows["failed"]["cause"], rows["failed"]["usd"]) == (
        "lost",
        pytest.approx(600 * 0.25 / 3600, abs=1e-5),
    )
    assert (rows["passed"]["gpu"], rows["passed"]["usd"]) == ("NVIDIA RTX A4000", 0.25)
    estimate = rpd("estimate", "configs/full.yaml", "--var", "seed=1", "--json", cwd=project)
    assert json.loads(estimate.out)["nodes"][0]["expected_seconds"] == 3600
    shown = rpd("show", STAMPS[0], "finetune", cwd=project)
    assert "git aaaaaaaaaaaa with changes" in shown.out
    assert "out: /workspace/out/ -> ../../../results" in shown.out
    assert rpd("resume", cwd=project).exit_code == 4  # there is nothing to resume


def test_the_deploy_file_takes_over_their_history(project: Path) -> None:
    (project / "configs" / "deploy_full.py").write_text("")
    keep(project, STAMPS[0], json.dumps(theirs(project, STAMPS[0])))
    (imported,) = import_runs(project, project, project / "rpd-runs")
    assert imported.is_new
    (info,) = history.runs(project / "rpd-runs")
    (report,) = history.reports(Path(info.folder))
    assert report.node.id == "configs/deploy_full.py::finetune"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"wall_time_sec": float("inf")},
        {"wall_time_sec": "1", "gpu_price_per_hour_usd": -1, "artifacts": {"a": 1}, "deploy_metadata": []},
        {"config_path": 3, "run_id": None, "pulled_at_utc": "yesterday", "job_name": ""},
        {"config_path": "/etc/passwd", "job_name": "a" * 9000, "artifacts": [3, {"status": "success"}]},
        {"pod_id": None, "estimated_cost_usd": 1e300, "image": ["x"]},
    ],
)
def test_whatever_a_manifest_says_a_run_folder_can_be_read(changes: dict[str, Any], project: Path) -> None:
    keep(project, "somewhere", json.dumps({"failed": True, **theirs(project, STAMPS[0]), **changes}))
    (imported,) = import_runs(project, project, project / "rpd-runs")
    assert imported.problem == ""
    (info,) = history.runs(project / "rpd-runs")
    assert (info.damage, info.nodes) == ("", 1)
    (report,) = history.reports(Path(info.folder))
    assert report.node.job.isidentifier()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"failed": 1}', "[" * 50_000, "nul\0"])
def test_what_is_no_manifest_is_told(text: str, project: Path) -> None:
    keep(project, STAMPS[0], text)
    (imported,) = import_runs(project, project, project / "rpd-runs")
    assert imported.problem != ""
    assert not list((project / "rpd-runs").glob("*"))


def test_mistakes_of_use_are_told(project: Path) -> None:
    for words, said in (
        (("--runs", "nowhere"), "no such folder: nowhere"),
        (("--runs", "src"), f"no {MANIFEST} below"),
        (("--runs", "src", "configs/full.yaml"), "takes no configurations"),
        ((), "--runs DIR for past runs"),
    ):
        result = rpd("import", *words, cwd=project)
        assert (result.exit_code, said in result.err) == (4, True), result.err
