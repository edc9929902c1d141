"""The kinds of pods: how those of a job are rented, singly or several as one, and the handle that a job gets."""

from __future__ import annotations

from collections.abc import Callable

from rpd.errors import ImpossibleRequest
from rpd.events import Events
from rpd.execute.pod.handle import Pod
from rpd.execute.pod.held import Held
from rpd.lease.lease import Lease
from rpd.values.frozen import frozen
from rpd.values.job import Job


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
        raise ImpossibleRequest("no plugin rents clusters: rpd's is switched off (-p no:rpd.cluster)")
    return kind
