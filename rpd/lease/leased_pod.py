"""A leased pod: its facts, its events and its costs, however it was rented."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from rpd.errors import PodLost
from rpd.remote.protocol import Remote
from rpd.uptime import uptime
from rpd.values.frozen import frozen
from rpd.values.pod import Offer, PodInfo, PodRequest
from rpd.values.prices import disks_usd_per_hr


@frozen(kw_only=False)
class Meter:
    """The cost of a pod for a stretch of time."""

    seconds: float
    usd: float


class LeasedPod:
    """The state of one lease. ``is_wide``: the pod belongs to a fixture that outlives a node."""

    def __init__(self, *, name: str, request: PodRequest, is_wide: bool, any_gpu: bool = False) -> None:
        """``any_gpu``: the pod may have another GPU than the one that is paid for."""
        self.name = name
        """The name of the pod; each attempt to create one has a new name, so that a late answer is never
        mistaken for it.
        """
        self.request = request
        self.pod: PodInfo | None = None
        self.offer: Offer | None = None
        self.remote: Remote | None = None
        self.facts: Mapping[str, str] = {}
        self.kept: dict[str, str] = {}
        """Texts that the pod reported about itself: name to the file in the run's folder."""
        self.other_gpu = ""
        """In words: how its GPU differs from the one that is paid for; empty if no difference is known."""
        self.final_state = ""
        self.before: tuple[str, ...] = ()
        """The earlier users of a recycled pod, each as ``run node``."""
        self.ended_by_user = ""
        """RunPod's words if this lease lost it because its account ended it; else empty."""
        self.sent: dict[str, str] = {}
        """Transfers to it by fixtures that outlive a node: source to sha256."""
        self.is_wide = is_wide
        self._any_gpu = any_gpu
        self._failed = self._lost = self._intended = self._stays_stopped = False
        self._served = 0
        self._unverified = ""
        self._lock = threading.RLock()
        self._started: float | None = None
        self._ended: float | None = None
        self._metered = 0.0

    # --- properties -------------------------------------------------------------------------------------------------

    def gpu_of(self, pod: PodInfo) -> str | None:
        """Return its GPU type: the one that is paid for, or, if pods may have any GPU, the one that it has."""
        return self.offer.gpu_id if self.offer and not self._any_gpu else pod.gpu

    @property
    def rank(self) -> int | None:
        """Its place in a cluster, from 0; None for a single pod."""
        return None

    @property
    def loss(self) -> PodLost | None:
        """Why its commands were ended although it runs: another pod of its cluster is gone. None: they were not."""
        return None

    def connection_broke(self) -> None:
        """Note that a connection to it broke, which may recover. A cluster reacts to this."""

    @property
    def remotes(self) -> Sequence[Remote]:
        """The connection to each of its pods."""
        return [self.remote] if self.remote is not None else []

    @property
    def rented(self) -> PodInfo:
        """The pod, once there is one."""
        assert self.pod is not None
        return self.pod

    @property
    def is_open(self) -> bool:
        """Whether there may be a pod that still has to be released."""
        return not self.final_state and (self.pod is not None or self._intended)

    # --- events -----------------------------------------------------------------------------------------------------

    def node_joined(self) -> None:
        """Count one more node that uses the pod."""
        with self._lock:  # nodes side by side come at once
            self._served += 1

    def node_failed(self) -> None:
        """Note that a node on the pod did not pass: from now on its lifecycle's ``on_failure`` applies."""
        self._failed = True

    def connection_lost(self) -> None:
        """Note that the pod is out of reach: no further node gets it."""
        self._lost = True

    def leave_stopped(self) -> None:
        """Note that somebody stopped the pod to keep its disk: it is not deleted."""
        self._stays_stopped = True

    def could_not_fetch(self, path: str) -> None:
        """Note that a required path on the pod could not be fetched completely."""
        self._unverified = path

    @property
    def failed(self) -> bool:
        """Whether a node on this pod did not pass."""
        return self._failed

    @property
    def is_lost(self) -> bool:
        """Whether the pod went out of reach while it was used."""
        return self._lost

    @property
    def unverified(self) -> str:
        """A required path on the pod that could not be fetched completely; empty if there is none."""
        return self._unverified

    @property
    def is_reused(self) -> bool:
        """Whether it served several nodes, or was used before."""
        return self._served > 1 or bool(self.before)

    # --- costs ------------------------------------------------------------------------------------------------------

    @property
    def rate_usd_per_hr(self) -> float:
        """The pod's own rate, else the offer's, else 0."""
        own = self.pod.usd_per_hr if self.pod else None
        offered = self.offer.usd_per_hr if self.offer else None
        return own if own is not None else offered or 0.0

    @property
    def total_usd_per_hr(self) -> float:
        """The rate plus the price of its disks, per hour."""
        return self.rate_usd_per_hr + disks_usd_per_hr(self.request)

    @property
    def rate_source(self) -> str:
        """The origin of that rate: ``pod``, ``offer`` or ``unknown``."""
        if self.pod and self.pod.usd_per_hr is not None:
            return "pod"
        return "offer" if self.offer and self.offer.usd_per_hr is not None else "unknown"

    @property
    def age_seconds(self) -> float:
        """How long it has been billing."""
        if self._started is None or self.pod is None:
            return 0.0
        return (self._ended or uptime()) - self._started

    @property
    def unmetered_seconds(self) -> float:
        """Seconds that were billed and not yet charged to any node."""
        with self._lock:
            return max(0.0, self.age_seconds - self._metered)

    def take_meter(self) -> Meter:
        """Return the cost since the last call, so that nodes that share a pod share its cost."""
        with self._lock:
            seconds = max(0.0, self.age_seconds - self._metered)
            self._metered += seconds
        return self._metered_for(seconds)

    def take_share(self, seconds: float) -> Meter:
        """Return the cost of ``seconds`` of the whole pod: the use of a node that had a part of it for longer.

        Time that no node used is left for the last ``take_meter``.
        """
        with self._lock:
            self._metered += seconds
        return self._metered_for(seconds)

    def _metered_for(self, seconds: float) -> Meter:
        return Meter(seconds, seconds * self.total_usd_per_hr / 3600)
