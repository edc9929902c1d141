"""Logs: the cost, in the rpd process, of jobs that print without end and whose output is not streamed to the screen.

The emulator runs at the same time and is not counted. The logs that arrive are compared with the printed
text.

Usage: python benchmarks/logs.py [one] [many]
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from emulated import emulator
from measure import Row, Sample, environment, figures, machine, run

ONE_MB, MANY_MB, MANY = 200, 12, 64
CPU_TARGET = 5.0
"""Seconds a GB."""
ONE_TARGET_MB, MANY_TARGET_MB = 150, 200

LINE = "epoch 17 step 004217 loss 0.123456 lr 0.00100 tokens/s 123456 \u00b7 gpu 97 %"
DEPLOY = f"""import rpd
from rpd import Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
@rpd.mark.parametrize("seed", range({{nodes}}))
def noisy(pod, seed):
    pod.run("yes '{LINE}' | head -c {{size}}")
"""


def measured(nodes: int, megabytes: int) -> Sample:
    """Run so many noisy nodes at once; return the time and memory once every log has proved to be complete."""
    size = megabytes * 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        (folder / "deploy_noisy.py").write_text(DEPLOY.format(nodes=nodes, size=size), encoding="utf-8")
        with emulator(folder) as backend:
            command = [sys.executable, "-m", "rpd", "run", "--yes", "-q", "-n", str(nodes), "deploy_noisy.py"]
            sample, _ = run(command, cwd=folder, env=environment(**backend))
        expected = printed(size)
        logs = list(folder.glob("rpd-runs/2*/*/output.log"))
        wrong = [log for log in logs if digest(log) != expected]
        if wrong or len(logs) != nodes:
            sys.exit(f"{len(logs)} logs, {len(wrong)} of them not as they were printed")
    return sample


def printed(size: int) -> bytes:
    """Return the sha256 of the output of a job.

    It is made a piece at a time, as is that of a log: the peak memory of a program that is started includes what the
    process that started it used at that moment.
    """
    line = f"{LINE}\n".encode()
    piece = line * (2**20 // len(line))
    digest = hashlib.sha256()
    for _ in range(size // len(piece)):
        digest.update(piece)
    digest.update(piece[: size % len(piece)])
    return digest.digest()


def digest(log: Path) -> bytes:
    """Return the sha256 of a log."""
    with log.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def main() -> None:
    wanted = sys.argv[1:] or ["one", "many"]
    print(f"Noisy jobs, {machine()}\n")
    idle = measured(1, 1)
    rows = [Row(what="1 job, 1 MB", ours=idle.peak_mb, unit="MB")]
    for kind, nodes, size, most in (
        ("one", 1, ONE_MB, ONE_TARGET_MB),
        ("many", MANY, MANY_MB, MANY_TARGET_MB),
    ):
        if kind in wanted:
            before = measured(nodes, 1).cpu if nodes > 1 else idle.cpu
            sample = measured(nodes, size)
            a_gb = (sample.cpu - before) / (nodes * (size - 1) / 1000)
            rows += [
                Row(what=f"{nodes} at once, {size} MB each", ours=sample.wall, unit="s"),
                Row(what="  CPU", ours=a_gb, unit="s a GB", goal=CPU_TARGET),
                Row(what="  memory", ours=sample.peak_mb, unit="MB", goal=most),
            ]
    print(figures(rows))


if __name__ == "__main__":
    main()
