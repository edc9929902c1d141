"""One node with a job of 5 seconds on an emulator: where the rest of the time goes.

The first column runs against an emulator that is ready; the second is ``--local``, which starts one.

Usage: python benchmarks/job.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from emulated import emulator
from measure import Row, environment, figures, machine, run, table

ROUNDS = 3
JOB_SECONDS = 5
TARGET = 6.5

DEPLOY = f"""import rpd
from rpd import Gpu


@rpd.job(gpu=Gpu("NVIDIA RTX A4000"))
def train(pod, staged_dir):
    pod.run("sleep {JOB_SECONDS} && echo done > result.txt", cwd=staged_dir)
    pod.pull("result.txt", cwd=staged_dir)
"""
RUN = [sys.executable, "-m", "rpd", "run", "--yes", "--print-run-dir", "deploy_job.py"]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "deploy_job.py").write_text(DEPLOY, encoding="utf-8")
        ready, local = [], []
        with emulator(folder) as backend:
            for turn in range(rounds + 1):
                first, second = timed(RUN, folder, backend), timed([*RUN, "--local"], folder, environment())
                if turn:  # one round is for the caches of this machine
                    ready.append(first)
                    local.append(second)
    print(f"One node, a job of {JOB_SECONDS} s, {rounds} rounds, {machine()}\n")
    print(report(medians(ready), medians(local)))


def timed(command: list[str], folder: Path, env: Mapping[str, str]) -> dict[str, float]:
    """Run once; return the seconds of every phase of the node, of the rest and of the whole command."""
    sample, text = run(command, cwd=folder, env=env)
    [manifest] = run_folder(text, folder).glob("**/manifest.toml")
    phases = tomllib.loads(manifest.read_text(encoding="utf-8"))["result"]["phases"]
    return {**phases, "outside the node": sample.wall - sum(phases.values()), "in all": sample.wall}


def run_folder(text: str, folder: Path) -> Path:
    """Return the run folder that ``--print-run-dir`` printed on its own line."""
    for line in reversed(text.splitlines()):
        path = folder / line.strip()
        if line.strip() and path.is_dir():
            return path
    sys.exit(f"no run folder in the output:\n{text}")


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each_round[name] for each_round in rounds) for name in rounds[0]}


def report(ready: dict[str, float], local: dict[str, float]) -> str:
    names = [*dict.fromkeys([*ready, *local])]
    cells = [[name, f"{ready.get(name, 0):.2f}", f"{local.get(name, 0):.2f}"] for name in names]
    rows = [
        Row(what="in all, backend ready", ours=ready["in all"], unit="s", goal=TARGET),
        Row(
            what="in all, backend ready",
            ours=ready["in all"],
            unit="s",
            goal=TARGET / JOB_SECONDS,
            peer="its command alone",
            theirs=JOB_SECONDS,
        ),
        Row(
            what="in all, --local",
            ours=local["in all"],
            unit="s",
            peer="backend ready",
            theirs=ready["in all"],
        ),
    ]
    return f"{table(['median seconds', 'ready', '--local'], cells)}\n\n{figures(rows)}"


if __name__ == "__main__":
    main()
