"""Collecting 10,000 nodes, compared with pytest collecting the same matrix; and one small file, cold.

Run with ``python benchmarks/collect.py``; prints seconds (the best of a few runs) and the ratios.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
FILES, JOBS, SIDE = 10, 10, 10
"""Files, functions in each and values of each of two parameters: 10 * 10 * 10 * 10 = 10,000 nodes."""

PYTEST_HEAD = "import pytest as framework\n"
RPD_HEAD = "import rpd as framework\n"
SMALL = '@framework.mark.parametrize("seed", [42, 43, 44])\ndef {name}(seed): ...\n'


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        write_matrix(root / "pytest", "test_{}.py", PYTEST_HEAD, "")
        write_matrix(root / "rpd", "deploy_{}.py", RPD_HEAD, "@framework.job\n")
        compare("10,000 nodes", root / "pytest", root / "rpd", target=0.17)
        write_small(root / "pytest-small", "test_small.py", PYTEST_HEAD, "test_small", "")
        write_small(root / "rpd-small", "deploy_small.py", RPD_HEAD, "small", "@framework.job\n")
        compare("one small file", root / "pytest-small", root / "rpd-small", target=0.26)


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


def compare(title: str, pytest_folder: Path, rpd_folder: Path, *, target: float) -> None:
    theirs = best([sys.executable, "-m", "pytest", "--collect-only", "-q"], pytest_folder)
    ours = best([sys.executable, "-m", "rpd", "collect", "-q"], rpd_folder)
    print(f"{title}: rpd {ours:.2f} s, pytest {theirs:.2f} s, ratio {ours / theirs:.2f} (target <= {target})")


def best(command: list[str], folder: Path) -> float:
    """Return the seconds of the fastest of a few runs; the first, which fills the caches, does not count."""
    return min([timed(command, folder) for _ in range(ROUNDS + 1)][1:])


def timed(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if result.returncode:
        raise SystemExit(
            f"{' '.join(command)} exited {result.returncode}:\n{result.stdout[-2000:]}{result.stderr}"
        )
    return seconds


if __name__ == "__main__":
    main()
