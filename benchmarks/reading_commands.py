"""Commands that read past runs, next to a run of 10,000 nodes: with the index of that run, and without it.

Each must grow no faster than the run does: the ratio is the cost of a node in the large run over that in a
small one.

Usage: python benchmarks/reading_commands.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from measure import Row, figures, machine, run

FEW, MANY = 1_000, 10_000
ROUNDS = 3
TARGET = 1.0
"""Seconds."""

DEPLOY = """import rpd


@rpd.job
@rpd.mark.parametrize("seed", range({nodes}))
def measure(record_metric, seed):
    record_metric("loss", seed / 7)
"""
COMMANDS = (
    ["runs"],
    ["report"],
    ["show"],
    ["report", "--json"],
    ["query", "seed < 10"],
    ["estimate", "-q"],
)


def seconds(command: list[str], folder: Path, rounds: int) -> float:
    """Return the CPU seconds of a command, the median."""
    words = [sys.executable, "-m", "rpd", *command]
    return statistics.median(run(words, cwd=folder)[0].cpu for _ in range(rounds))


def sweep(folder: Path, nodes: int) -> Path:
    """Make a folder with one run of so many nodes."""
    place = folder / str(nodes)
    place.mkdir()
    (place / "rpd.toml").write_text("", encoding="utf-8")
    (place / "deploy_past.py").write_text(DEPLOY.format(nodes=nodes), encoding="utf-8")
    run([sys.executable, "-m", "rpd", "run", "-q", "-n", "16"], cwd=place)
    return place


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    rows = []
    with tempfile.TemporaryDirectory() as name:
        few, many = (sweep(Path(name), nodes) for nodes in (FEW, MANY))
        [of_run] = many.glob("rpd-runs/2*")
        nothing = seconds(["--version"], few, rounds)
        for words in COMMANDS:
            command = [of_run.name if word == ":0" else word for word in words]
            small = seconds(words, few, rounds)
            large = seconds(command, many, rounds)
            (of_run / ".manifests").rename(of_run / "aside")
            [cold] = [run([sys.executable, "-m", "rpd", *command], cwd=many)[0].cpu]
            (of_run / "aside").replace(of_run / ".manifests")
            rows += [
                Row(what=" ".join(words), ours=large, unit="CPU s", goal=TARGET),
                Row(what="  without its index", ours=cold, unit="CPU s", peer="with it", theirs=large),
                Row(
                    what="  beyond the start",
                    ours=large - nothing,
                    unit="CPU s",
                    goal=MANY / FEW,
                    peer=f"with {FEW:,} nodes",
                    theirs=max(small - nothing, 0.001),
                ),
            ]
    print(f"Commands next to a run of {MANY:,} nodes, {rounds} rounds, {machine()}\n")
    print(figures(rows))
    print(f"\n{MANY // FEW} times as many nodes: linear is at most {MANY // FEW}x.")


if __name__ == "__main__":
    main()
