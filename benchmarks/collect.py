"""Collecting 10,000 nodes, compared with pytest collecting the same matrix; and one small file, cold.

Usage: python benchmarks/collect.py [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import against, figures, interleave, machine

ROUNDS = 5
OURS, PEER = "rpd collect -q", "pytest --collect-only -q"
KINDS = (("10,000 nodes", "", 0.17), ("one small file", "-small", 0.26))
"""Titles, ends of the names of folders, and goals."""
FILES, JOBS, SIDE = 10, 10, 10
"""Files, functions in each and values of each of two parameters: 10 * 10 * 10 * 10 = 10,000 nodes."""

PYTEST_HEAD = "import pytest as framework\n"
RPD_HEAD = "import rpd as framework\n"
SMALL = '@framework.mark.parametrize("seed", [42, 43, 44])\ndef {name}(seed): ...\n'


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        write_matrix(root / "pytest", "test_{}.py", PYTEST_HEAD, "")
        write_matrix(root / "rpd", "deploy_{}.py", RPD_HEAD, "@framework.job\n")
        write_small(root / "pytest-small", "test_small.py", PYTEST_HEAD, "test_small", "")
        write_small(root / "rpd-small", "deploy_small.py", RPD_HEAD, "small", "@framework.job\n")
        samples = {
            (title, goal): interleave(
                {
                    OURS: [sys.executable, "-m", "rpd", "collect", "-q", str(root / f"rpd{kind}")],
                    PEER: [
                        sys.executable,
                        "-m",
                        "pytest",
                        "--collect-only",
                        "-q",
                        str(root / f"pytest{kind}"),
                    ],
                },
                cwd=root,
                rounds=rounds,
            )
            for title, kind, goal in KINDS
        }
    print(f"Collecting, medians of {rounds} rounds, {machine()}\n")
    print(figures([row for (title, goal), each in samples.items() for row in against(title, each, goal)]))


def write_matrix(folder: Path, pattern: str, head: str, decorator: str) -> None:
    folder.mkdir()
    values = list(range(SIDE))
    job = (
        f'{decorator}@framework.mark.parametrize("seed", {values})\n'
        f'@framework.mark.parametrize("size", {values})\n'
        "def test_{}(seed, size): ...\n"
    )
    for number in range(FILES):
        body = "".join(job.format(index) for index in range(JOBS))
        (folder / pattern.format(number)).write_text(head + body)


def write_small(folder: Path, name: str, head: str, function: str, decorator: str) -> None:
    folder.mkdir()
    (folder / name).write_text(head + decorator + SMALL.format(name=function))


if __name__ == "__main__":
    main()
