"""The mode of a run, live or dry: it picks the twin of each part of a node and guards the user's code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from rpd.execute import no_network
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from rpd.execute.deadlines import Deadlines, overdue
from rpd.execute.node.follow import Commands, DryCommands
from rpd.execute.node.log import DryLog, NodeLog
from rpd.execute.node.results import DryResults, NodeResults
from rpd.execute.node.series import NodeSeries, NoSeries
from rpd.execute.node.step_history import DryStepHistory, StepHistory
from rpd.execute.pod.kept_files import left_alone, merging
from rpd.execute.saved_environment import Surroundings, TrustedSurroundings
from rpd.execute.slots import OneSlot, Slots
from rpd.execute.uploads import Uploads
from rpd.lease.lease import Ask, simply
from rpd.project.fingerprint import Sent, sent_parts
from rpd.remote.protocol import Remote
from rpd.stop import Stop
from rpd.values.step import Pulled


class Live:
    """A live run: steps happen on pods and against the clock, and everything is recorded."""

    keeps_records: bool = True
    """Whether the actions of nodes are recorded."""
    slots: type[Slots] = Slots
    commands: type[Commands] = Commands
    history: type[StepHistory] = StepHistory
    results: type[NodeResults] = NodeResults
    series: type[NodeSeries] = NodeSeries
    log: type[NodeLog] = NodeLog
    surroundings: type[Surroundings] = Surroundings

    def guard(self) -> AbstractContextManager[None]:
        """Return the context in which a user's code runs."""
        return _in_one_process()

    def stoppable(self, deadlines: Deadlines, stop: Stop) -> AbstractContextManager[None]:
        """Return a context for fixture code that is interrupted when the run has to end. It raises Interrupted."""
        return deadlines.stoppable(stop)

    def unwinding(
        self, deadlines: Deadlines, stop: Stop, name: str, stuck: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Return a context for the teardown of the fixture ``name``, which is interrupted a while after a stop.

        ``stuck`` is called if it does not react. The context raises Interrupted.
        """
        return deadlines.unwinding(stop, name, stuck)

    def ask(self, stop: Stop) -> Ask:
        """Return the function that makes calls to RunPod; a stop cuts a call short."""
        return stop.asked

    def timed(
        self, deadlines: Deadlines, stop: Stop, alarms: Alarms, stuck: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Return a context that ends the job in it when its time is up or the run is stopped.

        ``stuck`` is called if the job's own code does not react. The context raises BudgetExceeded,
        JobTimeout, Interrupted.
        """
        return _timed(deadlines, stop, alarms, stuck)

    def begin_beside(self, begin: Callable[[], object]) -> None:
        """Start an activity that runs in parallel with a job."""
        begin()

    def place_of(
        self, remote: Remote, target: str, kept: tuple[str, ...], *, is_merged: bool
    ) -> AbstractContextManager[str]:
        """Return the context that yields the target of a ``put`` on the pod and protects the ``kept`` files there."""
        return merging(remote, target) if is_merged else left_alone(remote, target, kept)

    def settle(self, pulled: Pulled, within: Path) -> None:
        """Bring the files of a pull, and their names up to the folder ``within``, to the disk. Raise OSError."""
        from rpd.disk.durable import sync_tree  # a dry run needs none of it

        sync_tree(pulled.local, within=within, files=pulled.files)
        if pulled.sha256_file:
            sync_tree(Path(pulled.sha256_file), within=within, files=1)

    def size_of(self, uploads: Uploads, local: Path, exclude: tuple[str, ...], *, ignored: bool) -> str:
        """Return the size of a ``put`` for the line of its step; empty in a live run, since the transfer shows it."""
        return ""

    def key_of(self, node_id: str) -> str:
        """Return a short name for a node that is safe in paths on a pod and the same in every process."""
        import hashlib  # its library is slow to load, and a dry run needs no such name

        return hashlib.sha256(node_id.encode(errors="surrogatepass")).hexdigest()[:12]

    def digest_unsent(self, key: str) -> str:
        """Return the digest of files that a dry ``put`` would have sent; empty if it is not needed."""
        return ""

    def fingerprint(self, work_out: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        """Return the hashes, by name, of everything the result of a node depends on."""
        return work_out()


class Dry(Live):
    """A dry run: every step succeeds at once and does nothing; the user's code runs under a guard."""

    keeps_records = False
    slots = OneSlot
    commands = DryCommands
    history = DryStepHistory
    results = DryResults
    series = NoSeries
    log = DryLog
    surroundings = TrustedSurroundings

    def guard(self) -> AbstractContextManager[None]:
        return no_network.everywhere(no_network.DRY_RUN)

    def stoppable(self, deadlines: Deadlines, stop: Stop) -> AbstractContextManager[None]:
        return nullcontext()

    def unwinding(
        self, deadlines: Deadlines, stop: Stop, name: str, stuck: Callable[[], None]
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def timed(
        self, deadlines: Deadlines, stop: Stop, alarms: Alarms, stuck: Callable[[], None]
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def ask(self, stop: Stop) -> Ask:
        return simply

    def key_of(self, node_id: str) -> str:
        return "dry-run"

    def begin_beside(self, begin: Callable[[], object]) -> None:
        pass

    def place_of(
        self, remote: Remote, target: str, kept: tuple[str, ...], *, is_merged: bool
    ) -> AbstractContextManager[str]:
        return nullcontext(target)

    def settle(self, pulled: Pulled, within: Path) -> None:
        pass

    def size_of(self, uploads: Uploads, local: Path, exclude: tuple[str, ...], *, ignored: bool) -> str:
        weight = uploads.weigh(local, exclude, ignored=ignored)
        uploads.tell_withheld(local, weight.withheld)
        return f"  ({weight})"

    def fingerprint(self, work_out: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        return {}


class TracingDry(Dry):
    """A dry run that computes fingerprints; ``digest_of`` returns the digest of a path as it would be sent now."""

    def __init__(self, digest_of: Callable[[Sent], str]) -> None:
        self._digest_of = digest_of

    def digest_unsent(self, key: str) -> str:
        return next(map(self._digest_of, sent_parts([key])), "")

    def fingerprint(self, work_out: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        return work_out()


@contextmanager
def _in_one_process() -> Iterator[None]:
    """End a process that the block forked where it would leave the block: it must not release the pods of the run."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(_exit_code_of_child(sys.exc_info()[1]))


def _exit_code_of_child(error: BaseException | None) -> int:
    """Return the exit code of a process that comes out of the block with ``error``, which is shown as Python does."""
    if isinstance(error, SystemExit) and isinstance(error.code, int | None):
        return error.code or 0
    if error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    return 1


@contextmanager
def _timed(deadlines: Deadlines, stop: Stop, alarms: Alarms, stuck: Callable[[], None]) -> Iterator[None]:
    deadlines.clock = JobClock(partial(overdue, deadlines), stuck)
    try:
        with deadlines.clock.heeding(stop, alarms, deadlines.ends_at):
            yield
    finally:
        deadlines.clock = None
