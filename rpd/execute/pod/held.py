"""What a fixture holds of a lease: a pod, or several that are rented together. And how each kind is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rpd.errors import ImpossibleRequest
from rpd.events import Events
from rpd.lease.lease import Lease
from rpd.values.frozen import frozen
from rpd.values.job import Job

if TYPE_CHECKING:
    from rpd.execute.node.run import NodeRun
    from rpd.execute.pod.handle import Pod


class Held(ABC):
    """A value of a fixture that rests on a lease."""

    @property
    @abstractmethod
    def id(self) -> str:
        """RunPod's id of what is rented."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[Pod]:
        """The pods that it consists of, the one that leads first."""

    @property
    @abstractmethod
    def is_lost(self) -> bool:
        """Whether it went out of reach, so that nobody should be given it any more."""

    @property
    @abstractmethod
    def ssh_command(self) -> str:
        """A command line that opens a shell on it while it lives."""

    @abstractmethod
    def copy_command(self, remote: str) -> str:
        """Return a command line that copies a path on it into the current folder."""

    @abstractmethod
    def join(self, run: NodeRun) -> None:
        """Count ``run`` among the nodes it serves."""

    @abstractmethod
    def belong_to(self, run: NodeRun) -> None:
        """Be what a node is recorded with, whatever else it uses."""

    @abstractmethod
    def watch(self) -> None:
        """Begin to listen to how busy it is, and to show its watchdogs that somebody is here."""

    @abstractmethod
    def unwatch(self) -> None:
        """Listen no more."""


@frozen
class PodKind:
    """How the pods of a job are rented and held.

    ``hold`` makes the value of the fixture from a lease that is ready, and a function that makes the handle of a pod
    from the lease of one.
    """

    lease: type[Lease]
    hold: Callable[[Lease, Callable[[Lease], Pod]], Held]


SINGLE = PodKind(lease=Lease, hold=lambda lease, make: make(lease))


def kind_of_pods(job: Job, events: Events) -> PodKind:
    """Return how the pods of ``job`` are rented: one by one, or as a plugin has it. Raises ImpossibleRequest."""
    if job.cluster is None:
        return SINGLE
    kind = events.pod_kind(job=job)
    if not isinstance(kind, PodKind):
        raise ImpossibleRequest("no plugin rents clusters: rpd's own is switched off (-p no:rpd.cluster)")
    return kind
