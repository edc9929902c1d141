"""The mode of a run, live or dry: it picks the twin of each part of a node and guards the user's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.execute import no_network
from rpd.execute.clock import JobClock
from rpd.execute.deadlines import overdue
from rpd.execute.node.log import DryLog, NodeLog
from rpd.execute.node.results import DryResults, NodeResults
from rpd.execute.node.series import NodeSeries, NoSeries
from rpd.execute.node.step_history import DryStepHistory, StepHistory
from rpd.execute.pod.follow import follow
from rpd.execute.pod.kept_files import left_alone, merging
from rpd.execute.saved_environment import Surroundings, TrustedSurroundings
from rpd.execute.slots import OneSlot, Slots
from rpd.lease.lease import Ask, simply
from rpd.project.fingerprint import Sent, fingerprint, sent_parts
from rpd.remote.protocol import Command, Remote
from rpd.stop import Stop
from rpd.values.step import Completed

if TYPE_CHECKING:
    from rpd.execute.alarms import Alarms
    from rpd.execute.context import RunContext
    from rpd.execute.node.run import NodeRun


class Live:
    """A live run: steps happen on pods and against the clock, and everything is recorded."""

    keeps_records: bool = True
    """Whether the actions of nodes are recorded."""
    slots: type[Slots] = Slots
    history: type[StepHistory] = StepHistory
    results: type[NodeResults] = NodeResults
    series: type[NodeSeries] = NodeSeries
    log: type[NodeLog] = NodeLog
    surroundings: type[Surroundings] = Surroundings

    def guard(self) -> AbstractContextManager[None]:
        """Return the context in which a user's code runs."""
        return nullcontext()

    def stoppable(self, run: NodeRun) -> AbstractContextManager[None]:
        """Return a context for fixture code that is interrupted when the run has to end. It raises Interrupted."""
        return run.deadlines.stoppable(run.context.stop)

    def ask(self, stop: Stop) -> Ask:
        """Return the function that makes calls to RunPod; a stop cuts a call short."""
        return stop.asked

    def timed(self, run: NodeRun, alarms: Alarms, stuck: Callable[[], None]) -> AbstractContextManager[None]:
        """Return a context that ends the job in it when its time is up or the run is stopped.

        ``stuck`` is called if the job's own code does not react. The context raises BudgetExceeded,
        JobTimeout, Interrupted.
        """
        return _timed(run, alarms, stuck)

    def follow(
        self, run: NodeRun, remote: Remote, command: Command, metrics: tuple[str, ...] = ()
    ) -> Completed:
        """Run a command under the limits of its job.

        ``metrics`` are regular expressions for numbers in its output.
        """
        return follow(run, remote, command, metrics)

    def begin_beside(self, begin: Callable[[], object]) -> None:
        """Start an activity that runs in parallel with a job."""
        begin()

    def place_of(
        self, remote: Remote, target: str, kept: tuple[str, ...], *, is_merged: bool
    ) -> AbstractContextManager[str]:
        """Return the context that yields the target of a ``put`` on the pod and protects the ``kept`` files there."""
        return merging(remote, target) if is_merged else left_alone(remote, target, kept)

    def size_of(self, context: RunContext, local: Path, exclude: tuple[str, ...], *, ignored: bool) -> str:
        """Return the size of a ``put`` for the line of its step; empty in a live run, since the transfer shows it."""
        return ""

    def digest_unsent(self, key: str) -> str:
        """Return the digest of files that a dry ``put`` would have sent; empty if nobody needs it."""
        return ""

    def fingerprint(self, context: RunContext, run: NodeRun) -> Mapping[str, str]:
        """Return the hashes, by name, of everything the result of a node depends on."""
        job = run.node.job
        shared = {part: sha256 for lease in run.leases for part, sha256 in lease.sent.items()}
        return fingerprint(
            run.node,
            lock_sha256=context.lock_sha256(run.node.file),
            variables=context.variables,
            sent={**shared, **context.needed.fingerprint(run), **run.results.sent},
            digest=context.digest_of(job.image, job.registry) if run.leases else "",
        )


class Dry(Live):
    """A dry run: every step succeeds at once and does nothing; the user's code runs under a guard."""

    keeps_records = False
    slots = OneSlot
    history = DryStepHistory
    results = DryResults
    series = NoSeries
    log = DryLog
    surroundings = TrustedSurroundings

    def guard(self) -> AbstractContextManager[None]:
        return no_network.everywhere(no_network.DRY_RUN)

    def stoppable(self, run: NodeRun) -> AbstractContextManager[None]:
        return nullcontext()

    def timed(
        self,
        run: NodeRun,
        alarms: Alarms,
        stuck: Callable[[], None],
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def ask(self, stop: Stop) -> Ask:
        return simply

    def follow(
        self, run: NodeRun, remote: Remote, command: Command, metrics: tuple[str, ...] = ()
    ) -> Completed:
        return remote.run(command, run.log.write)

    def begin_beside(self, begin: Callable[[], object]) -> None:
        pass

    def place_of(
        self, remote: Remote, target: str, kept: tuple[str, ...], *, is_merged: bool
    ) -> AbstractContextManager[str]:
        return nullcontext(target)

    def size_of(self, context: RunContext, local: Path, exclude: tuple[str, ...], *, ignored: bool) -> str:
        weight = context.weigh(local, exclude, ignored=ignored)
        context.tell_withheld(local, weight.withheld)
        return f"  ({weight})"

    def fingerprint(self, context: RunContext, run: NodeRun) -> Mapping[str, str]:
        return {}


class TracingDry(Dry):
    """A dry run that computes fingerprints; ``digest_of`` returns the digest of a path as it would be sent now."""

    def __init__(self, digest_of: Callable[[Sent], str]) -> None:
        self._digest_of = digest_of

    def digest_unsent(self, key: str) -> str:
        return next(map(self._digest_of, sent_parts([key])), "")

    def fingerprint(self, context: RunContext, run: NodeRun) -> Mapping[str, str]:
        return Live.fingerprint(self, context, run)


@contextmanager
def _timed(run: NodeRun, alarms: Alarms, stuck: Callable[[], None]) -> Iterator[None]:
    deadlines = run.deadlines
    deadlines.clock = JobClock(partial(overdue, deadlines), stuck)
    try:
        with deadlines.clock.heeding(run.context.stop, alarms, deadlines.ends_at):
            yield
    finally:
        deadlines.clock = None
