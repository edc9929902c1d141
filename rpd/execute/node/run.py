"""One run of one node: its steps, output, metrics and clock while it is under way."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rpd.disk.regular import read_regular
from rpd.errors import Interrupted, RemoteError, UsageError
from rpd.events import Events
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from rpd.execute.node.output_log import Follow, OutputLog, Take
from rpd.execute.pod.destinations import Destinations
from rpd.execute.timeouts import NO_TIMEOUTS, Timeouts
from rpd.journal.files import NodeFiles
from rpd.journal.journal import Journal
from rpd.journal.replay import PastStep
from rpd.lease.lease import Lease
from rpd.remote.telemetry import Silence
from rpd.stop import Stop
from rpd.values.job import Gpu
from rpd.values.node import Node
from rpd.values.printable import tellable
from rpd.values.report import ArtifactRecord
from rpd.values.step import Pulled, Staged, Step, StepKind
from rpd.values.telemetry import Sample

TAIL_LINES = 20
METRICS_FILE = "metrics.json"
LONGEST_LINE = 16 << 10
MOST_METRICS_BYTES = 1 << 20
"""A pulled file of that name that is larger holds something else: all metrics stand in the manifest."""
PROGRESS_SECONDS = 0.1
"""How often at most the progress of a transfer is told."""

T = TypeVar("T")


class Masker(Protocol):
    """Masks secrets in a stream of output whose pieces may cut a secret in two."""

    def feed(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class StepsChanged(UsageError):
    """A job that is carried on takes other steps than it took before."""


@dataclass(slots=True)
class StepEnd:
    """How a step ended: its exit code if it has one, and what it returned, as JSON holds it.

    ``seconds`` is how long it took, where that is known better than by watching it.
    """

    exit_code: int | None = None
    seconds: float | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What goes on beside a job and has an end of its own.

    ``finish(required=…)`` brings it to that end, and raises RemoteError if it cannot be; ``close`` gives it up.
    """

    finish: Callable[..., None]
    close: Callable[[], None]


