"""64 nodes at once on an emulator: CPU seconds a node and memory of the rpd process alone.

The emulator runs beside it and is not counted; ``-n 1`` with one node shows what is there without any sweep.

Usage: python benchmarks/sweep.py [NODES]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from far_end import emulator
from measure import machine, run, table

NODES = 64
JOB_SECONDS = 10
CPU_TARGET = 0.3
MEMORY_TARGET = 200

DEPLOY = """import rpd
from rpd import Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
@rpd.mark.parametrize("seed", range({nodes}))
def train(pod, seed):
    pod.run("for i in $(seq {seconds}); do echo step $i; sleep 1; done; echo {{}} > /workspace/out.json")
    pod.pull("/workspace/out.json")
"""


def main() -> None:
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else NODES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        with emulator(folder) as far_end:
            for count in (1, nodes):
                deploy = folder / f"deploy_{count}.py"
                deploy.write_text(DEPLOY.format(nodes=count, seconds=JOB_SECONDS), encoding="utf-8")
                command = [sys.executable, "-m", "rpd", "run", "--yes", "-q", "-n", str(count), deploy.name]
                sample, _ = run(command, cwd=folder, env=far_end)
                rows.append((count, sample))
    print(f"A sweep of jobs of {JOB_SECONDS} s, all at once, {machine()}\n")
    cells = [
        [str(n), f"{s.wall:.1f}", f"{s.cpu:.1f}", f"{s.cpu / n:.2f}", f"{s.peak_mb:.0f}"] for n, s in rows
    ]
    cells.append(["target", "", "", f"<= {CPU_TARGET:.2f}", f"<= {MEMORY_TARGET}"])
    print(table(["nodes", "wall s", "CPU s", "CPU s a node", "peak MB"], cells))


if __name__ == "__main__":
    main()
