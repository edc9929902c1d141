"""Counts that do not depend on the machine, each with its goal: calls, syncs, modules, round trips, bytes.

Usage: python benchmarks/counts.py [calls] [syncs] [modules] [growth] [trips] [bytes]

It exits 1 where a count is above its goal, so that continuous integration may run it. Round trips and bytes take a
minute each; the others together less than one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import calls as calls_of
import startup
from emulated import emulator
from measure import REPOSITORY, Row, figures, machine, run
from reading_commands import COMMANDS, sweep

PODLESS, SLOTS = 1_000, 32
SYNCS_GOAL = 0.1
COUNTED = """
import os, sys
from rpd.journal import commits

asked = 0

def counting(function):
    def call(*given):
        global asked
        asked += 1
        return function(*given)
    return call

os.fsync = counting(os.fsync)
commits.sync_file_system = counting(commits.sync_file_system)
from rpd.cli import main

code = main()
open("syncs", "w").write(str(asked))
sys.exit(int(code))
"""
SIZES = (500, 2_000)
PROFILED = """
import contextlib, cProfile, io, sys
from rpd.cli import main

profile = cProfile.Profile()
with contextlib.redirect_stdout(io.StringIO()), profile:
    main(sys.argv[1:])
print(sum(entry.callcount for entry in profile.getstats()))
"""
WITHOUT = """import rpd


@rpd.job
@rpd.mark.parametrize("seed", range({nodes}))
def nothing(seed): ...
"""


def calls() -> list[Row]:
    """Count calls to RunPod's API."""
    return calls_of.rows(calls_of.SHORT)


def syncs() -> list[Row]:
    """Count how often the disk is waited for by nodes that hold no pod."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        (folder / "deploy_empty.py").write_text(WITHOUT.format(nodes=PODLESS), encoding="utf-8")
        with emulator(folder) as backend:
            words = ["run", "--yes", "-q", "-n", str(SLOTS), "deploy_empty.py"]
            run([sys.executable, "-c", COUNTED, *words], cwd=folder, env=backend)
        count = int((folder / "syncs").read_text())
    what = f"{PODLESS:,} nodes without a pod"
    return [Row(what=what, ours=count / PODLESS, unit="syncs a node", goal=SYNCS_GOAL)]


def modules() -> list[Row]:
    """Count the modules that short commands load."""
    with tempfile.TemporaryDirectory() as name:
        startup.prepare(Path(name))
        loaded = startup.modules(Path(name))
    return [
        Row(what=name, ours=loaded[name][0], unit="modules of rpd", goal=most)
        for name, (_, _, most) in startup.OURS.items()
    ]


def growth() -> list[Row]:
    """Count what commands that read a run do for each node, in a large run beside a small one."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folders = [sweep(Path(name), nodes) for nodes in SIZES]
        for words in COMMANDS:
            few, many = (
                int(run([sys.executable, "-c", PROFILED, *words], cwd=folder)[1].split()[-1]) / nodes
                for folder, nodes in zip(folders, SIZES, strict=True)
            )
            peer = f"with {SIZES[0]:,}"
            what = f"rpd {' '.join(words)}, {SIZES[1]:,} nodes"
            rows.append(Row(what=what, ours=many, unit="calls a node", goal=1.0, peer=peer, theirs=few))
    return rows


COUNTS: Mapping[str, Callable[[], list[Row]]] = {
    "calls": calls,
    "syncs": syncs,
    "modules": modules,
    "growth": growth,
}
OTHERS = {"trips": ("round_trips.py", "--check"), "bytes": ("transfer.py", "counts")}
"""Scripts that print a table of their own and exit 1 where a goal is missed."""


def main() -> None:
    wanted = sys.argv[1:] or [*COUNTS, *OTHERS]
    rows = [row for name, count in COUNTS.items() if name in wanted for row in count()]
    if rows:
        print(f"Counts, {machine()}\n")
        print(figures(rows), end="\n\n", flush=True)
    missed = any(row.is_missed for row in rows)
    for name, words in OTHERS.items():
        if name in wanted:
            script = str(REPOSITORY / "benchmarks" / words[0])
            missed |= bool(subprocess.run([sys.executable, script, *words[1:]], check=False).returncode)
    if missed:
        sys.exit("a count is above its goal")


if __name__ == "__main__":
    main()
