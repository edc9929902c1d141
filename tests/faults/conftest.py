"""Fault runs: cases in a table, played side by side on emulators of their own, and the one invariant of them all."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import queue
import random
import re
import shutil
import signal
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

import rpd
from rpd.emulator.launch import Launched, launch
from rpd.errors import Cause, ExitCode
from rpd.journal import journal
from rpd.record import history, run
from rpd.values.report import NodeReport, Outcome
from rpd.values.step import StepKind
from tests.waiting import DEADLINE, wait_until

STAGES = 4
STAGES_FOR_LONG = 16
"""How many cases are played at once: they wait more than they compute."""
LONG = 600.0
"""Seconds until a run that waits for long has to be over."""
BLOB = random.Random(1).randbytes(400_000)
"""What every job sends to its pod and gets back from it: 400 kB."""
ATTEMPT_SECONDS = 3.0
"""How much longer than RunPod a node may count each of its pods, besides the time its create took to be answered."""

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
    if "trying again" in text:
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

    def __str__(self) -> str:
        return self.id


@dataclass(kw_only=True)
class Ending:
    """What a case led to; ``after`` is how the following command ended."""

    project: Path
    exit_code: int
    screen: str
    left: list[dict[str, Any]]
    """The pods that the account has after the run."""
    after: Ending | None = None
    billed: float = 0.0
    """USD, all pods of the case together."""
    rate: float = 0.0
    """USD an hour of the dearest of them."""
    struck: list[dict[str, Any]] = field(default_factory=list)

    @property
    def run_dirs(self) -> list[Path]:
        return sorted((self.project / "rpd-runs").glob("2*/"))

    @property
    def run_dir(self) -> Path:
        (found,) = self.run_dirs
        return found

    @property
    def reports(self) -> list[NodeReport]:
        """The manifests, each of which can be read."""
        damaged: list[Exception] = []
        found = history.reports(self.run_dir, damaged=damaged.append) if self.run_dirs else []
        assert damaged == []
        return found

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the events of those names in the journals of the run's nodes and of the run, in that order."""
        paths = sorted(self.run_dir.glob(f"**/{journal.FILE_NAME}"), reverse=True)
        return [event for path in paths for event in journal.read(path) if event["event"] in names]


# --- the invariant --------------------------------------------------------------------------------------------------


def check(case: Case, ending: Ending) -> None:
    """Fail unless no pod is left, every node has its manifest, artifacts are intact, and code, cause and cost are right."""
    last = ending.after or ending
    story = f"{ending.screen}\n{ending.after.screen if ending.after else ''}"
    assert "Traceback" not in story, story
    reports = ending.reports
    assert last.exit_code == _expected_code(case, last, reports), story
    assert len(last.left) == case.kept or (case.kept is None and last.exit_code == 6) or not last.left, story
    _check_code(last)
    started = {event["node"] for event in ending.events("node_started")}
    reaped = case.then[:1] == ("gc",)
    if not reaped:
        assert {report.node.id for report in reports} == started, story
    assert re.search(case.says, story), story
    for report in reports:
        _check_artifacts(report)
    for report in reports if not reaped else ():
        told = (report.result.outcome, report.result.cause)
        assert case.outcome is None or told == (case.outcome, case.cause), story
        assert case.attempts in (None, report.result.attempts), story
        assert len(report.attempts) == report.result.attempts - 1
        if report.result.outcome is Outcome.PASSED:
            _check_passed(report)
        held_up = {step.kind for step in report.steps if step.seconds >= 1}
        assert case.hits is None or case.hits in held_up, story
    if not reaped:
        _check_cost(case, ending, reports, story)


def _expected_code(case: Case, last: Ending, reports: Sequence[NodeReport]) -> int:
    if case.exit_code is not None:
        return case.exit_code
    if last.exit_code == ExitCode.POD_NOT_RELEASED and (case.kept is None or last.left):
        return last.exit_code  # whether it names what is left is looked at next
    if "starting nothing new; running commands are ended" in last.screen:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if all(report.result.outcome.is_ok for report in reports) else ExitCode.FAILED