@dataclass(kw_only=True, eq=False)
class NodeRun:
    """The live side of a node: job functions and fixtures act on it through the pod handle; the runner reads it.

    ``files`` is None in a dry run. ``mask`` masks secrets in a text.
    """

    node: Node
    files: NodeFiles | None
    journal: Journal
    events: Events
    mask: Callable[[str], str]
    masker: Masker
    config: Any = None
    context: Any = None
    """The RunContext; not typed here, since it is made of the same parts."""
    tells_fixtures: bool = True
    """Whether any plugin wants to hear of fixtures; asking none of them for each fixture costs time all the same."""
    gpus: tuple[int, ...] = ()
    """Which GPUs of its pod the node has to itself, by index; empty: all of them."""
    share: float = 1.0
    """Which part of its pod that is."""
    attempt: int = 1
    error: BaseException | None = None
    """What ended it, if something did."""
    gpu_after_oom: Callable[[Gpu | None], Gpu | None] = lambda gpu: gpu
    ceiling: float | None = None
    """What this attempt may cost, in USD: what was told of the node, less what earlier attempts cost; None: its cap."""
    runtime_at: float | None = None
    """On the monotonic clock: when the job has taken its ``max_runtime``."""
    money_at: float | None = None
    """On the monotonic clock: when the pods the node has will have cost what it may cost."""
    caps: Mapping[str, str] = field(default_factory=dict)
    """In words: what the job reaches at ``runtime_at`` (``runtime``) and at ``money_at`` (``money``)."""
    timeout_at: float | None = None
    """On the monotonic clock: when the job has taken as long as its mark allows."""
    clock: JobClock | None = None
    """Ends the job when its time is up; None while no job runs, or none that has to end."""
    timeouts: Timeouts = NO_TIMEOUTS
    silence: Silence | None = None
    """Watches the command that runs now, if the job wants that."""
    steps: list[Step] = field(default_factory=list)
    artifacts: list[ArtifactRecord] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    """The declared variables the node uses, with the values it got."""
    staged: Staged | None = None
    sent: dict[str, str] = field(default_factory=dict)
    """What it sent to its pods: where from, and its sha256."""
    leases: list[Lease] = field(default_factory=list)
    """The pods this node used, in order."""
    own_lease: Lease | None = None
    """The one that its fixture ``pod`` gave it."""
    billed_seconds: float = 0.0
    usd: float = 0.0
    remembered: deque[PastStep] = field(default_factory=deque)
    """Steps an earlier process did or began; answered from the journal instead of done again."""
    holder: str = ""
    """The wide fixture that is being set up, empty while the node's own are."""
    had_open_pods: bool = False
    """Whether pods it used were still there when it was reported, so that its report is not the last word."""
    salvaging: bool = False
    """Whether the job is only called again to learn which pulls were still to come."""
    endings: list[Ending] = field(default_factory=list)
    """What goes on beside the job, such as pulls that repeat."""
    unwritten: Callable[[Path, OSError, str], object] = lambda path, error, then: None  # noqa: ARG005
    """Hears which file of the node could not be written, why, and what becomes of what it was to hold."""
    new_masker: Callable[[], Masker] | None = None
    """Makes a masker for output that is fetched again."""
    done: list[Callable[[], Any]] = field(default_factory=list)
    """The answer of each step, so that a second call of the job gets the same ones."""

    def __post_init__(self) -> None:
        self._log = (
            None
            if self.files is None
            else OutputLog(self.files.output, partial(self._unwritten, self.files.output))
        )
        self._line = b""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._replayed = 0
        self.transfer_progress = self._transferred if self.files is not None and self._is_heard() else None
        """Hears how far a transfer of the node is; None where nobody wants to know."""
        self._transferred_at = 0.0
        self.began = time.monotonic()
        self._closed = threading.Event()
        self._telemetry_lock = threading.Lock()
        self.destinations = Destinations()
        """Where its pulls go to."""
        self.expected = Destinations()
        """Where its pulls will go to, as far as that can be told before a pod is asked: in a dry run, too."""
        self.recalled_seconds = 0.0
        """What the recalled steps took when they were done, and one that is carried on had taken."""
        self._carried = 0.0

    @cached_property
    def mark(self) -> str:
        """The name of the mark that says on a pod when the node began there; the same in all attempts."""
        return f"{self.context.run_id}-{self.key}" if self.files else ""

    @cached_property
    def key(self) -> str:
        """A short name for the node, safe in every path and the same in every process."""
        return hashlib.sha256(self.node.id.encode(errors="surrogatepass")).hexdigest()[:12]

    @property
    def dry_folder(self) -> Path:
        """What a dry run calls the folder of the node; it does not exist."""
        folder: Path = self.context.runs_path / "dry-run" / self.node.name
        return folder

    @property
    def is_past_failure(self) -> bool:
        """Whether the job is called again and has come past the step that failed."""
        return self.salvaging and self._replayed >= len(self.done)

    # --- steps ------------------------------------------------------------------------------------------------------

    def recall(
        self,
        kind: StepKind,
        name: str,
        command: str,
        fingerprint: str,
        pod: str,
        *,
        is_whole: Callable[[Mapping[str, Any]], bool] = lambda _result: True,
    ) -> Mapping[str, Any] | None:
        """Return the result the next step had in an earlier process, None if it has to be done (again).

        What was done on another pod than ``pod`` has to be, and what left a result that is not ``is_whole``. Raises
        StepsChanged if the job does something else now.
        """
        if self.remembered and self.remembered[0].pod != pod:
            self.forget_past()
        if not self.remembered:
            return None
        past = self.remembered.popleft()
        if past.kind != kind or past.fingerprint != fingerprint:
            self.remembered.clear()
            raise StepsChanged(
                f"step {past.index + 1} of {self.node.id} is another than before ({past.kind}, now {kind}: "
                f"{self.mask(command)}): its job or parameters changed, so it cannot be carried on; run it afresh"
            )
        if past.result is None or not is_whole(past.result):
            self._cut_log(past.log_bytes)
            # A command went on without us; what is sent or fetched begins anew.
            self._carried = _seconds_since(past.began) if kind is StepKind.RUN else 0.0
            self.spend(self._carried)
            return None
        self.steps.append(
            Step(
                index=len(self.steps),
                kind=kind,
                name=self.mask(name),
                command=self.mask(command),
                exit_code=past.exit_code,
                seconds=past.seconds,
            )
        )
        self.spend(past.seconds)
        return past.result

    def spend(self, seconds: float) -> None:
        """Count what an earlier process took for a step as time of this job."""
        self.recalled_seconds += seconds
        if self.timeout_at is not None:
            self.timeout_at -= seconds
        if self.runtime_at is not None:
            self.runtime_at -= seconds
        if self.clock is not None and self.ends_at is not None:
            self.clock.move(self.ends_at)

    @property
    def deadline(self) -> float | None:
        """On the monotonic clock: when the node reaches its cap of time or money."""
        return min((at for at in (self.runtime_at, self.money_at) if at is not None), default=None)

    @property
    def cap(self) -> str:
        """Which cap that is, and of how much."""
        is_time = self.runtime_at is not None and self.runtime_at == self.deadline
        return self.caps.get("runtime" if is_time else "money", "its cap")

    @property
    def ends_at(self) -> float | None:
        """On the monotonic clock: when the job has to end, for whatever reason."""
        return min((at for at in (self.timeout_at, self.deadline) if at is not None), default=None)

    def shielded(self) -> AbstractContextManager[None]:
        """Return a context in which no limit of time ends what is done."""
        return nullcontext() if self.clock is None else self.clock.shielded()

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """End the block, which is code of a fixture, when the run has to end. Raises Interrupted."""
        if self.context is None or self.clock is not None:
            yield
            return
        stop: Stop = self.context.stop
        self.clock = JobClock(lambda: Interrupted(stop.reason))
        try:
            with self.clock.heeding(stop, Alarms(), None):
                yield
        finally:
            self.clock = None

    def timed(self, end: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        """Return the context of a step that ``end`` ends when the job has to; it raises BudgetExceeded, JobTimeout."""
        return nullcontext() if self.clock is None else self.clock.step(end)

    def forget_past(self) -> None:
        """Do every step anew: the pod on which they were done is gone."""
        if self.remembered:
            self.remembered.clear()
            self.journal.write("steps_forgotten", sync=True)
            self._cut_log(0)

    def _cut_log(self, length: int) -> None:
        """Forget the output of a step that is followed from its first byte once more."""
        if self.files is not None and self.files.output.exists():
            with self.files.output.open("r+b") as log:
                log.truncate(length)

    @contextmanager
    def step(
        self, kind: StepKind, name: str, command: str, fingerprint: str, pod: str, **detail: Any
    ) -> Iterator[StepEnd]:
        """Record one step around its work; the work notes its exit code and result on what is yielded.

        ``detail`` goes to the journal only.
        """
        end = StepEnd()
        step = Step(index=len(self.steps), kind=kind, name=self.mask(name), command=self.mask(command))
        self.steps.append(step)
        if self.files is None:  # a dry run: nothing begins, and it is over at once
            yield end
            return
        self.journal.write(
            "step_started",
            sync=True,
            index=step.index,
            kind=kind,
            command=step.command,
            fingerprint=fingerprint,
            pod=pod,
            **detail,
            log_bytes=self.files.output.stat().st_size if self.files.output.exists() else 0,
        )
        self.events.step_started(node=self.node, step=step)
        started, self._carried = time.monotonic() - self._carried, 0.0
        try:
            yield end
        finally:
            seconds = time.monotonic() - started if end.seconds is None else end.seconds
            step = replace(step, seconds=round(seconds, 3), exit_code=end.exit_code)
            self.steps[step.index] = step
            self.journal.write(
                "step_finished",
                sync=True,
                index=step.index,
                exit_code=step.exit_code,
                seconds=step.seconds,
                result=end.result,
            )
            self.events.step_finished(node=self.node, step=step)

    def replay(self, otherwise: Callable[[], T]) -> T:
        """Return the answer the next step got in the first call of the job, past the last one ``otherwise()``."""
        self._replayed += 1
        if self._replayed <= len(self.done):
            answer: T = self.done[self._replayed - 1]()
            return answer
        return otherwise()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the phase ``name``."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - started

    def _is_heard(self) -> bool:
        return self.events.is_heard("transfer_progress")

    def _transferred(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._transferred_at < PROGRESS_SECONDS and done < total:
            return
        self._transferred_at = now
        self.events.transfer_progress(node=self.node, done=done, total=total)

    def finish_beside(self, *, required: bool) -> None:
        """Bring everything that goes on beside the job to its end; raise the first error once all of it is."""
        errors: list[RemoteError | UsageError] = []
        while self.endings:
            try:
                self.endings.pop(0).finish(required=required)
            except (RemoteError, UsageError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    # --- output -----------------------------------------------------------------------------------------------------

    def output(self, data: bytes) -> None:
        """Take raw output: masked, it goes to ``output.log``, to the tail and to whoever listens."""
        self._emit(self.masker.feed(data))

    def _emit(self, data: bytes) -> None:
        if not data:
            return
        if self._log is not None:
            self._log.write(data)
        *lines, line = (self._line + data).split(b"\n")
        # A line need not end: what is kept of one is what a person may want to see.
        self._line = line[-LONGEST_LINE:]
        self._tail.extend(line[-LONGEST_LINE:] for line in lines[-TAIL_LINES:])
        self.events.step_output(node=self.node, data=data)

    def _unwritten(self, path: Path, error: OSError) -> None:
        then = "the command goes on, its log is fetched from the pod once there is room"
        self.unwritten(path, error, then)

    def command_begins(self, follow: Follow) -> None:
        """Say that the output of a command comes next, and how to get it from the pod again."""
        if self._log is not None:
            self._log.begin(follow)

    @property
    def missing_log_bytes(self) -> int:
        """How much of the output is not in ``output.log``, because the disk was full."""
        return self._log.missed_bytes if self._log is not None else 0

    def mend_log(self) -> None:
        """Fetch what a full disk kept out of ``output.log``, if there is room for it by now."""
        if self._log is not None and self.new_masker is not None and self._log.missed_bytes:
            new_masker = self.new_masker

            def masked(take: Take) -> tuple[Take, Callable[[], None]]:
                masker = new_masker()
                return lambda data: take(masker.feed(data)), lambda: take(masker.flush())

            self._log.mend(masked)

    def flush_output(self) -> None:
        """Let out what the masker still holds back."""
        self._emit(self.masker.flush())

    @property
    def tail(self) -> tuple[str, ...]:
        """The last 20 lines of output; of a line that was rewritten with carriage returns, what was left to see."""
        lines = [*self._tail, self._line] if self._line else list(self._tail)
        return tuple(
            line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace") for line in lines[-TAIL_LINES:]
        )

    # --- results ----------------------------------------------------------------------------------------------------

    def record_metric(self, name: str, value: Any) -> None:
        """Keep a number (or text) that the job found out, for the summary and the manifest. Raises UsageError."""
        if not isinstance(name, str) or not name:
            raise UsageError(f"record_metric: expected a name, got {tellable(name)!r}")
        if not self.salvaging:
            self.metrics[name] = tellable(value)

    def record_artifact(self, pulled: Pulled) -> None:
        """Keep a pull for the manifest; scalars in a pulled ``metrics.json`` become metrics."""
        assert self.files is not None
        self.artifacts.append(
            ArtifactRecord(
                remote=pulled.remote,
                local=_relative(pulled.local, self.files.folder),
                files=pulled.files,
                bytes=pulled.bytes,
                sha256_file=_relative(Path(pulled.sha256_file), self.files.folder)
                if pulled.sha256_file
                else "",
                verified=pulled.verified,
                required=pulled.required,
                older=len(pulled.older),
            )
        )
        if pulled.older and self.context is not None:
            self.context.asides.note_older(self.node.id, pulled.remote, len(pulled.older))
        found = pulled.local / METRICS_FILE if pulled.local.is_dir() else pulled.local
        is_metrics = METRICS_FILE in (found.name, pulled.remote.rpartition("/")[2])
        if is_metrics and str(found) in pulled.older:
            self.events.notice(
                text=f"{self.node.id}: {found.name} in {pulled.remote} is older than the node, so it is no result of "
                "it; no metrics are taken from it"
            )
        elif is_metrics and found.is_file():
            self._take_metrics(found, within=self.files.folder)

    def _take_metrics(self, path: Path, within: Path) -> None:
        try:
            self.metrics.update(_read_metrics(path, within))
        except ValueError as error:
            self.events.notice(text=f"{self.node.id}: no metrics were read from its {path.name}: {error}")

    @property
    def is_closed(self) -> bool:
        """Whether the node is over."""
        return self._closed.is_set()

    def telemetry(self, sample: Sample) -> None:
        """Keep how busy its pod is; of the GPUs, those the node has to itself. Called on other threads, too."""
        if self.gpus:
            sample = replace(sample, gpus=tuple(gpu for gpu in sample.gpus if gpu.index in self.gpus))
        with self._telemetry_lock:
            if self.files is None or self.is_closed:
                return
            self._append(
                self.files.telemetry,
                json.dumps(sample.to_json(), separators=(",", ":")),
                "samples are left out",
            )
        self.events.telemetry(node=self.node, sample=sample)

    def trace(self, line: str) -> None:
        """Keep a line that the watchdog of its pod wrote. Called on other threads, too."""
        with self._telemetry_lock:
            if self.files is None or self.is_closed:
                return
            self._append(self.files.watchdog, self.mask(line), "lines are left out")

    def _append(self, path: Path, line: str, otherwise: str) -> None:
        """Append a line to a file whose loss costs nothing."""
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            self.unwritten(path, error, otherwise)

    def keep_diagnosis(self, text: bytes) -> str:
        """Keep what was found out about a command that hung; return where, relative to the run's folder."""
        assert self.files is not None
        self._append(self.files.diagnosis, self.mask(text.decode(errors="replace")), "it is left out")
        return f"{self.files.folder.name}/{self.files.diagnosis.name}"

    def close(self) -> None:
        """Close the files, and give up what still goes on beside the job."""
        for ending in self.endings:
            ending.close()
        with self._telemetry_lock:
            self._closed.set()
        self.flush_output()
        if self._log is not None:
            self._log.close()
        self.journal.close()


def _seconds_since(at: str) -> float:
    """Return the seconds that passed since a moment (UTC, ISO 8601) by this machine's clock; 0 if it is not known."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()) if at else 0.0


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _read_metrics(path: Path, within: Path) -> dict[str, Any]:
    """Return the scalars of a JSON object.

    Raises ValueError, with what is wrong, for a file that is something else, or a link that leads out of ``within``.
    """
    try:
        whole = path.resolve()
        if not whole.is_relative_to(within.resolve()):
            raise ValueError("it is a link that leads out of the node's folder")
        content = json.loads(read_regular(whole, MOST_METRICS_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ValueError(error.strerror) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError(f'expected a JSON object such as {{"loss": 0.1}}, got {type(content).__name__}')
    return {key: value for key, value in content.items() if isinstance(value, int | float | str | bool)}
