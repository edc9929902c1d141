"""The report of a node: the one record behind the screen, the manifest and every other report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NewType

from rpd.errors import Cause
from rpd.values.frozen import EMPTY, frozen
from rpd.values.step import Step, StepMark

SCHEMA_VERSION = 1
CACHED = "cached: "
"""How the reason of a node begins that was passed over since it passed before and nothing changed."""


Measured = NewType("Measured", float)
"""What a job measured: unlike other numbers of a record it may be NaN or infinite."""


class Outcome(StrEnum):
    """How a node ended; ``failed`` is the job's own doing, ``error`` a fixture's, the pod's or a teardown's.

    ``pruned``: a plugin saw its numbers and ended it (hook ``rpd_prune``), which is no failure.
    """

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    PRUNED = "pruned"

    @property
    def is_ok(self) -> bool:
        """Whether a run with only such nodes exits 0."""
        return self not in (Outcome.FAILED, Outcome.ERROR)


@frozen
class NodeRecord:
    """Which node: its id, the job function, where it stands, its parameters (values TOML can hold) and mark names."""

    id: str
    job: str
    file: str
    line: int
    parameters: Mapping[str, Any] = EMPTY
    marks: tuple[str, ...] = ()
    run: str = ""
    """The id of its run."""
    owner: str = ""
    """Whose run it was: ``RPD_OWNER``, else ``user@host``."""
    needs: tuple[str, ...] = ()
    """The ids of the nodes that it needs."""
    place: int | None = None
    """Its place in the plan of its run, from 0; None if it was not planned there, as a cached node."""


@frozen
class Result:
    """How it ended. ``started`` and ``finished`` are UTC, ISO 8601; ``phases`` maps a phase to its seconds."""

    outcome: Outcome
    cause: Cause | None = None
    reason: str = ""
    attempts: int = 1
    started: str = ""
    finished: str = ""
    phases: Mapping[str, float] = EMPTY
    files: tuple[str, ...] = ()
    """The files in the folder of the node when it ended, without those in ``artifacts/``."""

    @property
    def word(self) -> str:
        """The outcome for people: ``cached`` for a node that was passed over as unchanged."""
        is_cached = self.outcome is Outcome.SKIPPED and self.reason.startswith(CACHED)
        return "cached" if is_cached else self.outcome.value

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())


@frozen
class Skip:
    """Why a node is passed over; with metrics where it has the results of an earlier run."""

    reason: str
    cause: Cause | None = None
    metrics: Mapping[str, Any] = EMPTY


@frozen
class AttemptRecord:
    """One attempt before the last: how it ended, on which pod, its duration (s) and cost (USD)."""

    number: int
    outcome: Outcome
    cause: Cause | None = None
    reason: str = ""
    pod_id: str = ""
    gpu: str = ""
    datacenter: str = ""
    seconds: float = 0.0
    estimated_usd: float = 0.0


@frozen
class PodRecord:
    """The pod it ran on. ``final_state`` is ``deleted``, ``stopped``, ``running`` or ``unknown``.

    ``before`` lists earlier users of a recycled pod, each as ``run node``.
    """

    id: str
    name: str
    gpu: str = ""
    count: int = 0
    nodes: int = 1
    """The number of pods: the members of a cluster, with ``count`` GPUs each."""
    members: tuple[str, ...] = ()
    """The ids of the members of a cluster, by rank."""
    datacenter: str = ""
    cloud: str = ""
    image: str = ""
    digest: str = ""
    """Which image the name meant when the pod was rented, as its registry said; empty if it did not say."""
    spot: bool = False
    rate: float = 0.0
    final_state: str = "unknown"
    reused: bool = False
    before: tuple[str, ...] = ()
    volume: str = ""
    """The network volume that was asked for, by name or id."""
    volume_gb: int = 0
    """The size of the pod's own volume."""
    mount: str = ""
    """Where the volume is; empty if the pod has none."""
    container_disk_gb: int = 0


@frozen
class CostRecord:
    """Its cost, in USD. ``rate_source`` is the origin of the price: ``pod``, ``offer`` or ``unknown``."""

    rate_usd_per_hr: float = 0.0
    rate_source: str = "unknown"
    billed_seconds: float = 0.0
    estimated_usd: float = 0.0
    cap_usd: float = 0.0


@frozen
class SourceRecord:
    """The code that ran: commit, branch, whether the tree had changes (saved as ``diff_file``), staged tree."""

    git_sha: str = ""
    dirty: bool = False
    diff_file: str = ""
    diff_left_out: tuple[str, ...] = ()
    """Changed files that are not in that diff, each with the reason in parentheses."""
    tree_sha256: str = ""
    files: int = 0
    bytes: int = 0
    lock_file_sha256: str = ""
    lock_file: str = ""
    branch: str = ""
    """Empty if a commit is checked out and no branch."""
    author: str = ""
    """Whom git would have named as the author of a commit, as ``Name <address>``."""
    fingerprint: Mapping[str, str] = EMPTY
    """What the result depends on, part by part, as hashes; ``--changed`` compares them."""


