"""Cold starts: short commands compared with ``pytest`` on a file of the same size, and how many modules they load.

``rpd runs`` has five past runs to list. Usage: python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import Row, environment, figures, interleave, machine, run
from past_runs import make

ROUNDS = 9
HEAVY = ("runpod", "fabric", "paramiko", "rich", "asyncssh", "aiohttp", "graphql", "cryptography", "asyncio")
PEER = "pytest --collect-only -q"

DEPLOY = """import rpd


@rpd.job
@rpd.mark.parametrize("seed", [1, 2, 3])
def train(pod, seed):
    pod.run(f"python train.py --seed {seed}")
"""
TEST = """import pytest


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_train(tmp_path, seed):
    assert seed
"""
OURS: Mapping[str, tuple[Sequence[str], float, int]] = {
    "rpd collect": (("collect", "deploy_small.py"), 0.26, 50),
    "rpd --dry-run, 3 nodes": (("--dry-run", "deploy_small.py"), 0.60, 216),
    "rpd runs": (("runs",), 0.40, 72),
}
"""Of each command: its words, its goal as a part of the peer's time, and the most modules of rpd that it may load."""


def commands() -> dict[str, Sequence[str]]:
    """Return each command with the words that start it."""
    ours = {name: [sys.executable, "-m", "rpd", *words] for name, (words, _, _) in OURS.items()}
    options = ("--collect-only", "-q", "-p", "no:cacheprovider")
    return {**ours, PEER: [sys.executable, "-m", "pytest", *options, "test_small.py"]}


def prepare(folder: Path) -> None:
    """Make the files that the commands read."""
    (folder / "rpd.toml").write_text("", encoding="utf-8")
    (folder / "deploy_small.py").write_text(DEPLOY, encoding="utf-8")
    (folder / "test_small.py").write_text(TEST, encoding="utf-8")
    make(folder / "rpd-runs", runs=5, nodes=3)


def imported_modules(folder: Path, command: Sequence[str]) -> list[str]:
    """Return the modules that a command imports, as ``-X importtime`` tells them."""
    _, text = run([command[0], "-X", "importtime", *command[1:]], cwd=folder, env=environment())
    lines = [line for line in text.splitlines() if line.startswith("import time:")]
    return [line.rpartition("|")[2].strip() for line in lines if "imported package" not in line]


def modules(folder: Path) -> dict[str, tuple[int, str]]:
    """Return how many modules of rpd each command loads, and which heavy libraries."""
    loaded = {name: imported_modules(folder, command) for name, command in commands().items() if name in OURS}
    return {
        name: (
            sum(each.split(".")[0] == "rpd" for each in names),
            ", ".join(sorted({each.split(".")[0] for each in names} & set(HEAVY))) or "none",
        )
        for name, names in loaded.items()
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        samples = interleave(commands(), cwd=folder, rounds=rounds)
        loaded = modules(folder)
    peer = samples[PEER]
    rows = []
    for name, (_, goal, most) in OURS.items():
        ours = samples[name]
        rows += [
            Row(what=name, ours=ours.cpu, unit="CPU s", goal=goal, peer=PEER, theirs=peer.cpu),
            Row(what="  time", ours=ours.wall, unit="s", peer=PEER, theirs=peer.wall),
            Row(what="  loaded", ours=loaded[name][0], unit="modules of rpd", goal=most),
        ]
    print(f"Cold starts, medians of {rounds} rounds, {machine()}\n")
    print(figures(rows))
    for name, (_, heavy) in loaded.items():
        print(f"heavy libraries in {name}: {heavy}")


if __name__ == "__main__":
    main()
