"""A case: one run with something going wrong, and how it has to end; and how it did end."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.emulator.launch import Launched
from rpd.errors import Cause, ExitCode
from rpd.journal import journal
from rpd.record import history
from rpd.values.report import NodeReport, Outcome
from rpd.values.step import StepKind

if TYPE_CHECKING:
    from tests.faultlab.driver import Driver


BLOB = random.Random(1).randbytes(400_000)
"""What every job sends to its pod and gets back from it: 400 kB."""
ANY = float("inf")
"""The slack of a case whose cost nobody can foretell."""
JOB = """
import rpd
from rpd import Budget, Gpu, Lifecycle

@rpd.job(gpu=Gpu("NVIDIA RTX A4000", "NVIDIA L4"), budget=Budget(cost_cap_usd=1))
def fit(pod):
    pod.put("data", "data")
    pod.run("mkdir -p out; cat data/blob data/blob > out/model; echo begun; seq 40000; echo ended")
    pod.pull("out/")
"""
"""Sends, computes with much output, and fetches."""
TWO = JOB.replace("def fit(pod)", '@rpd.mark.parametrize("n", [1, 2])\ndef fit(pod, n)')
WAITS = JOB.replace("seq 40000", "while [ ! -e go ]; do sleep 0.05; done")
"""Runs until somebody ends it."""
OUTPUT = "".join(["begun\n", *(f"{n}\n" for n in range(1, 40001)), "ended\n"]).encode()
CUT = """
import os, signal, threading
from rpd.hooks import hookimpl

def at(moment):
    seen.append(moment)
    if os.environ.get("CUT_AT") != f"{moment} {seen.count(moment)}":
        return
    os.kill(os.getpid(), int(os.environ["CUT_WITH"]))
    noticed.wait(20)

seen = []
noticed = threading.Event()

def rpd_notice(text):
    if "starting nothing new; running commands are ended" in text:
        noticed.set()
    if "; retrying" in text:
        at("tried_again")

def rpd_node_started(node):
    at("node_started")

def rpd_pod_event(event):
    at(event)

def rpd_step_started(step):
    at(f"{step.kind}_started")

def rpd_step_finished(step):
    at(f"{step.kind}_finished")

@hookimpl(wrapper=True)
def rpd_node_report():
    at("node_finished")
    result = yield
    at("reported")
    return result
"""
"""A conftest that sends its own process a signal when an event has reached the journal: ``EVENT N``, the Nth of its kind."""
MOMENTS = (
    "node_started", "intent", "created", "ready", "armed", "put_started", "put_finished", "run_started",
    "run_finished", "pull_started", "pull_finished", "released", "node_finished", "reported",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line: bytes a second each way, and seconds there and back."""

    rate: float
    round_trip: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run with something going wrong, and how it has to end.

    ``faults`` are in force from the start, ``meanwhile`` acts once the job has begun to work on its pod, ``then`` is
    the command that comes after the run. ``cut_at`` is the event, its ``cut_count``-th, at which the run is sent
    ``cut_with``.
    ``slack`` is how many seconds more than RunPod bills may be counted, for answers that come late or never.
    ``kept`` is how many pods stay: unreleased ones with exit code 6, else on purpose
    (None: any number of unreleased ones).
    """

    id: str
    job: str = JOB
    args: tuple[str, ...] = ()
    faults: tuple[Mapping[str, Any], ...] = ()
    meanwhile: Callable[[Launched, Driver], object] | None = None
    cut_at: str = ""
    cut_count: int = 1
    cut_with: signal.Signals = signal.SIGINT
    then: tuple[str, ...] = ()
    exit_code: int | None = ExitCode.OK
    """None: whatever fits the outcomes."""
    outcome: Outcome | None = Outcome.PASSED
    """None: any, and any cause and number of attempts."""
    cause: Cause | None = None
    attempts: int | None = 1
    slack: float = 0.0
    kept: int | None = 0
    long: bool = False
    """Whether it waits for long, and so is begun first."""
    hits: StepKind | None = None
    """The kind of step that must have been held up for a second."""
    says: str = ""
    """What a person has to read at the end (a regular expression)."""
    line: Line | None = None
    """What lies between the driver and RunPod with its pods; None: nothing."""

    def __str__(self) -> str:
        return self.id


@dataclass(kw_only=True)
class Ending:
    """The result of a case; ``after`` is how the following command ended."""

    project: Path
    exit_code: int
    screen: str
    left: list[dict[str, Any]]
    """The pods that the account has after the run."""
    after: Ending | None = None
    billed: float = 0.0
    """USD, all pods of the case together."""
    rate: float = 0.0
    """The highest of their rates, in USD an hour."""
    struck: list[dict[str, Any]] = field(default_factory=list)

    @property
    def run_dirs(self) -> list[Path]:
        return sorted((self.project / "rpd-runs").glob("2*/"))

    @property
    def run_dir(self) -> Path:
        (folders,) = self.run_dirs
        return folders

    @property
    def reports(self) -> list[NodeReport]:
        """The manifests, each of which can be read."""
        damaged: list[Exception] = []
        reports = history.reports(self.run_dir, damaged=damaged.append) if self.run_dirs else []
        assert damaged == []
        return reports

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the events of those names in the journals of the run's nodes and of the run, in that order."""
        return [event for event in self.all_events() if event["event"] in names]

    def all_events(self) -> list[dict[str, Any]]:
        """Return every event of the journals of the run's nodes and of the run, in that order."""
        paths = sorted(self.run_dir.glob(f"**/{journal.FILE_NAME}"), reverse=True)
        return [event for path in paths for event in journal.read(path)]


def named(rule: Mapping[str, Any]) -> str:
    """Return a name for a rule of faults."""
    return " ".join(str(value) for key, value in rule.items() if key not in ("match", "on", "times"))


def cuts(faults: Iterable[Mapping[str, Any]], **more: Any) -> Iterator[Case]:
    """Yield each fault with the driver interrupted, or killed and its run resumed or reaped, at each moment."""
    for fault in faults:
        for moment in MOMENTS:
            for number, then in (
                (signal.SIGINT, ()),
                (signal.SIGKILL, ("resume",)),
                (signal.SIGKILL, ("gc", "--yes")),
            ):
                yield Case(
                    id=f"{named(fault)}, {number.name} at {moment}{', ' if then else ''}{' '.join(then)}",
                    faults=(fault,), cut_at=moment, cut_with=number, then=then,
                    exit_code=None, outcome=None, attempts=None, slack=ANY, **more,
                )  # fmt: skip