@frozen
class EnvironmentRecord:
    """The pod's environment: GPU name, driver, CUDA, python, uname; empty if unknown."""

    gpu_name: str = ""
    driver: str = ""
    cuda: str = ""
    python: str = ""
    uname: str = ""
    warning: str = ""
    """A difference from what is paid for."""
    packages: str = ""
    """The file in the folder of the run that lists the packages of the pod's python, as ``pip freeze`` does."""
    nvidia_smi: str = ""
    """The file in the folder of the run with what ``nvidia-smi`` printed when the pod came up."""


@frozen
class ArtifactRecord:
    """One pull: paths (local relative to the node's folder), size, the file with the sha256 list, and its check.

    ``older`` counts files that were on the pod before the node started; ``label`` is the job's name for the
    result.
    """

    remote: str
    local: str
    files: int
    bytes: int
    sha256_file: str = ""
    verified: bool = False
    required: bool = True
    older: int = 0
    label: str = ""


@frozen
class SeriesRecord:
    """The summary of one series: number of values, the last, the least and the greatest, each with its step.

    NaN is neither least nor greatest: those are None if there was nothing else.
    """

    points: int = 0
    last: Measured = Measured(0.0)
    last_step: float = 0
    min: Measured | None = None
    min_step: float | None = None
    max: Measured | None = None
    max_step: float | None = None

    def with_point(self, step: float, value: float) -> SeriesRecord:
        """Return it with one more value."""
        is_number = value == value  # NaN is not
        is_min = is_number and (self.min is None or value < self.min)
        is_max = is_number and (self.max is None or value > self.max)
        measured = Measured(value)
        return SeriesRecord(
            points=self.points + 1,
            last=measured,
            last_step=step,
            min=measured if is_min else self.min,
            min_step=step if is_min else self.min_step,
            max=measured if is_max else self.max,
            max_step=step if is_max else self.max_step,
        )


@frozen
class Failure:
    """The details of a non-pass for a person. ``place`` is ``file:line`` in user code."""

    place: str = ""
    source_line: str = ""
    traceback: tuple[str, ...] = ()
    log_tail: tuple[str, ...] = ()
    hint: str = ""
    """A possible reason: files that were not sent."""
    teardown: tuple[str, ...] = ()
    """What teardowns raised after the job itself had failed; a text for each."""


@frozen(uncompared=("folder",))
class NodeReport:
    """The whole story of one node; written as ``manifest.toml`` and read back from it."""

    node: NodeRecord
    result: Result
    pod: PodRecord | None = None
    cost: CostRecord = CostRecord()
    source: SourceRecord = SourceRecord()
    environment: EnvironmentRecord = EnvironmentRecord()
    steps: tuple[Step, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    marks: tuple[StepMark, ...] = ()
    """What its commands said that they began, in order."""
    attempts: tuple[AttemptRecord, ...] = ()
    """The attempts before the last one, whose story the rest tells."""
    pods: tuple[PodRecord, ...] = ()
    """Every pod it used, in order; ``pod`` is that of the fixture ``pod``, else the last one."""
    metrics: Mapping[str, Any] = EMPTY
    series: Mapping[str, SeriesRecord] = EMPTY
    """What its commands wrote while they ran, by name."""
    variables: Mapping[str, Any] = EMPTY
    folder: str = ""
    """Where its files are; not part of the manifest."""
    failure: Failure | None = None

    @property
    def had_pod(self) -> bool:
        """Whether it, or an attempt before it, used a pod or did anything on one."""
        return bool(self.pod or self.pods or self.steps or self.attempts or self.cost.billed_seconds)


@frozen
class RunSummary:
    """A whole run: its folder, its reports in the order of the plan, wall seconds, and nodes that did not run."""

    folder: str
    reports: tuple[NodeReport, ...]
    seconds: float
    deselected: int = 0
    not_run: int = 0
    stop_reason: str = ""
    unreleased: tuple[str, ...] = ()
    """Ids of pods that could not be confirmed as released."""
    leftover: tuple[str, ...] = ()
    """Ids of pods that are still there on purpose (stopped or preserved)."""
    is_over: bool = True
    """False for a run that was looked at while it goes on, or whose process is gone without an end."""

    @property
    def estimated_usd(self) -> float:
        """The cost of all nodes."""
        return sum(report.cost.estimated_usd for report in self.reports)

    def count(self, outcome: Outcome) -> int:
        """Return how many nodes ended so."""
        return sum(report.result.outcome is outcome for report in self.reports)

    @property
    def cached(self) -> int:
        """The number of skipped nodes that were passed over as unchanged."""
        return sum(report.result.word == "cached" for report in self.reports)


def in_plan_order(reports: Iterable[NodeReport]) -> tuple[NodeReport, ...]:
    """Return the reports in the order of the plan, after those of nodes that were not planned; these stay in order."""
    return tuple(sorted(reports, key=lambda report: -1 if report.node.place is None else report.node.place))
