"""A dry run of 10,000 nodes compared with ``pytest -q`` on the same matrix with empty bodies.

Every node asks for a pod, so rpd plans, prices and records one for each; the tests ask for nothing.

Usage: python benchmarks/dry_run.py [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import against, figures, interleave, machine

ROUNDS = 5
TARGET = 0.45

DEPLOY = """import rpd


@rpd.job
@rpd.mark.parametrize("a", range(100))
@rpd.mark.parametrize("b", range(100))
def train(pod, a, b):
    pass
"""
TEST = """import pytest


@pytest.mark.parametrize("a", range(100))
@pytest.mark.parametrize("b", range(100))
def test_train(a, b):
    pass
"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "deploy_matrix.py").write_text(DEPLOY, encoding="utf-8")
        (folder / "test_matrix.py").write_text(TEST, encoding="utf-8")
        commands = {
            "rpd run --dry-run -q": [
                sys.executable,
                "-m",
                "rpd",
                "run",
                "--dry-run",
                "-q",
                "deploy_matrix.py",
            ],
            "pytest -q": [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_matrix.py"],
        }
        samples = interleave(commands, cwd=folder, rounds=rounds)
    print(f"Dry run of 10,000 nodes, {rounds} rounds, {machine()}\n")
    print(figures(against("rpd run --dry-run -q", samples, TARGET)))


if __name__ == "__main__":
    main()
