"""Steps: what a job does on a pod, done once in the life of a node, whatever happens to the process that drives it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from rpd.errors import ConnectionLost
from rpd.execute import no_network
from rpd.execute.node.history import StepEnd
from rpd.execute.node.run import NodeRun
from rpd.lease.lease import Lease
from rpd.values.step import StepKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[T]):
    """A step as a job asks for it. ``about`` is what else tells it from another.

    ``keep`` turns its answer into what the journal holds, ``recall`` turns that back; ``salvaged`` answers in its place
    where a failed job is only called again for its pulls.
    """

    kind: StepKind
    name: str
    command: str
    salvaged: Callable[[], T]
    keep: Callable[[T], Mapping[str, Any]]
    recall: Callable[[Mapping[str, Any]], T]
    about: object = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the journal keeps besides: a shell on the pod is to stand where the command stood."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal steps, in another process too."""
        return hashlib.sha256(repr((str(self.kind), self.command, self.about)).encode()).hexdigest()[:16]


def without_answer(
    kind: StepKind,
    name: str,
    command: str,
    *,
    about: object = None,
    salvaged: Callable[[], Any] = lambda: None,
) -> Asked[Any]:
    """Return a step that answers nothing."""
    return Asked(
        kind=kind,
        name=name,
        command=command,
        about=about,
        salvaged=salvaged,
        keep=lambda _nothing: {},
        recall=lambda _held: None,
    )


class Steps:
    """The steps done on one pod; ``begin`` is called before each with the node that does it."""

    def __init__(self, lease: Lease, begin: Callable[[NodeRun], None]) -> None:
        self._lease = lease
        self._begin = begin

    def do(self, run: NodeRun, asked: Asked[T], act: Callable[[StepEnd], T]) -> T:
        """Return the answer to a step, doing it (``act``) unless it was done before.

        In a salvage it is answered from memory, past the failure with ``salvaged``. After a resume it is answered from
        the journal. A lost connection is noted on the lease.
        """
        if run.steps.salvaging:
            with run.deadlines.shielded(), no_network.lowered():  # a pull may have to connect again
                return run.steps.replay(asked.salvaged)
        try:
            with run.deadlines.timed():
                answer = self._recalled_or_done(run, asked, act)
        except BaseException as error:
            self._lease.lost = self._lease.lost or isinstance(error, ConnectionLost)
            run.steps.answers.append(asked.salvaged)
            raise
        run.steps.answers.append(lambda: answer)
        return answer

    def recorded(self, run: NodeRun, asked: Asked[Any]) -> AbstractContextManager[StepEnd]:
        """Record a step around its work, whether it was done before or not."""
        return self._recorded(run, asked, _fingerprint(run, asked))

    def _recorded(self, run: NodeRun, asked: Asked[Any], fingerprint: str) -> AbstractContextManager[StepEnd]:
        return run.steps.step(
            asked.kind, asked.name, asked.command, fingerprint, self._lease.name, **asked.detail
        )

    def _recalled_or_done(self, run: NodeRun, asked: Asked[T], act: Callable[[StepEnd], T]) -> T:
        self._begin(run)
        fingerprint = _fingerprint(run, asked)
        held = run.steps.recall(
            asked.kind,
            asked.name,
            asked.command,
            fingerprint,
            self._lease.name,
            is_whole=partial(_can_recall, asked),
        )
        if held is not None:
            return asked.recall(held)
        with self._recorded(run, asked, fingerprint) as end:
            answer = act(end)
            if run.files is not None:
                end.result = asked.keep(answer)
        return answer


def _can_recall(asked: Asked[Any], held: Mapping[str, Any]) -> bool:
    """Whether the answer of a step can be made of what a journal holds of it."""
    try:
        asked.recall(held)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


def _fingerprint(run: NodeRun, asked: Asked[Any]) -> str:
    """Return the fingerprint of a step; a dry run keeps none."""
    return "" if run.files is None else asked.fingerprint
