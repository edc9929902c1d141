"""Run folders to measure with: as real runs leave them, made without running anything."""

from __future__ import annotations

import json
import random
from pathlib import Path

from rpd.errors import Cause
from rpd.record import manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.values.report import (
    ArtifactRecord,
    CostRecord,
    EnvironmentRecord,
    NodeRecord,
    NodeReport,
    Outcome,
    PodRecord,
    Result,
    SourceRecord,
)
from rpd.values.step import Step

GPUS = ("NVIDIA L4", "NVIDIA RTX A4000", "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3")
PLACES = ("EU-RO-1", "EU-SE-1", "US-KS-2", "CA-MTL-3")
_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def make(runs_path: Path, *, runs: int, nodes: int) -> None:
    """Write ``runs`` run folders of ``nodes`` nodes each below ``runs_path``."""
    chance = random.Random(1)
    for number in range(runs):
        run_id = f"202601{1 + number // 96 % 28:02}T{number // 4 % 24:02}{number % 4 * 15:02}00Z-{number:06x}"
        folder = runs_path / run_id
        reports = [_report(run_id, number, node, chance) for node in range(nodes)]
        for node, report in enumerate(reports):
            place = folder / f"deploy_train.train-seed{node}"
            place.mkdir(parents=True)
            (place / manifest.FILE_NAME).write_text(manifest.dumps(report), encoding="utf-8")
            (place / "events.jsonl").write_text(_events(report))
        run_info.write(folder / run_info.FILE_NAME, _info(run_id, reports))


def _info(run_id: str, reports: list[NodeReport]) -> RunInfo:
    at = f"{run_id[:4]}-{run_id[4:6]}-{run_id[6:8]}T{run_id[9:11]}:{run_id[11:13]}:00+00:00"
    outcomes = [report.result.outcome for report in reports]
    return RunInfo(
        id=run_id,
        rpd="0.1.0",
        argv=("run", "deploy_train.py", "-n", "8"),
        backend="RunPod",
        nodes=len(reports),
        started=at,
        finished=at,
        seconds=600.0,
        exit_code=0,
        usd=sum(report.cost.estimated_usd for report in reports),
        outcomes={outcome.value: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
    )


def _report(run_id: str, number: int, node: int, chance: random.Random) -> NodeReport:
    outcome = chance.choices((Outcome.PASSED, Outcome.FAILED, Outcome.ERROR), (90, 7, 3))[0]
    seconds, rate = round(chance.uniform(60, 4000), 3), chance.choice((0.25, 0.49, 1.64, 2.99))
    at = f"{run_id[:4]}-{run_id[4:6]}-{run_id[6:8]}T{run_id[9:11]}:{run_id[11:13]}:00.000+00:00"
    pod = PodRecord(
        id=f"p{number:05}{node:03}",
        name=f"rpd-{run_id}-train-{node:06x}",
        gpu=GPUS[(number + node) % len(GPUS)],
        count=1,
        datacenter=PLACES[node % len(PLACES)],
        cloud="secure",
        image="runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
        rate=rate,
        final_state="deleted",
    )
    return NodeReport(
        node=NodeRecord(
            id=f"deploy_train.py::train[seed{node}]",
            job="train",
            file="deploy_train.py",
            line=17,
            parameters={"seed": node, "lr": 10 ** -(1 + number % 4), "backbone": "deberta-v3-base"},
        ),
        result=Result(
            outcome=outcome,
            cause=None if outcome is Outcome.PASSED else Cause.CODE,
            reason="" if outcome is Outcome.PASSED else "command exited 1: python train.py",
            started=at,
            finished=at,
            phases={"boot": 31.5, "setup": 12.25, "job": seconds, "pull": 4.5},
        ),
        pod=pod,
        pods=(pod,),
        cost=CostRecord(
            rate_usd_per_hr=rate,
            rate_source="pod",
            billed_seconds=seconds,
            estimated_usd=round(seconds * rate / 3600, 6),
            cap_usd=5.0,
        ),
        source=SourceRecord(
            git_sha=_HASH[:40],
            tree_sha256=_HASH,
            files=140,
            bytes=2_400_000,
            lock_file_sha256=_HASH,
            fingerprint=dict.fromkeys(("job", "parameters", "files", "image", "pod", "lock"), _HASH[:16]),
        ),
        environment=EnvironmentRecord(
            gpu_name=pod.gpu,
            driver="570.124.06",
            cuda="12.8",
            python="3.12.3",
            uname="Linux 6.8.0-49-generic x86_64",
        ),
        steps=tuple(
            Step(index=index, kind=kind, name=name, command=name, exit_code=0, seconds=3.25)
            for index, (kind, name) in enumerate(
                (
                    ("put", "put ."),
                    ("run", "uv sync --frozen"),
                    ("run", f"python train.py --seed {node} --lr 0.01 --epochs 3 --out results"),
                    ("pull", "pull results/"),
                )
            )
        ),
        artifacts=(
            ArtifactRecord(
                remote="results/",
                local="artifacts/results",
                files=12,
                bytes=480_000_000,
                sha256_file="artifacts.sha256",
                verified=True,
            ),
        ),
        metrics={"accuracy": round(chance.gauss(0.8, 0.05), 6), "loss": round(chance.expovariate(2), 6)},
        variables={"epochs": 3},
    )


def _events(report: NodeReport) -> str:
    pod = report.pod.name if report.pod else ""
    events: list[dict[str, object]] = [{"event": "node_started", "attempt": 1}]
    events += [{"event": "refused", "pod_name": pod, "offer": GPUS[0]}] * (len(report.node.id) % 3)
    events += [{"event": "ready", "pod_name": pod}]
    for step in report.steps:
        events += [{"event": "step_started", "index": step.index, "kind": step.kind, "name": step.name}]
        events += [{"event": "step_finished", "index": step.index, "exit_code": 0, "seconds": step.seconds}]
    events += [{"event": "node_finished", "outcome": report.result.outcome}]
    first = {"at": report.result.started}
    return "".join(
        json.dumps(
            {**first, "event": each.pop("event"), "node": report.node.id, **each}, separators=(",", ":")
        )
        + "\n"
        for each in map(dict, events)
    )
