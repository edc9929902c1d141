"""One running node: its definition, its pods, and the parts that record its work."""

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
    """An activity that runs in parallel with a job and has to be brought to an end.

    ``finish(required=…)`` ends it properly and raises RemoteError if that fails; ``close`` gives it up.
    """

    finish: Callable[..., None]
    close: Callable[[], None]


class Progress:
    """Reports the progress of a transfer to plugins, about ten times per second."""

    def __init__(self, node: Node, events: Events) -> None:
        self._node = node
        self._events = events
        self._reported_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` bytes are transferred."""
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
    """Whether any plugin listens to fixtures; calling the hook for each fixture costs time even if none does."""
    gpus: tuple[int, ...] = ()
    """Indices of the pod's GPUs that the node has to itself; empty: all of them."""
    share: float = 1.0
    """The node's part of the pod, 0 to 1."""
    attempt: int = 1
    gpu_after_oom: Callable[[Gpu | None], Gpu | None] = lambda gpu: gpu
    error: BaseException | None = None
    """The exception that ended it, if any."""
    holder: str = ""
    """The wide fixture that is being set up; empty during the node's own set-up."""
    leases: list[Lease] = field(default_factory=list)
    """The pods this node used, in order."""
    own_lease: Lease | None = None
    """The lease of its fixture ``pod``."""
    had_open_pods: bool = False
    """Whether some of its pods were still rented when it was reported, so that the report may change."""
    preludes: dict[str, Prelude] = field(default_factory=dict)
    """Prelude of the node's commands, by pod name."""
    endings: list[Ending] = field(default_factory=list)
    """Activities that run in parallel with the job, such as pulls that repeat."""
    checkpoints: set[str] = field(default_factory=set)
    """Folders on its pods that hold its checkpoints."""
    saving_seconds: float = 0.0
    """Seconds its commands need to save their progress before they end."""
    bill: Bill = field(default_factory=Bill)
    deadlines: Deadlines = field(default_factory=Deadlines)
    destinations: Destinations = field(default_factory=Destinations)
    """Local targets of its pulls."""
    expected: Destinations = field(default_factory=Destinations)
    """Local targets of its pulls as far as they are known without a pod; also filled in a dry run."""

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
        """The pruning of this node by its metrics."""
        return Pruning(self.node, self.events)

    @cached_property
    def transfer_progress(self) -> Progress | None:
        """Called with the progress of a transfer; None if no plugin listens."""
        is_heard = self.events.is_heard("transfer_progress")
        return Progress(self.node, self.events) if is_heard else None

    @cached_property
    def mark(self) -> str:
        """The name of the file on a pod that marks when the node started there; the same in all attempts."""
        return f"{self.context.run_id}-{self.key}"

    @cached_property
    def key(self) -> str:
        """A short name for the node that is safe in paths and the same in every process."""
        return hashlib.sha256(self.node.id.encode(errors="surrogatepass")).hexdigest()[:12]

    @cached_property
    def given(self) -> dict[str, str]:
        """The environment variables that plugins add to its commands."""
        return self.events.command_environment(node=self.node)

    def stoppable(self) -> AbstractContextManager[None]:
        """Return a context for fixture code that is interrupted when the run has to end. It raises Interrupted."""
        return self.context.mode.stoppable(self)

    def finish_beside(self, *, required: bool) -> None:
        """Bring all parallel activities to their end; then raise the first of their errors."""
        errors: list[RemoteError | UsageError] = []
        while self.endings:
            try:
                self.endings.pop(0).finish(required=required)
            except (RemoteError, UsageError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def close(self, *, sync: bool = True) -> None:
        """Close the files and give up the activities that still run; with ``sync`` the journal is flushed to disk."""
        for ending in self.endings:
            ending.close()
        self.log.close()
        self.journal.close(sync=sync)
