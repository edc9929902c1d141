"""One running node: its definition, its pods, and the parts that record its work."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

from rpd.events import Events
from rpd.execute.context import RunContext
from rpd.execute.node.follow import Commands
from rpd.execute.node.log import Unwritten
from rpd.execute.node.pod_use import PodUse
from rpd.execute.node.pruning import Pruning
from rpd.execute.node.pulls import Pulls
from rpd.journal.files import NodeFiles
from rpd.journal.journal import Journal
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.fixture import FixtureDef
from rpd.values.job import Gpu
from rpd.values.mutable import fresh, mutable
from rpd.values.node import Node

PROGRESS_SECONDS = 0.1
"""Seconds between two reports of the progress of a transfer."""


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


@mutable
class NodeRun:
    """The live side of a node: job functions and fixtures act on it through the pod handle; the runner reads it."""

    node: Node
    context: RunContext
    use: PodUse
    """The pods it uses."""
    files: NodeFiles
    journal: Journal
    events: Events
    redactor: Redactor = NO_SECRETS
    unwritten: Unwritten = lambda path, error, then: None  # noqa: ARG005
    tells_fixtures: bool = True
    """Whether any plugin listens to fixtures; calling the hook for each fixture costs time even if none does."""
    attempt: int = 1
    gpu_after_oom: Callable[[Gpu | None], Gpu | None] = lambda gpu: gpu
    error: BaseException | None = None
    """The exception that ended it, if any."""
    holder: str = ""
    """The wide fixture that is being set up; empty during the node's own set-up."""
    pulls: Pulls = fresh(factory=Pulls)

    def __post_init__(self) -> None:
        self.deadlines = self.use.deadlines
        mode = self.context.mode
        self.pruning = Pruning(self.node, self.events)
        """Whether plugins want the node to end because of its metrics."""
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
            ask=self.pruning.ask,
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
    def commands(self) -> Commands:
        """The commands that it runs on its pods."""
        return self.context.mode.commands(
            self.node,
            self.events,
            self.redactor,
            self.context.stop,
            log=self.log,
            series=self.series,
            deadlines=self.deadlines,
            pruning=self.pruning,
        )

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
        return self.context.mode.key_of(self.node.id)

    def stoppable(self) -> AbstractContextManager[None]:
        """Return a context for fixture code that is interrupted when the run has to end. It raises Interrupted."""
        return self.context.mode.stoppable(self.deadlines, self.context.stop)

    def unwinding(self, definition: FixtureDef) -> AbstractContextManager[None]:
        """Return a context for the teardown of a fixture that ends soon after the run has to. It raises Interrupted."""
        if definition.is_built_in:  # rpd's own teardowns release pods, and have separate limits
            return nullcontext()

        def tell_stuck() -> None:
            self.events.notice(
                text=f"{self.node.id}: the teardown of {definition.name} ({definition.location}) does not return; "
                "Ctrl-C again ends the run now"
            )

        return self.context.mode.unwinding(self.deadlines, self.context.stop, definition.name, tell_stuck)

    def close(self, *, sync: bool = True) -> None:
        """Close the files and give up the activities that still run; with ``sync`` the journal is flushed to disk."""
        self.pulls.close()
        self.log.close()
        self.journal.close(sync=sync)
