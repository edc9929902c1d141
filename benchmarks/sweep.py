"""Sweeps: the cost, in the rpd process alone, of many nodes at once, one after the other, and without a pod.

The emulator is not counted; a single node shows the fixed cost. The cost of a node must not grow with their number: the
last row of a table holds the largest sweep against the one before it.

Usage: python benchmarks/sweep.py [wide] [telemetry] [long] [podless]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emulated import emulator
from measure import Row, Sample, environment, figures, machine, run

JOB_SECONDS = 5
CPU_TARGET = 0.06
MEMORY_TARGET = 110
TELEMETRY_TARGET = 0.3
"""CPU seconds a node that runs for 20 s."""
PODLESS_CPU_TARGET = 1.2
"""Milliseconds a node. The kernel's part depends on the disk: for some minutes after many files were deleted, ext4
looks for inodes that were free before, which can take longer than all the rest."""
PODLESS_MEMORY_TARGET = 200
GROWTH_TARGET = 1.2
WIDE = ((1, 1), (64, 64))
TELEMETRY = ("0", "5s", "1s")
"""How often each of 64 pods tells how busy it is: never, as usual, five times as often."""
TELEMETRY_SECONDS = 20
LONG = ((64, 32), (500, 32))
PODLESS = ((1_000, 32), (10_000, 32))
"""Nodes and how many at a time."""

ON_PODS = """import rpd
from rpd import Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
@rpd.mark.parametrize("seed", range({nodes}))
def train(pod, seed):
    pod.run("for i in $(seq {seconds}); do echo step $i; sleep 1; done; echo {{}} > /workspace/out.json")
    pod.pull("/workspace/out.json")
"""

WITHOUT = """import rpd


@rpd.job
@rpd.mark.parametrize("seed", range({nodes}))
def nothing(seed): ...
"""

Taken = list[tuple[int, int, Sample]]


def sweeps(text: str, sizes: Sequence[tuple[int, int]]) -> Taken:
    """Run a sweep of each size and return the time and memory of each."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        with emulator(folder) as backend:
            for nodes, width in sizes:
                deploy = folder / f"deploy_{nodes}.py"
                deploy.write_text(text.format(nodes=nodes, seconds=JOB_SECONDS), encoding="utf-8")
                command = [sys.executable, "-m", "rpd", "run", "--yes", "-q", "-n", str(width), deploy.name]
                sample, _ = run(command, cwd=folder, env=environment(**backend))
                rows.append((nodes, width, sample))
    return rows


def on_pods(title: str, sizes: Sequence[tuple[int, int]], *, growth: bool) -> None:
    """Print the time and memory of sweeps on pods."""
    taken = sweeps(ON_PODS, sizes)
    rows = []
    for nodes, width, s in taken:
        goal, most = (None, None) if nodes == 1 else (CPU_TARGET, MEMORY_TARGET)
        rows += [
            Row(what=f"{nodes} nodes, -n {width}", ours=s.wall, unit="s"),
            Row(what="  CPU", ours=s.cpu / nodes, unit="s a node", goal=goal),
            Row(what="  memory", ours=s.peak_mb, unit="MB", goal=most),
        ]
    if growth:
        rows.append(grown(taken))
    print(f"{title}, jobs of {JOB_SECONDS} s\n")
    print(figures(rows), end="\n\n")


def telemetry() -> None:
    """Print the cost of listening to 64 pods, compared with not listening."""
    samples = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        (folder / "deploy_t.py").write_text(
            ON_PODS.format(nodes=64, seconds=TELEMETRY_SECONDS), encoding="utf-8"
        )
        with emulator(folder) as backend:
            for interval in TELEMETRY:
                setting = f"telemetry_interval={interval}"
                command = [
                    sys.executable,
                    "-m",
                    "rpd",
                    "run",
                    "--yes",
                    "-q",
                    "-n",
                    "64",
                    "-o",
                    setting,
                    "deploy_t.py",
                ]
                sample, _ = run(command, cwd=folder, env=environment(**backend))
                samples.append((interval, sample))
    (_, never), *others = samples
    rows = [Row(what="never", ours=never.cpu / 64, unit="CPU s a node", goal=TELEMETRY_TARGET)]
    for interval, s in others:
        is_usual = interval == TELEMETRY[1]
        rows.append(
            Row(
                what=f"every {interval}",
                ours=s.cpu / 64,
                unit="CPU s a node",
                goal=GROWTH_TARGET if is_usual else None,
                peer="never",
                theirs=never.cpu / 64,
            )
        )
    print(f"Telemetry of 64 pods, jobs of {TELEMETRY_SECONDS} s\n")
    print(figures(rows), end="\n\n")


def without_pods() -> None:
    """Print the cost of the scheduler, the journals and the manifests by themselves."""
    taken = sweeps(WITHOUT, PODLESS)
    rows = []
    for nodes, width, s in taken:
        rows += [
            Row(what=f"{nodes:,} nodes, -n {width}", ours=1000 * s.wall / nodes, unit="ms a node"),
            Row(
                what="  CPU",
                ours=1000 * s.cpu / nodes,
                unit="ms a node",
                goal=PODLESS_CPU_TARGET if nodes == PODLESS[-1][0] else None,  # of few, the start is most
            ),
            Row(what="  of that the kernel", ours=1000 * s.system / nodes, unit="ms a node"),
            Row(what="  memory", ours=s.peak_mb, unit="MB", goal=PODLESS_MEMORY_TARGET),
        ]
    print("Empty nodes without a pod: journal and manifest of each on the disk\n")
    print(figures([*rows, grown(taken)]), end="\n\n")


def grown(taken: Taken) -> Row:
    """Return the row that holds the CPU of a node in the last sweep against the one before."""
    (few, _, small), (many, _, large) = taken[-2:]
    return Row(
        what=f"a node of {many:,}, CPU",
        ours=1000 * large.cpu / many,
        unit="ms",
        goal=GROWTH_TARGET,
        peer=f"a node of {few:,}",
        theirs=1000 * small.cpu / few,
    )


def main() -> None:
    wanted = sys.argv[1:] or ["wide", "telemetry", "long", "podless"]
    print(machine(), end="\n\n")
    if "wide" in wanted:
        on_pods("All at once", WIDE, growth=False)
    if "telemetry" in wanted:
        telemetry()
    if "long" in wanted:
        on_pods("More than fit at once", LONG, growth=True)
    if "podless" in wanted:
        without_pods()


if __name__ == "__main__":
    main()
