"""The values of fixtures that rest on a lease (a pod, or several rented together), and how each kind is made."""

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
        """RunPod's id of the pod or cluster."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[Pod]:
        """Its pods, the leading one first."""

    @property
    @abstractmethod
    def is_lost(self) -> bool:
        """Whether it is out of reach, so that no further node should use it."""

    @property
    @abstractmethod
    def ssh_command(self) -> str:
        """A command line that opens a shell on it while it is alive."""

    @abstractmethod
    def copy_command(self, remote: str) -> str:
        """Return a command line that copies a path on it into the current folder."""

    @abstractmethod
    def join(self, run: NodeRun) -> None:
        """Count ``run`` among the nodes it serves."""

    @abstractmethod
    def belong_to(self, run: NodeRun) -> None:
        """Become the pod or cluster in the node's record, whatever else the node uses."""

    @abstractmethod
    def watch(self) -> None:
        """Start to receive telemetry, and show the watchdogs that a driver is present."""

    @abstractmethod
    def unwatch(self) -> None:
        """Stop receiving telemetry."""


@frozen
class PodKind:
    """How the pods of a job are rented and handed out.

    ``hold`` makes the value of the fixture from a ready lease and from a function that makes a Pod from the
    lease of one.
    """

    lease: type[Lease]
    hold: Callable[[Lease, Callable[[Lease], Pod]], Held]


SINGLE = PodKind(lease=Lease, hold=lambda lease, make: make(lease))


def kind_of_pods(job: Job, events: Events) -> PodKind:
    """Return how the pods of ``job`` are rented: singly, or as a plugin says. Raise ImpossibleRequest."""
    if job.cluster is None:
        return SINGLE
    kind = events.pod_kind(job=job)
    if not isinstance(kind, PodKind):
        raise ImpossibleRequest("no plugin rents clusters: rpd's own is switched off (-p no:rpd.cluster)")
    return kind
