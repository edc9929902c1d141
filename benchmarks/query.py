"""`rpd query` over 500 runs of 20 nodes, compared with `grep` and with pandas over the same manifests.

Each answers: how many nodes failed, by GPU, and what did they cost? ``cold``: no index and no warm cache of rpd; the
first time an index has to be made, which a run that rpd made has written itself. CPU seconds, not time: they do not
depend on what else the machine does.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import past_runs

RUNS, NODES = 500, 20
QUESTION = ("query", 'outcome == "failed"', "--by", "gpu", "--show", "count,sum(usd)")
BY_PANDAS = """
import sys, tomllib
from pathlib import Path
import pandas
rows = []
for path in Path(sys.argv[1]).glob("*/*/manifest.toml"):
    held = tomllib.loads(path.read_text(encoding="utf-8"))
    rows.append({"outcome": held["result"]["outcome"], "gpu": held["pod"]["gpu"], "usd": held["cost"]["estimated_usd"]})
frame = pandas.DataFrame(rows)
print(frame[frame.outcome == "failed"].groupby("gpu").usd.agg(["count", "sum"]))
"""


def cpu(argv: Sequence[str], *, cwd: Path) -> tuple[float, float]:
    """Return CPU seconds and the largest memory (MB) of a command."""
    process = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{argv} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def forget_indexes(runs_path: Path) -> None:
    for path in runs_path.glob("*/.manifests"):
        path.unlink()


def measure(rounds: int, act: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    taken = [act() for _ in range(rounds)]
    return median(seconds for seconds, _ in taken), max(memory for _, memory in taken)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="rpd-query-") as folder:
        root = Path(folder)
        (root / "rpd.toml").touch()
        runs_path = root / "rpd-runs"
        past_runs.make(runs_path, runs=RUNS, nodes=NODES)
        rpd = [sys.executable, "-m", "rpd"]

        def without_index() -> tuple[float, float]:
            forget_indexes(runs_path)
            return cpu([*rpd, *QUESTION], cwd=root)

        sql = ["query", "--sql", "SELECT gpu, count(*) FROM nodes GROUP BY gpu"]
        grep = ["grep", "-rl", "--include=manifest.toml", 'outcome = "failed"', "rpd-runs"]
        commands = {
            "rpd query, no index": without_index,
            "rpd query": lambda: cpu([*rpd, *QUESTION], cwd=root),
            "rpd query --sql": lambda: cpu([*rpd, *sql], cwd=root),
            "rpd query, counting events": lambda: cpu([*rpd, "query", "event.refused > 0", "--by", "gpu"], cwd=root),
            "rpd runs": lambda: cpu([*rpd, "runs", "-n", "0"], cwd=root),
            "grep -rl (names of files)": lambda: cpu(grep, cwd=root),
            "pandas over manifests": lambda: cpu([sys.executable, "-c", BY_PANDAS, str(runs_path)], cwd=root),
        }  # fmt: skip
        print(f"{RUNS} runs of {NODES} nodes; median of {rounds}\n\n{'':<28} {'CPU s':>7} {'MB':>5}")
        for name, act in commands.items():
            seconds, memory = measure(1 if "no index" in name else rounds, act)
            print(f"{name:<28} {seconds:7.2f} {memory:5.0f}", flush=True)
    print("\ntarget: rpd query <= 1 s on an idle machine, and linear in the nodes")


if __name__ == "__main__":
    main()
