"""The whole account, as commands outside of a run see it: its pods, and its clusters as one pod each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from rpd.errors import NotPermitted, PodNotFound, ProviderError
from rpd.values.billing import Billing
from rpd.values.job import Tier
from rpd.values.pod import (
    Account,
    NetworkVolume,
    Offer,
    Place,
    PodInfo,
    PodRequest,
    PodSpec,
    Provider,
    Quota,
    RegistryAuth,
)


class WholeAccount(Provider):
    """``provider`` with its clusters among its pods. A member of a cluster appears only as a part of it.

    If clusters cannot be listed, the pods are those that are known, and ``unseen`` says so.
    """

    def __init__(self, provider: Provider) -> None:
        self.unseen: dict[str, ProviderError] = {}
        """Why the last look did not show the whole account: an error per kind of thing that was not listed.

        Errors because of the key's role are included.
        """
        self._pods = provider
        self._clusters = provider.clusters()
        self._cluster_ids: set[str] = set()
        self.sees_clusters = self._clusters is None
        """Whether the last look listed the clusters: only then is an unlisted one gone."""

    @property
    def failures(self) -> dict[str, ProviderError]:
        """The errors in ``unseen`` that may not occur in another look: those that do not depend on the key's role."""
        return {kind: error for kind, error in self.unseen.items() if not isinstance(error, NotPermitted)}

    @property
    def name(self) -> str:
        return self._pods.name

    def account(self) -> Account:
        return self._pods.account()

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        return self._pods.offers(request)

    def create(self, spec: PodSpec) -> PodInfo:
        return self._pods.create(spec)

    def list(self) -> Sequence[PodInfo]:
        """Return the pods and clusters of the account; only the pods where clusters cannot be listed."""
        with self._looking_at("pods"):
            pods = self._pods.list()
        clusters: Sequence[PodInfo] = ()
        with suppress(ProviderError), self._looking_at("clusters"):
            clusters = self._look()
        members = {member.id for cluster in clusters for member in cluster.members}
        return [*(pod for pod in pods if pod.id not in members), *clusters]

    def _look(self) -> Sequence[PodInfo]:
        """Return the clusters, and remember their ids. Raise ProviderError if they cannot be listed."""
        self.sees_clusters = False
        clusters: Sequence[PodInfo] = ()
        if self._clusters is not None:
            try:
                clusters = self._clusters.list()
            except PodNotFound:  # this API has none
                pass
            except NotPermitted as error:  # and so none can have been made with this key
                self.unseen["clusters"] = error
        self._cluster_ids |= {cluster.id for cluster in clusters}
        self.sees_clusters = True
        return clusters

    @contextmanager
    def _looking_at(self, kind: str) -> Iterator[None]:
        """Remember whether things of this ``kind`` could be listed, whatever the caller does about the error."""
        self.unseen.pop(kind, None)
        try:
            yield
        except ProviderError as error:
            self.unseen[kind] = error
            raise

    def _of(self, pod_id: str) -> Provider:
        # For a cluster, the pods' API would report that it is gone, while it goes on billing.
        if not self.sees_clusters and pod_id not in self._cluster_ids:
            self._look()
        return self._clusters if self._clusters is not None and pod_id in self._cluster_ids else self._pods

    def get(self, pod_id: str) -> PodInfo | None:
        return self._of(pod_id).get(pod_id)

    def stop(self, pod_id: str) -> None:
        self._of(pod_id).stop(pod_id)

    def resume(self, pod_id: str, gpu_count: int) -> None:
        self._of(pod_id).resume(pod_id, gpu_count)

    def delete(self, pod_id: str) -> None:
        self._of(pod_id).delete(pod_id)

    @property
    def notify(self) -> Callable[[str], None]:
        return self._pods.notify

    @notify.setter
    def notify(self, hear: Callable[[str], None]) -> None:
        self._pods.notify = hear

    def logs(self, pod_id: str, *, tail: int = 20) -> Sequence[str]:
        return self._of(pod_id).logs(pod_id, tail=tail)

    def output(self, pod_id: str, *, tail: int = 20) -> Sequence[str]:
        return self._of(pod_id).output(pod_id, tail=tail)

    def volumes(self) -> Sequence[NetworkVolume] | None:
        with self._looking_at("network volumes"):
            return self._pods.volumes()

    def add_volume(self, name: str, size_gb: int, datacenter: str, tier: Tier | None) -> NetworkVolume:
        return self._pods.add_volume(name, size_gb, datacenter, tier)

    def remove_volume(self, volume_id: str) -> None:
        self._pods.remove_volume(volume_id)

    def may_rent(self) -> bool | None:
        return self._pods.may_rent()

    def quotas(self) -> Sequence[Quota]:
        return self._pods.quotas()

    def places(self) -> Sequence[Place] | None:
        return self._pods.places()

    def billing(self, since: float, until: float) -> Billing | None:
        return self._pods.billing(since, until)

    def owners(self) -> Mapping[str, str]:
        with self._looking_at("owners of pods"):
            return self._pods.owners()

    def registries(self) -> Sequence[RegistryAuth] | None:
        with self._looking_at("registry credentials"):
            return self._pods.registries()

    def add_registry(self, name: str, username: str, password: str) -> str:
        return self._pods.add_registry(name, username, password)

    def remove_registry(self, registry_id: str) -> None:
        self._pods.remove_registry(registry_id)

    def datacenters(self) -> frozenset[str] | None:
        return self._pods.datacenters()

    @property
    def rents_nothing(self) -> bool:
        return self._pods.rents_nothing

    def clusters(self) -> Provider | None:
        return self._clusters

    def close(self) -> None:
        self._pods.close()