def _check_code(ending: Ending) -> None:
    """Exit code 6 says that pods may still bill, which ones, and how to release them; nothing else says so."""
    if ending.exit_code != ExitCode.POD_NOT_RELEASED:
        assert "may still bill" not in ending.screen or "is released after all" in ending.screen, (
            ending.screen
        )
        return
    info = run.read(ending.run_dir / run.FILE_NAME)
    named = {*info.unreleased}
    made = ending.events("intent", "created")
    assert named, ending.screen
    # Where the answer to a create was lost, its name is all that is known of a pod.
    assert all(named & {pod["id"], pod["name"]} for pod in ending.left), ending.screen
    assert named <= {event.get("pod_id") for event in made} | {event["pod_name"] for event in made}
    for pod in named:
        assert f"rpd stop {pod}" in ending.screen, ending.screen


def _check_artifacts(report: NodeReport) -> None:
    """What the manifest calls verified is there, byte for byte as its list of sums says."""
    folder = Path(report.folder)
    for artifact in report.artifacts:
        if not artifact.verified:
            continue
        sums = (folder / artifact.sha256_file).read_text(encoding="utf-8").splitlines()
        assert len(sums) >= artifact.files > 0
        for line in sums:
            digest, name = re.fullmatch(r"([0-9a-f]{64})\s+\*?(.+)", line).groups()  # type: ignore[union-attr]
            found = (folder / "artifacts" / name).read_bytes()
            assert hashlib.sha256(found).hexdigest() == digest, name


def _check_passed(report: NodeReport) -> None:
    """A node that passed has everything its job made."""
    folder = Path(report.folder)
    assert [(artifact.files, artifact.verified) for artifact in report.artifacts] == [(1, True)]
    model = (folder / "artifacts" / "out" / "model").read_bytes()
    assert model == BLOB * max(2, len(model) // len(BLOB))
    # Attempts follow each other in the log; one that came to its command wrote all of it.
    told = (folder / "output.log").read_bytes()
    assert told in [OUTPUT * count for count in range(1, report.result.attempts + 1)]
    assert report.pod is not None


def _check_cost(case: Case, ending: Ending, reports: Sequence[NodeReport], story: str) -> None:
    """The nodes bear what RunPod bills: never less, and not much more than the ways to the API and back."""
    if case.slack == ANY:
        return
    told = sum(report.cost.estimated_usd for report in reports)
    per_second = ending.rate / 3600
    most = (sum(map(_slack_of, _asked_for(ending))) + case.slack) * per_second
    below, above = (ending.billed - told) / (per_second or 1), (told - ending.billed) / (per_second or 1)
    goes_on = bool((ending.after or ending).left)  # what stays goes on billing after its report
    assert goes_on or told >= ending.billed - 0.05 * per_second - 2e-6, (
        f"{below:.2f} s of a pod are missing\n{story}"
    )
    assert told <= ending.billed + most + 2e-6, f"{above:.2f} s of a pod too much\n{story}"


def _asked_for(ending: Ending) -> list[tuple[str, str]]:
    """Return for each pod that was asked for when that was, and when it was answered (or not: the same)."""
    answered = {event["pod_name"]: event["at"] for event in ending.events("created")}
    asked = {event["pod_name"]: event["at"] for event in ending.events("intent")}
    return [(at, answered.get(name, at)) for name, at in asked.items()]


def _slack_of(pod: tuple[str, str]) -> float:
    asked, answered = map(datetime.fromisoformat, pod)
    return ATTEMPT_SECONDS + (answered - asked).total_seconds()


# --- the driver -----------------------------------------------------------------------------------------------------

_MAIN = """
import os, sys
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
for number, path in ((0, os.devnull), (1, screen), (2, screen)):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), number)
sys.argv = ["rpd", *words]
from rpd.cli import main
sys.exit(main())
"""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["pytest", "rpd.cli.run", "rpd.pipeline.run", "rpd.remote.ssh", "runpod", "rich"]
)


