"""Search: the delay of a metric, the CPU cost of metrics from 64 commands at once, and the cost of a trial.

Times on a pod and here are by the same clock, since the emulator's pods are on this machine. CPU is that of
the rpd process; the same jobs without metrics are run in turn with them.

Trials are commands that end at once, on pods that four slots keep warm; a sweep of as many nodes is run in
turn.

Usage: python benchmarks/search.py [latency] [cpu] [flood] [trials]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from emulated import emulator
from measure import Row, Sample, environment, figures, machine, run

LATENCY_TARGET = 2.0
"""Seconds, p95."""
VALUES, PAUSE = 60, 0.25
NODES, JOB_SECONDS = 64, 20
CPU_TARGET = 0.03
"""CPU seconds that metrics add to a node of JOB_SECONDS with two values a second."""
FLOOD = 200_000
"""Values that one command writes as fast as it can."""

TRIALS, SLOTS = 40, 4
TRIAL_TARGETS = {"random": 1.2, "tpe": 1.5}
"""Of the CPU of a node of a sweep; that of loading Optuna is part of it."""
BETWEEN_TARGET = 0.5
"""Seconds (p95) from the end of a trial to the start of the next one on its pod."""
STUDY = """import rpd


@rpd.fixture(scope="worker")
def pod(provision):
    with provision() as made:
        yield made


@rpd.job(gpu=rpd.Gpu("NVIDIA RTX A4000"))
{mark}
def train(pod, x):
    pod.run(f"echo step=1 loss={{x}} >>$RPD_METRICS")
"""
MARKS = {
    "sweep": f'@rpd.mark.parametrize("x", [n / {TRIALS} for n in range({TRIALS})])',
    "random": f'@rpd.mark.search(x=rpd.uniform(0, 1), minimize="loss", trials={TRIALS}, sampler="random")',
    "tpe": f'@rpd.mark.search(x=rpd.uniform(0, 1), minimize="loss", trials={TRIALS}, sampler="tpe")',
}
DEPLOY = """import rpd
from rpd import Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
@rpd.mark.parametrize("seed", range({nodes}))
def train(pod, seed):
    pod.run({command!r})
