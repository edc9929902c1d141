"""Steps of a job on a pod: each is done once in the life of a node, whatever happens to the driving process."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from rpd.errors import ConnectionLost, Interrupted, RpdError
from rpd.execute import no_network
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.step_history import StepEnd, StepRequest
from rpd.lease.lease import Lease
from rpd.values.step import StepKind

T = TypeVar("T")


def without_answer(
    kind: StepKind,
    name: str,
    command: str,
    *,
    about: object = None,
    salvaged: Callable[[], Any] = lambda: None,
) -> StepRequest[Any]:
    """Return a step without an answer."""
    return StepRequest(
        kind=kind,
        name=name,
        command=command,
        about=about,
        salvaged=salvaged,
        keep=lambda _nothing: {},
        recall=lambda _answer: None,
    )


class Steps:
    """The steps on one pod; ``begin`` is called before each with the node that takes it."""

    def __init__(self, lease: Lease, begin: Callable[[NodeRun], None]) -> None:
        self._lease = lease
        self._begin = begin
        self._process = os.getpid()

    def do(self, run: NodeRun, request: StepRequest[T], act: Callable[[StepEnd], T]) -> T:
        """Return the answer of a step, calling ``act`` unless the step was done before.

        During a salvage the answer comes from memory, and after the failed step from ``salvaged``. After a
        resume it comes from the journal. A lost connection is noted on the lease. Raises the error that ends the
        job if its time was up in the meantime: nothing else would tell the job's own code that follows. A process
        that the job forked gets an RpdError: it would take the step, and the connection, from under the job.
        """
        if os.getpid() != self._process:
            raise RpdError(
                "only the process of the run acts on pods, not one that a job forked: use threads instead"
            )
        if run.steps.salvaging:
            with run.deadlines.shielded(), no_network.lowered():  # a pull may have to connect again
                return run.steps.replay(request.salvaged)
        try:
            with run.deadlines.timed():
                if self._lease.loss is not None:
                    raise self._lease.loss
                answer = self._recalled_or_done(run, request, act)
        except BaseException as error:
            run.steps.keep_answer(request.salvaged)
            # An interrupted command on a lost pod failed because of the loss, so that is the error to report.
            if self._lease.loss is not None and isinstance(error, ConnectionLost | Interrupted):
                self._lease.connection_lost()
                raise self._lease.loss from error
            if isinstance(error, ConnectionLost):
                self._lease.connection_lost()
            raise
        run.steps.keep_answer(lambda: answer)
        run.deadlines.check()
        return answer

    def recorded(self, run: NodeRun, request: StepRequest[Any]) -> AbstractContextManager[StepEnd]:
        """Record a step around its work, whether or not it was done before."""
        return run.steps.step(request, self._lease.name)

    def _recalled_or_done(self, run: NodeRun, request: StepRequest[T], act: Callable[[StepEnd], T]) -> T:
        self._begin(run)
        result = run.steps.recall(request, self._lease.name)
        if result is not None:
            return request.recall(result)
        with self.recorded(run, request) as end:
            answer = act(end)
            end.result = partial(request.keep, answer)
        return answer
