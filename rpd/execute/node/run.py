"""One run of one node while it is under way: what it is, its pods, and the parts that keep what it does."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from rpd.errors import RemoteError, UsageError
from rpd.events import Events
from rpd.execute.deadlines import Deadlines
from rpd.execute.node.bill import Bill
from rpd.execute.node.log import Unwritten
from rpd.execute.node.pruning import Pruning
from rpd.execute.pod.destinations import Destinations
from rpd.execute.pod.prelude import Prelude
from rpd.journal.files import NodeFiles
from rpd.journal.journal import Journal
from rpd.lease.lease import Lease
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.frozen import frozen
from rpd.values.job import Gpu
from rpd.values.node import Node

if TYPE_CHECKING:
    from rpd.execute.context import RunContext

PROGRESS_SECONDS = 0.1
"""Seconds between two reports of the progress of a transfer."""


@frozen
class Ending:
    """An activity that runs in parallel with a job and has an end of its own.

    ``finish(required=…)`` brings it to that end, and raises RemoteError if it cannot be; ``close`` gives it up.
    """

    finish: Callable[..., None]
    close: Callable[[], None]


class Progress:
    """Tells plugins how far a transfer of a node is, some ten times a second."""

    def __init__(self, node: Node, events: Events) -> None:
        self._node = node
        self._events = events
        self._reported_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` bytes went over."""
        now = time.monotonic()
        if now - self._reported_at >= PROGRESS_SECONDS or done >= total:
            self._reported_at = now
            self._events.transfer_progress(node=self._node, done=done, total=total)


@dataclass(kw_only=True, eq=False)
class NodeRun:
    """The live side of a node: job functions and fixtures act on it through the pod handle; the runner reads it."""

    node: Node
    context: RunContext
    files: NodeFiles
    journal: Journal
    events: Events
    redactor: Redactor = NO_SECRETS
    unwritten: Unwritten = lambda path, error, then: None  # noqa: ARG005
    tells_fixtures: bool = True
    """Whether any plugin wants to hear of fixtures; asking none of them for each fixture costs time all the same."""
    gpus: tuple[int, ...] = ()
    """Which GPUs of its pod the node has to itself, by index; empty: all of them."""
    share: float = 1.0
    """Which part of its pod that is."""
    attempt: int = 1
    gpu_after_oom: Callable[[Gpu | None], Gpu | None] = lambda gpu: gpu
    error: BaseException | None = None
    """What ended it, if something did."""
    holder: str = ""
    """The wide fixture that is being set up, empty while the node's own are."""
    leases: list[Lease] = field(default_factory=list)
    """The pods this node used, in order."""
    own_lease: Lease | None = None
    """The one that its fixture ``pod`` gave it."""
    had_open_pods: bool = False
    """Whether pods it used were still there when it was reported, so that its report is not the last word."""
    preludes: dict[str, Prelude] = field(default_factory=dict)
    """By the name of a pod: what the node's commands there begin with."""
    endings: list[Ending] = field(default_factory=list)
    """Activities that run in parallel with the job, such as pulls that repeat."""
    checkpoints: set[str] = field(default_factory=set)
    """The folders on its pods that it saves its progress in."""
    saving_seconds: float = 0.0
    """What its commands need to save their progress when they are told to end."""
    bill: Bill = field(default_factory=Bill)
    deadlines: Deadlines = field(default_factory=Deadlines)
    destinations: Destinations = field(default_factory=Destinations)
    """Where its pulls go to."""
    expected: Destinations = field(default_factory=Destinations)
    """Where its pulls will go, as far as that is known without a pod: in a dry run, too."""

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        mode = self.context.mode
        self.log = mode.log(
            self.node,
            self.files,
            self.events,
            self.redactor,
            unwritten=self.unwritten,
        )
        self.series = mode.series(
            self.node,
            self.files,
            self.events,
            self.redactor,
            attempt=self.attempt,
            ask=lambda name, step, value: self.pruning.ask(name, step, value),
            unwritten=self.unwritten,
        )
        self.steps = mode.history(
            self.node,
            self.journal,
            self.events,
            self.log,
            self.series,
            self.deadlines,
            self.redactor,
        )
        self.results = mode.results(
            self.node,
            self.files,
            self.events,
            note_older=self.context.asides.note_older,
            note_others=self.context.asides.note_others,
        )

    @cached_property
    def pruning(self) -> Pruning:
        """Whether plugins want the node to end by what it measures."""
        return Pruning(self.node, self.events)

    @cached_property
    def transfer_progress(self) -> Progress | None:
        """Called with the progress of a transfer; None if nobody listens."""
        is_heard = self.events.is_heard("transfer_progress")
        return Progress(self.node, self.events) if is_heard else None

    @cached_property
    def mark(self) -> str:
        """The name of the mark that says on a pod when the node began there; the same in all attempts."""
        return f"{self.context.run_id}-{self.key}"

    @cached_property
    def key(self) -> str:
        """A short name for the node, safe in every path and the same in every process."""
        return hashlib.sha256(self.node.id.encode(errors="surrogatepass")).hexdigest()[:12]

    @cached_property
    def given(self) -> dict[str, str]:
        """The variables that plugins give to its commands."""
        return self.events.command_environment(node=self.node)

    def stoppable(self) -> AbstractContextManager[None]:
        """Return a context, for code of a fixture, that ends when the run has to end. Raises Interrupted."""
        return self.context.mode.stoppable(self)

    def finish_beside(self, *, required: bool) -> None:
        """Bring all activities to their end; then raise the first of their errors."""
        errors: list[RemoteError | UsageError] = []
        while self.endings:
            try:
                self.endings.pop(0).finish(required=required)
            except (RemoteError, UsageError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def close(self, *, sync: bool = True) -> None:
        """Close the files, and give up the activities that still run; with ``sync`` the journal is on the disk then."""
        for ending in self.endings:
            ending.close()
        self.log.close()
        self.journal.close(sync=sync)
