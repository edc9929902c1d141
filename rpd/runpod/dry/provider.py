"""OfflineProvider: the provider of a dry run. It makes no calls and never waits."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from rpd.errors import PodNotFound
from rpd.runpod.catalogue import offers
from rpd.runpod.catalogue.model import shipped_catalogue
from rpd.values.frozen import replace
from rpd.values.pod import Account, Offer, PodInfo, PodRequest, PodSpec, PodStatus, Provider, SshEndpoint

if TYPE_CHECKING:
    from rpd.config import Config

_SSH = SshEndpoint(host="dry-run.invalid", port=22)


class OfflineProvider(Provider):
    """Rents nothing: offers come from the shipped catalogue, and every ``create`` succeeds at once."""

    def __init__(self) -> None:
        self._catalogue = shipped_catalogue()
        self._offers: dict[Hashable, tuple[Offer, ...]] = {}
        self._pods: dict[str, PodInfo] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._clusters: OfflineClusters | None = None

    @property
    def rents_nothing(self) -> bool:
        return True

    @property
    def name(self) -> str:
        """The name shown to users."""
        return "dry run"

    def account(self) -> Account:
        """Return an account without a balance."""
        return Account(id="dry-run")

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the offers at shipped prices. Raise ImpossibleRequest if the request contradicts itself."""
        key = what_counts(request)
        fitting = self._offers.get(key)
        if fitting is None:
            fitting = self._offers[key] = offers.offers(request, self._catalogue)
        return fitting

    def create(self, spec: PodSpec) -> PodInfo:
        """Return a pod that is ready at once."""
        offer = spec.offer
        pod = PodInfo(
            id=f"dryrun{next(self._numbers)}",
            name=spec.name,
            status=PodStatus.RUNNING,
            image=spec.request.image,
            gpu=offer.gpu_id,
            gpu_count=offer.count,
            datacenter=offer.datacenter,
            cloud=offer.cloud,
            usd_per_hr=offer.usd_per_hr,
            ssh=_SSH,
            uptime_seconds=0,
            volume_gb=spec.request.storage.volume_gb or 0,
            spot=spec.request.spot,
        )
        with self._lock:
            self._pods[pod.id] = pod
        return pod

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, or None if it was deleted or never created."""
        return self._pods.get(pod_id)

    def list(self) -> Sequence[PodInfo]:
        """Return the pods that were not deleted."""
        with self._lock:
            return tuple(self._pods.values())

    def stop(self, pod_id: str) -> None:
        """Mark the pod as stopped. Raise PodNotFound."""
        with self._lock:
            if pod_id not in self._pods:
                raise PodNotFound(f"there is no pod {pod_id}")
            self._pods[pod_id] = replace(self._pods[pod_id], status=PodStatus.EXITED, ssh=None)

    def resume(self, pod_id: str, gpu_count: int) -> None:  # noqa: ARG002 - a dry run always has free GPUs
        """Mark the pod as running. Raise PodNotFound."""
        with self._lock:
            if pod_id not in self._pods:
                raise PodNotFound(f"there is no pod {pod_id}")
            self._pods[pod_id] = replace(self._pods[pod_id], status=PodStatus.RUNNING, ssh=_SSH)

    def delete(self, pod_id: str) -> None:
        """Forget the pod."""
        with self._lock:
            self._pods.pop(pod_id, None)

    def clusters(self) -> Provider | None:
        """Return the clusters of this dry run."""
        with self._lock:
            self._clusters = self._clusters or OfflineClusters()
        return self._clusters


class OfflineClusters(OfflineProvider):
    """The clusters of a dry run: each is complete at once."""

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the offers at shipped prices. Raise ImpossibleRequest if the request contradicts itself."""
        assert request.cluster is not None
        return offers.of_clusters(request, request.cluster, self._catalogue)

    def create(self, spec: PodSpec) -> PodInfo:
        """Return a cluster whose members are ready at once."""
        first = super().create(spec)
        members = tuple(
            replace(
                first,
                id=f"{first.id}-{rank}",
                cluster_id=first.id,
                rank=rank,
                private_ip=f"10.65.0.{rank + 2}",
            )
            for rank in range(spec.offer.nodes)
        )
        cluster = replace(
            first, gpu_count=spec.offer.count * spec.offer.nodes, nodes=len(members), members=members
        )
        with self._lock:
            self._pods[cluster.id] = cluster
        return cluster


def rpd_provider(config: Config) -> OfflineProvider | None:
    """Provide the pods of a dry run, unless it reads from RunPod."""
    return OfflineProvider() if config.run.is_offline else None


def what_counts(request: PodRequest) -> Hashable:
    """Return the fields that offers depend on. The request itself cannot be a key: its environment is a mapping."""
    return (
        request.gpu,
        request.storage,
        request.datacenters,
        request.cloud,
        request.fallback_cloud,
        request.spot,
        request.cpu,
        request.countries,
        request.compliance,
        request.global_network,
        request.min_vcpu,
        request.min_memory_gb,
        request.cuda,
        request.min_cuda,
    )
