"""Cold start: ``rpd collect`` of one small file compared with ``pytest --collect-only -q`` of the same.

Usage: python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import comparison, interleave, machine, run

ROUNDS = 15
TARGET = 0.26
HEAVY = ("runpod", "fabric", "paramiko", "rich", "asyncssh", "aiohttp", "graphql", "cryptography", "asyncio")

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


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "deploy_small.py").write_text(DEPLOY, encoding="utf-8")
        (folder / "test_small.py").write_text(TEST, encoding="utf-8")
        commands = {
            "rpd collect": [sys.executable, "-m", "rpd", "collect", "deploy_small.py"],
            "pytest --collect-only -q": [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "--collect-only",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    "test_small.py",
                )
            ],
        }
        samples = interleave(commands, cwd=folder, rounds=rounds)
        imported = imported_modules(folder)
    print(f"Cold start with one small file, {rounds} rounds, {machine()}\n")
    print(comparison(samples, target=TARGET))
    own = [module for module in imported if module.split(".")[0] == "rpd"]
    heavy = sorted({module.split(".")[0] for module in imported} & set(HEAVY))
    print(f"\nmodules imported by rpd collect: {len(imported)}, of them rpd's own: {len(own)}")
    print(f"heavy ones among them: {', '.join(heavy) or 'none'}")


def imported_modules(folder: Path) -> list[str]:
    """Return the modules that one collection imports, as ``-X importtime`` tells them."""
    _, text = run([sys.executable, "-X", "importtime", "-m", "rpd", "collect", "deploy_small.py"], cwd=folder)
    lines = [
        line
        for line in text.splitlines()
        if line.startswith("import time:") and "imported package" not in line
    ]
    return [line.rpartition("|")[2].strip() for line in lines]


if __name__ == "__main__":
    main()
