"""Graphs: what the rpd process spends on two hundred nodes in forty diamonds, beside a flat sweep of as many nodes.

A diamond is a node, three that need it, and one that needs these three. On pods both do the same work, so that the
order is all that differs; without pods the nodes of the graph ask for the metrics of what they need. The emulator runs
beside rpd and is not counted.

Usage: python benchmarks/graph.py [pods] [podless] [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from emulated import emulator
from measure import Sample, against, environment, figures, machine, run

DIAMONDS, WIDTH = 40, 32
NODES = DIAMONDS * 5
TARGET = 1.2

HEAD = """import rpd
from rpd import Gpu

diamonds = rpd.mark.parametrize("diamond", range({diamonds}))
sides = rpd.mark.parametrize("side", range(3))
"""
ON_PODS = (
    HEAD
    + """
job = rpd.job(gpu=Gpu("NVIDIA RTX A4000"))


def work(pod):
    pod.run("sleep 1; echo {{}} > /workspace/out.json")
    pod.pull("/workspace/out.json")
"""
)
FLAT_ON_PODS = """

@job
@rpd.mark.parametrize("seed", range({nodes}))
def train(pod, seed):
    work(pod)
"""
GRAPH_ON_PODS = """

@job
@diamonds
def prepare(pod, diamond):
    work(pod)


@job
@rpd.mark.needs(prepare)
@diamonds
@sides
def train(pod, diamond, side):
    work(pod)


@job
@rpd.mark.needs(train, all=True)
@diamonds
def compare(pod, diamond):
    work(pod)
"""
FLAT = """

@rpd.job
@rpd.mark.parametrize("seed", range({nodes}))
def train(seed, record_metric):
    record_metric("loss", seed)
"""
GRAPH = """

@rpd.job
@diamonds
def prepare(diamond, record_metric):
    record_metric("size", diamond)


@rpd.job
@rpd.mark.needs(prepare)
@diamonds
@sides
def train(diamond, side, needs, record_metric):
    record_metric("loss", needs[prepare].metrics["size"] + side)


@rpd.job
@rpd.mark.needs(train, all=True)
@diamonds
def compare(diamond, needs, record_metric):
    record_metric("best", min(each.metrics["loss"] for each in needs.all(train)))
"""
KINDS = {
    "pods": ("on pods, jobs of 1 s", ON_PODS + FLAT_ON_PODS, ON_PODS + GRAPH_ON_PODS, 1),
    "podless": ("without pods", HEAD + FLAT, HEAD + GRAPH, 5),
}


def samples(flat: str, graph: str, rounds: int) -> tuple[list[Sample], list[Sample]]:
    """Run both in turn, on one emulator."""
    found: tuple[list[Sample], list[Sample]] = ([], [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        with emulator(folder) as backend:
            for _ in range(rounds):
                for text, kept in zip((flat, graph), found, strict=True):
                    deploy = folder / "deploy_b.py"
                    deploy.write_text(text.format(diamonds=DIAMONDS, nodes=NODES), encoding="utf-8")
                    command = [
                        sys.executable,
                        "-m",
                        "rpd",
                        "run",
                        "--yes",
                        "-q",
                        "-n",
                        str(WIDTH),
                        deploy.name,
                    ]
                    kept.append(run(command, cwd=folder, env=environment(**backend))[0])
    return found


def compare(title: str, flat: str, graph: str, rounds: int) -> None:
    """Print the time and memory of a flat sweep and of a graph of as many nodes."""
    plain, needing = (
        Sample(median(s.wall for s in taken), median(s.cpu for s in taken), median(s.peak_mb for s in taken))
        for taken in samples(flat, graph, rounds)
    )
    print(f"{NODES} nodes {title}, -n {WIDTH}, {rounds} rounds\n")
    print(
        figures(against(f"{DIAMONDS} diamonds", {"ours": needing, "flat sweep": plain}, TARGET)), end="\n\n"
    )


def main() -> None:
    """Print both comparisons, or the one that is named."""
    words = sys.argv[1:]
    rounds = next((int(word) for word in words if word.isdigit()), None)
    print(machine(), end="\n\n")
    for name, (title, flat, graph, usual) in KINDS.items():
        if name in words or not set(words) & KINDS.keys():
            compare(title, flat, graph, rounds or usual)


if __name__ == "__main__":
    main()
