"""A project with two past runs, the same in every detail wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rpd.errors import Cause
from rpd.record import manifest, results_csv, run_info
from rpd.record.run_info import RunInfo
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
    SourceRecord,
)
from rpd.values.step import Step, StepKind

OLDER, NEWER = "20261119T100000Z-aaaaaa", "20261120T100000Z-bbbbbb"
DEPLOY = '''"""Train and score."""
import rpd
from rpd import Budget, Gpu

epochs = rpd.variable(default=3, type=int)


@rpd.fixture(scope="module")
def data_path():
    """Where the data is."""
    return "/data"


@rpd.job(image="runpod/base:1", gpu=Gpu("NVIDIA L4"), budget=Budget(cost_cap_usd=5))
@rpd.mark.parametrize("seed", [1, 2])
@rpd.mark.parametrize("lr", [0.1, 0.01])
def train(pod, data_path, epochs, seed, lr):
    """Train with one seed."""
    pod.run(f"python train.py --seed {seed} --lr {lr}")


@rpd.job
def score():
    """Score what was trained."""
'''
_SHA = "0123456789abcdef0123456789abcdef01234567"


OWNER = "you@laptop"


def make(root: Path) -> Path:
    """Write the project to ``root`` and return it."""
    (root / "rpd.toml").write_text('markers = ["nightly: takes a night"]\n', encoding="utf-8")
    (root / "deploy_x.py").write_text(DEPLOY, encoding="utf-8")
    _run(root, OLDER, {(1, 0.1): 0.5, (2, 0.1): 0.25, (1, 0.01): 1.0, (2, 0.01): None}, branch="main")
    _run(root, NEWER, {(1, 0.1): 0.5, (2, 0.1): 0.125, (1, 0.01): 0.75}, branch="wide")
    return root


def _run(root: Path, run_id: str, losses: dict[tuple[int, float], float | None], *, branch: str) -> None:
    folder = root / "rpd-runs" / run_id
    day = f"{run_id[:4]}-{run_id[4:6]}-{run_id[6:8]}"
    reports = [
        _node(folder, day, number, seed, lr, loss, branch)
        for number, ((seed, lr), loss) in enumerate(losses.items())
    ]
    outcomes = [report.result.outcome.value for report in reports]
    info = RunInfo(
        id=run_id,
        rpd="0.1.0",
        python="3.12.3",
        argv=("run", "-n", "2"),
        rootdir="/home/you/project",
        invocation_dir="/home/you/project",
        backend="RunPod",
        width=2,
        nodes=len(reports),
        worst_case_usd=20.0,
        git_sha=_SHA,
        owner=OWNER,
        started=f"{day}T10:00:00+00:00",
        finished=f"{day}T10:05:00+00:00",
        seconds=300.0,
        exit_code=0 if set(outcomes) == {"passed"} else 1,
        usd=round(sum(report.cost.estimated_usd for report in reports), 6),
        outcomes={name: outcomes.count(name) for name in dict.fromkeys(outcomes)},
    )
    run_info.write(folder / run_info.FILE_NAME, info)
    (folder / results_csv.FILE_NAME).write_text(results_csv.dumps(reports), encoding="utf-8")
    _journal(
        folder / "events.jsonl",
        (f"{day}T10:00:00.000+00:00", "run_started", {"pid": 1, "host": "laptop"}),
        *(
            (f"{day}T10:00:0{number + 1}.500+00:00", "created",
             {"node": each.node.id, "pod_name": f"rpd-{number}", "pod_id": f"pod{number}"})
            for number, each in enumerate(reports)
        ),
        *(
            (f"{day}T10:00:09.250+00:00", "refused", _refusal(each.node.id)) for each in reports if each.attempts
        ),
    )  # fmt: skip


def _refusal(node_id: str) -> dict[str, str]:
    return {
        "node": node_id,
        "pod_name": "rpd-3",
        "offer": "NVIDIA L4 in EU-SE-1 (secure)",
        "reason": "no capacity",
    }


def _node(
    folder: Path, day: str, number: int, seed: int, lr: float, loss: float | None, branch: str
) -> NodeReport:
    place = folder / f"deploy_x.train-lr{lr}-seed{seed}"
    (place / "artifacts").mkdir(parents=True)
    (place / "artifacts" / "model.bin").write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    (place / "artifacts.sha256").write_text(f"{sha256}  model.bin\n", encoding="utf-8")
    (place / "output.log").write_text(f"epoch 1\nloss {loss}\n", encoding="utf-8")
    passed = loss is not None
    pod = PodRecord(
        id=f"pod{number}",
        name=f"rpd-{number}",
        gpu="NVIDIA L4",
        count=1,
        datacenter="EU-RO-1",
        cloud="secure",
        image="runpod/base:1",
        rate=0.5,
        final_state="deleted",
        volume_gb=20,
        mount="/workspace",
        container_disk_gb=20,
    )
    node_id = f"deploy_x.py::train[lr{lr}-seed{seed}]"
    command = f"python train.py --seed {seed} --lr {lr}"
    report = NodeReport(
        node=NodeRecord(
            id=node_id,
            job="train",
            file="deploy_x.py",
            line=17,
            parameters={"lr": lr, "seed": seed},
            run=folder.name,
            owner=OWNER,
        ),
        result=Result(
            outcome=Outcome.PASSED if passed else Outcome.FAILED,
            cause=None if passed else Cause.CODE,
            reason="" if passed else f"command exited 1: {command}",
            attempts=1 if passed else 2,
            started=f"{day}T10:00:0{number}.000+00:00",
            finished=f"{day}T10:02:0{number}.000+00:00",
            phases={"provision": 30.0, "job": 60.0 + number, "pull": 2.5},
            files=("artifacts.sha256", "events.jsonl", "output.log"),
        ),
        pod=pod,
        pods=(pod,),
        cost=CostRecord(
            rate_usd_per_hr=0.5, rate_source="pod", billed_seconds=92.5, estimated_usd=0.0128, cap_usd=5.0
        ),
        source=SourceRecord(git_sha=_SHA, branch=branch, author="You <you@example.com>", lock_file="uv.lock", lock_file_sha256="ab" * 32),
        environment=EnvironmentRecord(
            gpu_name="NVIDIA L4", driver="570.124.06", cuda="12.8", python="3.12.3", packages="pods/packages-1.txt"
        ),
        steps=(
            Step(index=0, kind=StepKind.RUN, name=command, command=command, exit_code=int(not passed), seconds=60.0),
            Step(index=1, kind=StepKind.PULL, name="pull model.bin", command="pull model.bin", seconds=2.5),
        ),
        artifacts=(
            ArtifactRecord(
                remote="model.bin",
                local="artifacts/model.bin",
                files=1,
                bytes=7,
                sha256_file="artifacts.sha256",
                verified=True,
            ),
        ),
        attempts=()
        if passed
        else (AttemptRecord(number=1, outcome=Outcome.ERROR, cause=Cause.LOST, reason="the pod is gone", seconds=9.0),),
        metrics={"loss": loss} if passed else {},
        variables={"epochs": 3},
        failure=None if passed else Failure(place="deploy_x.py:19", log_tail=("loss None",)),
    )  # fmt: skip
    manifest.write(place / manifest.FILE_NAME, report)
    _journal(
        place / "events.jsonl",
        (f"{day}T10:00:0{number}.000+00:00", "node_started", {"node": node_id, "attempt": 1}),
        *([] if passed else [(f"{day}T10:00:09.250+00:00", "refused", _refusal(node_id))]),
        (f"{day}T10:00:0{number}.750+00:00", "step_started", {"index": 0, "kind": "run", "name": command}),
        (f"{day}T10:02:0{number}.000+00:00", "node_finished", {"outcome": report.result.outcome.value}),
    )  # fmt: skip
    return report


def _journal(path: Path, *events: tuple[str, str, dict[str, Any]]) -> None:
    lines = [
        json.dumps({"at": at, "event": event, **detail}, separators=(",", ":"))
        for at, event, detail in events
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
