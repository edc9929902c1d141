"""Running commands side by side and measuring them: wall seconds, CPU seconds, peak memory."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Sample:
    """One run of one command: seconds, and megabytes (2**20 bytes) at the peak; its children count as CPU."""

    wall: float
    cpu: float
    peak_mb: float
    system: float = 0.0
    """The part of ``cpu`` that the kernel took, mostly for files; 0 where nobody asks."""


def environment(**extra: str) -> dict[str, str]:
    """Return this environment with the checkout importable and no plugins loaded automatically.

    Python may keep its bytecode: an installed package has it, so a checkout should not be compiled every
    time.
    """
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": str(REPOSITORY),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "RPD_DISABLE_PLUGIN_AUTOLOAD": "1",
        **extra,
    }


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> tuple[Sample, str]:
    """Run ``command`` and return its sample and its output. Exits with that output if it fails."""
    with Output() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=env or environment(), stdout=output.file, stderr=output.file
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)  # we waited for it ourselves
        text = output.text()
    if process.returncode != 0:
        sys.exit(f"exit code {process.returncode}: {' '.join(command)}\n{text}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is bytes there, kibibytes elsewhere
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, usage.ru_stime), text


class Output:
    """A temporary file for the output of a command, so that no full pipe ever holds the command up."""

    def __enter__(self) -> Output:
        self.file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        return self

    def text(self) -> str:
        self.file.seek(0)
        return self.file.read()

    def __exit__(self, *_: object) -> None:
        self.file.close()


def interleave(commands: Mapping[str, Sequence[str]], *, cwd: Path, rounds: int) -> dict[str, Sample]:
    """Run the commands in turn (A B A B …), after one round that is not counted, and return medians."""
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            sample, _ = run(command, cwd=cwd)
            if turn:
                samples[name].append(sample)
    return {name: median(each) for name, each in samples.items()}


def median(samples: Sequence[Sample]) -> Sample:
    """Return the median of each column."""
    return Sample(
        statistics.median(s.wall for s in samples),
        statistics.median(s.cpu for s in samples),
        statistics.median(s.peak_mb for s in samples),
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def machine() -> str:
    """Return one line about this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {cores} cores"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure beside its peer and its goal.

    With a peer, ``goal`` is how many times the peer's figure it may be; without one, the most that it may be. A figure
    without a goal explains others.
    """

    what: str
    ours: float
    unit: str = ""
    goal: float | None = None
    peer: str = ""
    theirs: float = 0.0

    @property
    def ratio(self) -> float | None:
        """The figure as a multiple of the peer's, or of its goal."""
        base = self.theirs if self.peer else self.goal
        return self.ours / base if base else None

    @property
    def is_missed(self) -> bool:
        """Whether the goal is missed."""
        figure = self.ratio if self.peer else self.ours
        return self.goal is not None and figure is not None and figure > self.goal

    def cells(self) -> list[str]:
        """Return the cells of its line in a table with ``HEAD``."""
        ours, theirs = (f"{number(value)} {self.unit}".rstrip() for value in (self.ours, self.theirs))
        ratio = "" if self.ratio is None else f"{number(self.ratio)}x"
        most = (
            "" if self.goal is None else f"<= {self.goal:g}{'x' if self.peer else f' {self.unit}'.rstrip()}"
        )
        beside = [self.peer, theirs] if self.peer else ["its goal" if most else "", ""]
        return [self.what, ours, *beside, ratio, most, "missed" if self.is_missed else ""]


HEAD = ("", "figure", "peer", "its figure", "ratio", "goal", "")


def figures(rows: Sequence[Row]) -> str:
    """Return the table that every benchmark ends with: figure, peer, ratio and goal of each row."""
    return table(HEAD, [row.cells() for row in rows])


def exit_if_missed(rows: Sequence[Row]) -> None:
    """End the process with exit code 1 if a goal is missed."""
    if missed := [row.what for row in rows if row.is_missed]:
        sys.exit(f"missed: {', '.join(missed)}")


def number(value: float) -> str:
    """Return a number with three digits that count."""
    size = abs(value)
    digits = 0 if value == int(value) or size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4
    return f"{value:,.{digits}f}"


def against(what: str, samples: Mapping[str, Sample], goal: float) -> list[Row]:
    """Return the rows of two commands: the first beside the second, in time, CPU and memory."""
    (_, ours), (peer, theirs) = samples.items()
    return [
        Row(what=what, ours=ours.wall, unit="s", goal=goal, peer=peer, theirs=theirs.wall),
        Row(what="  CPU", ours=ours.cpu, unit="s", goal=goal, peer=peer, theirs=theirs.cpu),
        Row(what="  memory", ours=ours.peak_mb, unit="MB", peer=peer, theirs=theirs.peak_mb),
    ]