"""
QUIET = f"for i in $(seq {VALUES}); do echo step=$i sent=$(date +%s.%N) >>$RPD_METRICS; sleep {PAUSE}; done"
TALKING = QUIET.replace("sleep", "echo step $i; sleep")
ALONE = f"for i in $(seq {2 * JOB_SECONDS}); do echo step=$i >/dev/null; sleep 0.5; done"
WITH_METRICS = ALONE.replace("echo step=$i >/dev/null", "echo step=$i loss=0.$i >>$RPD_METRICS")
FLOODING = f"seq {FLOOD} | sed 's/.*/step=& loss=&/' >>$RPD_METRICS"


def jobs(command: str, nodes: int) -> tuple[Sample, list[list[dict[str, object]]]]:
    """Run ``nodes`` jobs of one command at once; return time and memory, and the lines of each node's series."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        (folder / "deploy_train.py").write_text(DEPLOY.format(nodes=nodes, command=command), encoding="utf-8")
        with emulator(folder) as backend:
            rpd = [sys.executable, "-m", "rpd", "run", "--yes", "-q", "-n", str(nodes), "deploy_train.py"]
            sample, _ = run(rpd, cwd=folder, env=environment(**backend))
        files = sorted(folder.glob("rpd-runs/2*/*/series.jsonl"))
        return sample, [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


def delays(lines: list[dict[str, object]]) -> Iterator[float]:
    """Yield how long each value was on its way, in seconds."""
    for line in lines:
        values = line["values"]
        assert isinstance(values, dict)
        yield datetime.fromisoformat(str(line["time"])).timestamp() - values["sent"]


def latency() -> None:
    """Print how long values are on their way."""
    rows: list[Row] = []
    for title, command in (("a silent command", QUIET), ("one that prints", TALKING)):
        _, series = jobs(command, 1)
        times = sorted(delays(series[0]))
        if len(times) != VALUES:
            sys.exit(f"{len(times)} of {VALUES} values arrived")
        p95 = times[int(0.95 * len(times)) - 1]
        rows += [
            Row(what=f"{title}: p95", ours=p95, unit="s", goal=LATENCY_TARGET),
            Row(what="  median", ours=statistics.median(times), unit="s", peer="p95", theirs=p95),
        ]
    print("Metric to series.jsonl\n")
    print(figures(rows))


def cpu() -> None:
    """Print the cost of metrics for 64 nodes at once."""
    without, _ = jobs(ALONE, NODES)
    sample, series = jobs(WITH_METRICS, NODES)
    expected = list(range(1, 2 * JOB_SECONDS + 1))
    if len(series) != NODES or any([line["step"] for line in lines] != expected for lines in series):
        sys.exit("values are missing or doubled")
    more, plain = (sample.cpu - without.cpu) / NODES, without.cpu / NODES
    rows = [
        Row(what=f"metrics of {NODES} nodes", ours=more, unit="CPU s a node", goal=CPU_TARGET),
        Row(
            what="  with their jobs",
            ours=plain + more,
            unit="CPU s a node",
            peer="jobs without",
            theirs=plain,
        ),
        Row(what="  memory", ours=sample.peak_mb, unit="MB", peer="jobs without", theirs=without.peak_mb),
    ]
    print(f"Jobs of {JOB_SECONDS} s, 2 values a second\n")
    print(figures(rows))


def flood() -> None:
    """Print the cost of a command that writes values without pause."""
    idle, _ = jobs("true", 1)
    sample, series = jobs(FLOODING, 1)
    per_value = (sample.cpu - idle.cpu) / FLOOD * 1e6
    rows = [
        Row(what=f"{FLOOD:,} values, CPU", ours=per_value, unit="us a value"),
        Row(what="  kept", ours=len(series[0]), unit="values", peer="written", theirs=FLOOD),
        Row(what="  memory", ours=sample.peak_mb, unit="MB", peer="none written", theirs=idle.peak_mb),
    ]
    print("Values as fast as a command can\n")
    print(figures(rows))


def trials() -> None:
    """Print the cost of a trial, and the time that its pod waits for the next one."""
    rows: list[Row] = []
    plain = 0.0
    for name, mark in MARKS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "rpd.toml").write_text("", encoding="utf-8")
            (folder / "deploy_train.py").write_text(STUDY.format(mark=mark), encoding="utf-8")
            with emulator(folder) as backend:
                rpd = [sys.executable, "-m", "rpd", "run", "--yes", "-q", "-n", str(SLOTS), "deploy_train.py"]
                sample, _ = run(rpd, cwd=folder, env=environment(**backend))
            gaps = sorted(between(next(folder.glob("rpd-runs/2*"))))
        plain = plain or sample.cpu
        p95 = gaps[int(0.95 * len(gaps))]
        each = {"ours": 1000 * sample.cpu / TRIALS, "unit": "CPU ms each"}
        if name == "sweep":
            rows.append(Row(what=name, **each))
        else:
            rows.append(
                Row(what=name, **each, goal=TRIAL_TARGETS[name], peer="sweep", theirs=1000 * plain / TRIALS)
            )
        rows.append(Row(what="  between two, p95", ours=p95, unit="s", goal=BETWEEN_TARGET))
    print(f"{TRIALS} trials, {SLOTS} at once\n")
    print(figures(rows))


def between(folder: Path) -> Iterator[float]:
    """Yield the seconds from the end of each node to the start of the next one on its pod."""
    by_pod: dict[str, list[tuple[float, float]]] = {}
    for path in folder.glob("*/manifest.toml"):
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        begun, over = (
            datetime.fromisoformat(manifest["result"][key]).timestamp() for key in ("started", "finished")
        )
        by_pod.setdefault(manifest["pod"]["id"], []).append((begun, over))
    for nodes in by_pod.values():
        yield from (later[0] - earlier[1] for earlier, later in pairwise(sorted(nodes)))


def main() -> None:
    wanted = sys.argv[1:] or ["latency", "cpu", "flood", "trials"]
    print(f"Metrics, {machine()}\n")
    for name, measure in (("latency", latency), ("cpu", cpu), ("flood", flood), ("trials", trials)):
        if name in wanted:
            measure()
            print()


if __name__ == "__main__":
    main()
