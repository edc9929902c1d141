"""The means by which a run rents pods: the provider, the connections, and the experience with both so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rpd.lease.boot import Images
from rpd.lease.lease import Connect
from rpd.lease.pod_poller import PodView
from rpd.values.job import Job
from rpd.values.mutable import fresh, mutable
from rpd.values.never_rented import check_cluster, check_cluster_gpu, check_kind, check_place
from rpd.values.overrides import Overrides
from rpd.values.pod import Offer, PodRequest, Provider

if TYPE_CHECKING:  # a dry run has neither
    from rpd.lease.recycle import Recycler
    from rpd.lease.registries import Registries


@mutable
class Renting:
    """Shared by all leases of a run; every part can be used from several threads.

    ``provider`` is called when the first pod is needed.
    """

    provider: Callable[[], Provider]
    connect: Connect
    overrides: Overrides
    env: Mapping[str, str]
    """Environment of every pod in addition to its job's: the public keys."""
    stock_seconds: float = 0.0
    """How long to retry sold-out offers, in seconds."""
    any_gpu: bool = False
    """Whether pods may have other GPUs than jobs request: with ``--local`` they have those of this machine."""
    end_with_run: bool = False
    """Whether no pod outlives the run: those of ``--local`` end with its emulator."""
    connect_again: Callable[[Path, str], Connect] | None = None
    """Connects to a stopped pod, given its private key and its id: it accepts another key than the run's own."""
    recycler: Recycler | None = None
    """Finds stopped pods to reuse; None if the run wants only fresh ones."""
    registries: Registries | None = None
    """Stores the registry credentials of jobs; None in a dry run."""
    image_of: Callable[[PodRequest], str] = lambda request: request.image
    """Returns the image to create a pod with."""
    bad_offers: set[Offer] = fresh(factory=set)
    """Offers whose pods never became usable in this run; tried last."""
    images: Images = fresh(factory=Images)
    """Images whose pods rpd cannot work on, with the reason."""
    _requests: dict[int, tuple[Job, PodRequest]] = fresh(factory=dict)

    def __post_init__(self) -> None:
        self.view = PodView(self.provider)

    def request(self, job: Job) -> PodRequest:
        """Return the pod that ``job`` requests under the flags of the run; nodes of one job share one request.

        Raise DefinitionError for a pod that RunPod never rents. That is checked here because fixtures may
        have changed the job.
        """
        pair = self._requests.get(id(job))
        if pair is None:  # the job is kept too: an id means nothing once its object is gone
            request = self.overrides.request(job, job.gpu)
            check_place(request)
            check_kind(request)
            check_cluster(request)
            check_cluster_gpu(request)
            pair = self._requests[id(job)] = (job, request)
        return pair[1]
