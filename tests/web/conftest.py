"""A run folder with everything a page shows: journals, telemetry, series, logs, pictures, a failure."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rpd.errors import Cause
from rpd.journal.files import folder_name
from rpd.record import manifest, run_info
from rpd.record.run_info import RunInfo
from rpd.values.report import (
    ArtifactRecord,
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

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = "20260102T030405Z-abcdef"
MakeRun = Callable[..., Path]


def png(red: int, green: int, blue: int, side: int = 48) -> bytes:
    """Return a picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((red, green, blue)) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def lines(objects: Sequence[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(each)}\n" for each in objects)


def report_of(lr: float, seed: int, depth: int, start: float = 0.0) -> NodeReport:
    """Return the report of one node of a sweep; the largest learning rate with seed 2 runs out of memory."""
    failed = lr >= 0.1 and seed == 2
    loss = 0.25 + abs(math.log10(lr) + 2.3) * 0.2 + seed * 0.013 + 0.08 / depth
    work = 240 + 60 * depth + 11 * seed
    usd = 2.39 * (work + 118) / 3600
    return NodeReport(
        node=NodeRecord(
            id=f"deploy_fit.py::fit[lr{lr}-seed{seed}-depth{depth}]",
            job="fit",
            file="deploy_fit.py",
            line=12,
            parameters={"lr": lr, "seed": seed, "depth": depth},
        ),
        result=Result(
            outcome=Outcome.FAILED if failed else Outcome.PASSED,
            cause=Cause.OOM if failed else None,
            reason="the command exited with 1: CUDA out of memory" if failed else "",
            started=at(start),
            finished=at(start + work + 120),
            phases={"provision": 58.0, "stage": 21.0, "job": float(work), "pull": 24.0, "release": 3.0},
        ),
        pod=PodRecord(
            id=f"p{seed}{depth}",
            name=f"rpd-{seed}-{depth}",
            gpu="NVIDIA H100 80GB HBM3" if depth > 2 else "NVIDIA A40",
            count=1,
            datacenter="US-KS-2",
            image="runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
            rate=2.39,
            final_state="deleted",
        ),
        cost=CostRecord(rate_usd_per_hr=2.39, rate_source="pod", estimated_usd=round(usd, 6), cap_usd=5.0),
        source=SourceRecord(git_sha="0123abc456def7890123", dirty=True, branch="main"),
        environment=EnvironmentRecord(driver="570.1", cuda="12.8", python="3.12.1"),
        steps=(
            Step(index=0, kind=StepKind.PUT, name="", command="put . -> /workspace/fit", seconds=20.0),
            Step(
                index=1,
                kind=StepKind.RUN,
                name="",
                command=f"python train.py --lr {lr} --seed {seed}",
                exit_code=1 if failed else 0,
                seconds=float(work),
            ),
            Step(index=2, kind=StepKind.PULL, name="", command="pull results/", seconds=23.0),
        ),
        artifacts=()
        if failed
        else (
            ArtifactRecord(remote="results/", local="artifacts/results", files=3, bytes=900, verified=True),
        ),
        metrics={} if failed else {"loss": round(loss, 4), "accuracy": round(1 - loss / 2, 4)},
        failure=Failure(
            place="deploy_fit.py:19",
            source_line='pod.run(f"python train.py --lr {lr}", cwd=staged_dir)',
            traceback=("deploy_fit.py:19: in fit", '    pod.run(f"python train.py --lr {lr}")'),
            log_tail=("last words",),
        )
        if failed
        else None,
    )


def write_node(folder: Path, report: NodeReport, *, start: float, telemetry: bool = True) -> None:
    """Write the files of a node that began ``start`` seconds after the run."""
    place = folder / folder_name(report.node.id)
    (place / "artifacts" / "results").mkdir(parents=True)
    manifest.write(place / manifest.FILE_NAME, report)
    phases, pod = report.result.phases, {"pod_name": "rpd-1", "pod_id": "p1"}
    put = start + phases["provision"]
    work = put + phases["stage"]
    pull = work + phases["job"]
    end = pull + phases["pull"]
    (place / "events.jsonl").write_text(
        lines(
            [
                {"at": at(start), "event": "node_started", "node": report.node.id, "attempt": 1},
                {"at": at(start + 1), "event": "intent", **pod, "offer": "A40 in US-KS-2"},
                {"at": at(start + 4), "event": "created", **pod, "usd_per_hr": 2.39},
                {"at": at(put), "event": "ready", **pod},
                {"at": at(put + 1), "event": "step_started", "index": 0, "kind": "put"},
                {"at": at(work), "event": "step_finished", "index": 0},
                {"at": at(work + 2), "event": "step_started", "index": 1, "kind": "run"},
                {"at": at(pull), "event": "step_finished", "index": 1, "exit_code": 0},
                {"at": at(pull + 9), "event": "step_started", "index": 2, "kind": "pull"},
                {"at": at(end), "event": "step_finished", "index": 2},
                {"at": at(end + 3), "event": "released", **pod, "seconds": 1.0, "usd": 0.1},
                {"at": at(end + 3), "event": "node_finished"},
            ]
        )
    )
    (place / "output.log").write_text("epoch 1\repoch 2\n\x1b[31mdone\x1b[0m\n")
    if telemetry:
        _measure(place, report, put=put, work=work, pull=pull)
    if report.result.outcome is Outcome.PASSED:
        results = place / "artifacts" / "results"
        (results / "plot.png").write_bytes(png(40 + 60 * report.node.parameters["seed"], 120, 180))
        (results / "page.html").write_text("<script>alert(1)</script>")
        (results / "metrics.json").write_text("{}")


def _measure(place: Path, report: NodeReport, *, put: float, work: float, pull: float) -> None:
    lr, seed, depth = (report.node.parameters[name] for name in ("lr", "seed", "depth"))
    samples, span = [], pull - put
    for number in range(60):
        moment = put + span * number / 59
        busy = 0 if moment < work + 25 else 88 + 7 * math.sin(number * 1.7)
        gpu = {
            "index": 0,
            "utilization": busy,
            "memory_used_mb": 900 if not busy else 24000 + 6000 * depth,
            "memory_total_mb": 81920,
        }
        samples.append({"at": at(moment), "gpus": [gpu]})
    (place / "metrics.jsonl").write_text(lines(samples))
    curve = []
    for step in range(0, 2000, 10):
        fall = math.exp(-step * lr * (0.35 + depth / 8)) + abs(math.log10(lr) + 2.3) * 0.1
        noise = 0.03 * math.sin(step * 0.37 + seed * 2) * math.exp(-step / 1500)
        curve.append(
            {"step": step, "time": at(work + step / 8), "values": {"loss": round(0.2 + fall + noise, 5)}}
        )
        if step % 100 == 0:
            curve[-1]["values"]["val/accuracy"] = round(0.93 - 0.5 * fall - noise, 5)  # type: ignore[index]
    (place / "series.jsonl").write_text(lines(curve))


def sweep() -> Iterator[tuple[NodeReport, float]]:
    """Yield the reports of a sweep of three learning rates, three seeds and two depths, on three slots, with starts."""
    free = [0.0, 0.0, 0.0]
    for lr in (0.001, 0.01, 0.1):
        for depth in (2, 4):
            for seed in (1, 2, 3):
                slot = free.index(min(free))
                start = free[slot]
                report = report_of(lr, seed, depth, start)
                free[slot] = start + report.result.seconds + 6
                yield report, start


def write_run(runs_path: Path, name: str = RUN) -> Path:
    """Write the run of that sweep; return its folder."""
    folder = runs_path / name
    folder.mkdir(parents=True)
    reports = list(sweep())
    for report, start in reports:
        write_node(folder, report, start=start)
    seconds = max(start + report.result.seconds for report, start in reports)
    info = RunInfo(
        id=name,
        rpd="0.1.0",
        python="3.12.1",
        argv=("run", "deploy_fit.py", "-n", "3"),
        backend="RunPod (GraphQL)",
        width=3,
        nodes=len(reports),
        worst_case_usd=90.0,
        git_sha="0123abc456def7890123",
        started=at(0),
        finished=at(seconds),
        seconds=seconds,
        exit_code=1,
        usd=sum(report.cost.estimated_usd for report, _ in reports),
        outcomes={"passed": 16, "failed": 2},
        folder=str(folder),
    )
    run_info.write(folder / run_info.FILE_NAME, info)
    (folder / "events.jsonl").write_text(
        lines([{"at": at(0), "event": "planned", "ids": [report.node.id for report, _ in reports]}])
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run of a sweep."""
    return write_run(tmp_path / "rpd-runs")


def many(count: int) -> list[NodeReport]:
    """Return so many reports of small nodes."""
    base = report_of(0.01, 1, 2)
    return [
        replace(
            base,
            node=replace(
                base.node,
                id=f"deploy_fit.py::fit[lr{number % 50}-seed{number}]",
                parameters={"lr": (number % 50) / 100, "seed": number},
            ),
            metrics={"loss": ((number * 7919) % count) / count},
            steps=(),
            artifacts=(),
        )
        for number in range(count)
    ]
