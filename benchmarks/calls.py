"""Calls to RunPod's API that a wide sweep makes for each of its nodes, counted by the emulator.

Usage: python benchmarks/calls.py [--check]

``--check`` exits 1 where a sweep makes more than the target: counts do not depend on the machine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emulated import emulator, requests
from measure import Row, exit_if_missed, figures, machine, run

TARGET = 4.0
SWEEPS = ((64, 64, 0), (64, 64, 15), (256, 64, 0))
"""Nodes, how many at a time, and the seconds that a pod takes to boot."""
SHORT = SWEEPS[:1]
JOB_SECONDS = 1

DEPLOY = """import rpd
from rpd import Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
@rpd.mark.parametrize("seed", range({nodes}))
def train(pod, seed):
    pod.run("sleep {seconds}")
"""


def calls(nodes: int, width: int, boot_seconds: float) -> float:
    """Return the calls for each node of a sweep."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        (folder / "deploy_sweep.py").write_text(DEPLOY.format(nodes=nodes, seconds=JOB_SECONDS), "utf-8")
        with emulator(folder, boot_seconds=boot_seconds) as backend:
            command = [sys.executable, "-m", "rpd", "run", "--yes", "-q", "-n", str(width), "deploy_sweep.py"]
            run(command, cwd=folder, env=backend)
            return requests(backend) / nodes


def rows(sweeps: Sequence[tuple[int, int, float]]) -> list[Row]:
    """Count the calls of some sweeps."""
    return [
        Row(
            what=f"{nodes} nodes, -n {width}, boot {boot} s",
            ours=calls(nodes, width, boot),
            unit="calls a node",
            goal=TARGET,
        )
        for nodes, width, boot in sweeps
    ]


def main() -> None:
    counted = rows(SHORT if "--check" in sys.argv else SWEEPS)
    print(f"Calls to RunPod's API for each node of a sweep, {machine()}\n")
    print(figures(counted))
    if "--check" in sys.argv:
        exit_if_missed(counted)


if __name__ == "__main__":
    main()