def _load_once() -> None:
    """Start the process that drivers are forked from; it imports from where this process does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(rpd.__file__).parents[1]), before]))
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


class Driver:
    """``rpd`` in a process of its own, forked from one that has loaded what it needs: that is most of a short run."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *words: str) -> None:
        self.screen_file = folder / f"screen-{words[0]}-{time.monotonic_ns()}.txt"
        given = {
            "folder": str(folder), "environment": dict(environment), "screen": str(self.screen_file), "words": words,
        }  # fmt: skip
        self.process = _CONTEXT.Process(target=exec, args=(_MAIN, given), daemon=True)
        self.process.start()

    @property
    def screen(self) -> str:
        """What it has printed until now."""
        return self.screen_file.read_text(encoding="utf-8") if self.screen_file.exists() else ""

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def finish(self, deadline: float = DEADLINE) -> int:
        """Return its exit code (minus the signal that killed it) once it has ended."""
        self.process.join(deadline)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"rpd was still running after {deadline:g} s\n{self.screen}")
        return self.process.exitcode


# --- the stage ------------------------------------------------------------------------------------------------------


class Stage:
    """One emulator, on which one case at a time is played."""

    def __init__(self, folder: Path) -> None:
        self.emulator = launch(boot_seconds=0.05)
        self._folder = folder

    def project(self, name: str, job: str) -> Path:
        """Write a project with one deploy file."""
        folder = self._folder / re.sub(r"\W+", "-", name)
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "blob").write_bytes(BLOB)
        (folder / "rpd.toml").write_text("", encoding="utf-8")
        (folder / ".rpdignore").write_text("rpd-runs/\nscreen-*\n", encoding="utf-8")
        (folder / "deploy_a.py").write_text(textwrap.dedent(job), encoding="utf-8")
        (folder / "conftest.py").write_text(CUT, encoding="utf-8")
        return folder

    def start(self, folder: Path, *words: str, **more: str) -> Driver:
        """Start ``rpd`` with those words in a project, with ``more`` in its environment."""
        plain = {
            name: value for name, value in os.environ.items() if not name.startswith(("RPD_", "RUNPOD_"))
        }
        plain |= {"NO_COLOR": "1", "COLUMNS": "120", "RPD_CACHE_DIR": str(self._folder / "cache")}
        backend = {"RUNPOD_API_BASE_URL": self.emulator.base_url, "RUNPOD_API_KEY": self.emulator.api_key}
        return Driver(folder, {**plain, **backend, **more}, *words)

    def play(self, case: Case) -> Ending:
        """Play a case to its end; the account is empty again afterwards."""
        folder = self.project(case.id, case.job)
        before = self.bills()
        for fault in case.faults:
            self.emulator.inject(fault)
        cut = (
            {"CUT_AT": f"{case.cut_at} {case.cut_count}", "CUT_WITH": str(int(case.cut_with))}
            if case.cut_at
            else {}
        )
        driver = self.start(folder, "run", *case.args, **cut)
        if case.meanwhile is not None:
            wait_until(lambda: self.has_begun(folder), what="the job's first output")
            case.meanwhile(self.emulator, driver)
        ending = self.ending(folder, driver, LONG if case.long else DEADLINE)
        ending.struck = self.emulator.faults()
        self.emulator.clear_faults()
        if case.then and ending.exit_code < 0:
            ending.after = self.ending(folder, self.start(folder, *case.then))
        self.sweep()
        spent = {pod: usd - before.get(pod, 0.0) for pod, usd in self.bills().items()}
        ending.billed = sum(spent.values())
        ending.rate = max((event["usd_per_hr"] or 0.0 for event in _intents(folder)), default=0.0)
        return ending

    def ending(self, folder: Path, driver: Driver, deadline: float = DEADLINE) -> Ending:
        """Wait for a driver and return how it ended."""
        code = driver.finish(deadline)
        left = self.emulator.pods()
        return Ending(project=folder, exit_code=code, screen=driver.screen, left=left)

    def has_begun(self, folder: Path, nodes: int = 1) -> bool:
        """Whether so many nodes work on their pods."""
        logs = folder.glob("rpd-runs/2*/*/output.log")
        return sum("begun" in path.read_text(encoding="utf-8") for path in logs) >= nodes

    def sweep(self) -> None:
        """Leave the account as it was at first."""
        for pod in self.emulator.pods():
            self.ask("DELETE", f"v2/pods/{pod['id']}")
        self.emulator.set_balance(100.0)
        self.emulator.settle()
        assert self.emulator.pods() == []

    def bills(self) -> dict[str, float]:
        """Return what each pod has cost until now, in USD."""
        total: Counter[str] = Counter()
        for row in json.loads(self.ask("GET", "v2/billing/pods"))["records"]:
            total[row["podId"]] += row["totalAmount"]
        return total

    def ask(self, method: str, path: str) -> bytes:
        """Call REST v2 as the owner of the account."""
        request = urllib.request.Request(
            f"{self.emulator.base_url}/{path}",
            method=method,
            headers={"Authorization": f"Bearer {self.emulator.api_key}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            answer: bytes = response.read()
            return answer


def _intents(folder: Path) -> list[dict[str, Any]]:
    paths = folder.glob(f"rpd-runs/2*/{journal.FILE_NAME}")
    return [event for path in paths for event in journal.read(path) if event["event"] == "intent"]


class Theatre:
    """Stages, and the cases of this session: all begin at once, as far as there are stages."""

    def __init__(self, folder: Path, cases: Sequence[Case]) -> None:
        _load_once()
        # Cases that wait for long take nothing but a stage.
        width = STAGES + min(STAGES_FOR_LONG, sum(case.long for case in cases))
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="stage")
        self._free: queue.SimpleQueue[Stage | None] = queue.SimpleQueue()
        self._stages: list[Stage] = []
        self._folder = folder
        for _ in range(width):
            self._free.put(None)
        self._played: dict[str, Future[Ending]] = {
            case.id: self._pool.submit(self._play, case)
            for case in sorted(cases, key=lambda case: not case.long)
        }

    def played(self, case: Case) -> Ending:
        """Return how a case ended."""
        return self._played[case.id].result()

    def _play(self, case: Case) -> Ending:
        stage = self._free.get()
        after: Stage | None = None
        try:
            if stage is None:
                stage = Stage(self._folder)
                self._stages.append(stage)
            ending = stage.play(case)
            after = stage
            return ending
        finally:
            if after is None and stage is not None:
                stage.emulator.close()  # nobody knows in which state it is: the next case gets another
            self._free.put(after)

    def close(self) -> None:
        """End what is still played, and every emulator."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for stage in self._stages:
            stage.emulator.close()
        self._pool.shutdown()


@pytest.fixture(scope="session")
def theatre(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    """The cases of every test that is going to run, being played."""
    chosen = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    cases = [case for case in chosen if isinstance(case, Case)]
    folder = tmp_path_factory.mktemp("faults")
    theatre = Theatre(folder, cases)
    yield theatre
    theatre.close()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how much was tried."""
    if _tried:
        faults = {json.dumps(fault, sort_keys=True) for case in _tried for fault in case.faults}
        faults |= {case.id for case in _tried if case.meanwhile}
        cuts = {(case.cut_at, case.cut_with, case.then) for case in _tried if case.cut_at}
        terminalreporter.write_line(
            f"fault runs: {len(_tried)} with {len(faults)} faults, cut in {len(cuts)} ways "
            f"at {len({at for at, _, _ in cuts})} events"
        )


_tried: list[Case] = []


@pytest.fixture
def ending(theatre: Theatre, case: Case) -> Ending:
    """How the case of this test ended."""
    _tried.append(case)
    return theatre.played(case)


@pytest.fixture(scope="session")
def _stage(theatre: Theatre, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # With the theatre, so that its cases are played meanwhile.
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.emulator.close()


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """A stage for tests with a plot of their own; it is swept after each."""
    yield _stage
    _stage.emulator.clear_faults()
    _stage.sweep()
