"""`rpd query` over 500 runs of 20 nodes, compared with `grep` and with pandas over the same manifests.

Each answers: how many nodes failed, by GPU, and at which cost? ``cold``: no index and no warm cache of rpd,
so the index, which rpd's own runs write, has to be made first. CPU seconds, not time, because they do not
depend on the load of the machine.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import past_runs
from measure import Row, figures, machine, run

RUNS, NODES = 500, 20
TARGET = 1.0
"""CPU seconds."""
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


def forget_indexes(runs_path: Path) -> None:
    for path in runs_path.glob("*/.manifests"):
        path.unlink()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="rpd-query-") as folder:
        root = Path(folder)
        (root / "rpd.toml").touch()
        runs_path = root / "rpd-runs"
        past_runs.make(runs_path, runs=RUNS, nodes=NODES)
        rpd = [sys.executable, "-m", "rpd"]

        def cpu(words: Sequence[str]) -> float:
            return run(words, cwd=root)[0].cpu

        def without_index() -> float:
            forget_indexes(runs_path)
            return cpu([*rpd, *QUESTION])

        sql = ["query", "--sql", "SELECT gpu, count(*) FROM nodes GROUP BY gpu"]
        grep = ["grep", "-rl", "--include=manifest.toml", 'outcome = "failed"', "rpd-runs"]
        commands = {
            "rpd query, no index": without_index,
            "rpd query": lambda: cpu([*rpd, *QUESTION]),
            "rpd query --sql": lambda: cpu([*rpd, *sql]),
            "rpd query, counting events": lambda: cpu([*rpd, "query", "event.refused > 0", "--by", "gpu"]),
            "rpd runs": lambda: cpu([*rpd, "runs", "-n", "0"]),
            "grep -rl (names of files)": lambda: cpu(grep),
        }  # fmt: skip
        if find_spec("pandas"):
            commands["pandas over manifests"] = lambda: cpu([sys.executable, "-c", BY_PANDAS, str(runs_path)])
        taken = {
            name: median(act() for _ in range(1 if "no index" in name else rounds))
            for name, act in commands.items()
        }
    ours = taken["rpd query"]
    rows = [Row(what="rpd query", ours=ours, unit="CPU s", goal=TARGET)]
    rows += [
        Row(what="rpd query", ours=ours, unit="CPU s", peer=peer, theirs=taken[peer])
        for peer in taken
        if not peer.startswith("rpd ")
    ]
    rows += [
        Row(what=name, ours=seconds, unit="CPU s", peer="rpd query", theirs=ours)
        for name, seconds in taken.items()
        if name.startswith("rpd ") and name != "rpd query"
    ]
    print(f"{RUNS} runs of {NODES} nodes; median of {rounds}, {machine()}\n\n{figures(rows)}")


if __name__ == "__main__":
    main()
