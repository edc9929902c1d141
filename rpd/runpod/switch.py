"""SwitchingProvider: RunPod through the SDK until its API is retired, through REST v2 from then on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from rpd.errors import ApiRetired, AuthError, ProviderError
from rpd.runpod import balance
from rpd.runpod.base_provider import Renter
from rpd.runpod.catalogue.cache import CatalogueStore, default_store
from rpd.runpod.catalogue.model import Catalogue
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.notices import Notices, Speaker
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.runpod.rest.client import Rest
from rpd.runpod.rest.clusters import ClusterProvider
from rpd.runpod.rest.lacks import impossible
from rpd.runpod.rest.provider import RestProvider
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
    Quota,
    RegistryAuth,
)

T = TypeVar("T")
R = TypeVar("R", bound=Renter)
Lifecycle = Literal["sdk", "rest", "auto"]


class SwitchingProvider(Speaker):
    """Rents through one of two providers; pods created through one can be managed through the other.

    It starts with the SDK (``lifecycle="sdk"``) and switches to REST v2 for good once GraphQL says that it is
    retired: that call did nothing, so it is repeated there. With ``"rest"``, the SDK is used only for what
    REST v2 lacks: spot pods, and Community pods of a country. With ``"auto"`` the first call finds out,
    without the SDK, whether GraphQL answers. ``notify`` is called with sentences for the user, and may be set
    later. ``strict``: if prices cannot be read, that is an error; rpd does not use those it ships with.
    """

    def __init__(
        self,
        key: str,
        *,
        lifecycle: Lifecycle = "sdk",
        notify: Callable[[str], None] | None = None,
        retry: Retry | None = None,
        patience: Patience | None = None,
        bucket: TokenBucket | None = None,
        store: CatalogueStore | None = None,
        strict: bool = False,
        url: str | None = None,
    ) -> None:
        super().__init__(Notices(), notify, url)
        bucket = bucket or TokenBucket()
        store = default_store(self._at) if store is None else store
        self._client = rest = Rest(key, bucket, self._at)

        def renter(kind: type[R]) -> R:
            return kind(
                key,
                retry=retry,
                patience=patience,
                bucket=bucket,
                rest=rest,
                store=store,
                notices=self._notices,
                strict=strict,
                url=self._at,
            )

        self._sdk, self._rest = renter(RunPodProvider), renter(RestProvider)
        self._clusters = self._rest.clusters()
        self._lock = threading.Lock()
        self._uses_sdk = lifecycle != "rest"
        self._retired = False
        self._has_looked = lifecycle != "auto"
        self._looking = threading.Lock()

    def account(self) -> Account:
        """Check the API key and return its account. Raise AuthError."""
        return self._call(lambda provider: provider.account())

    def catalogue(self, count: int = 1, *, cuda: tuple[str, ...] = (), spot: bool = False) -> Catalogue:
        """Return RunPod's catalogue for ``count`` GPUs per pod, or (with a notice) the one shipped with rpd."""
        return self._call(lambda provider: provider.catalogue(count, cuda=cuda, spot=spot), graphql=spot)

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the offers for ``request``, best first. Raise ImpossibleRequest if it contradicts itself."""
        return self._call(lambda provider: provider.offers(request), graphql=bool(impossible(request)))

    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a pod, once, as RunPodProvider and RestProvider do."""
        return self._call(lambda provider: provider.create(spec), graphql=bool(impossible(spec.request)))

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if it is deleted or never existed."""
        return self._call(lambda provider: provider.get(pod_id))

    def list(self) -> Sequence[PodInfo]:
        """Return the account's pods that are not deleted."""
        return self._call(lambda provider: provider.list())

    def stop(self, pod_id: str) -> None:
        """Stop the pod. Raise PodNotFound."""
        self._call(lambda provider: provider.stop(pod_id))

    def resume(self, pod_id: str, gpu_count: int) -> None:
        """Start a stopped pod. Raise NoCapacity, PodNotFound."""
        self._call(lambda provider: provider.resume(pod_id, gpu_count))

    def delete(self, pod_id: str) -> None:
        """Delete the pod; succeed if it is gone already."""
        self._call(lambda provider: provider.delete(pod_id))

    def volumes(self) -> tuple[NetworkVolume, ...]:
        """Return the network volumes of the account."""
        return self._call(lambda provider: provider.volumes())

    def add_volume(self, name: str, size_gb: int, datacenter: str, tier: Tier | None) -> NetworkVolume:
        """Create a network volume, once, over REST v2."""
        return self._rest.add_volume(name, size_gb, datacenter, tier)

    def remove_volume(self, volume_id: str) -> None:
        """Delete a network volume; succeed if it is gone already."""
        self._rest.remove_volume(volume_id)

    def may_rent(self) -> bool | None:
        """Return whether the key may do more than read; None if that cannot be found out."""
        return self._rest.may_rent()

    def quotas(self) -> tuple[Quota, ...]:
        """Return how many calls RunPod still accepts, as far as its answers have said."""
        return self._rest.quotas()

    def places(self) -> tuple[Place, ...]:
        """Return RunPod's data centres. Raise TransientError if it lists none."""
        return self._rest.places()

    def registries(self) -> tuple[RegistryAuth, ...]:
        """Return the registry credentials of the account."""
        return self._call(lambda provider: provider.registries())

    def add_registry(self, name: str, username: str, password: str) -> str:
        """Store registry credentials, once, and return their id."""
        return self._call(lambda provider: provider.add_registry(name, username, password))

    def remove_registry(self, registry_id: str) -> None:
        """Delete registry credentials; succeed if they are gone already."""
        self._call(lambda provider: provider.remove_registry(registry_id))

    def logs(self, pod_id: str, *, tail: int = 20) -> tuple[str, ...]:
        """Return the last lines of the machine's log about the pod. Raise PodNotFound."""
        return self._rest.logs(pod_id, tail=tail)

    def output(self, pod_id: str, *, tail: int = 20) -> tuple[str, ...]:
        """Return the last lines of the container's output. Raise PodNotFound."""
        return self._rest.output(pod_id, tail=tail)

    def datacenters(self) -> frozenset[str]:
        """Return the ids of RunPod's data centres. Raise TransientError if it lists none."""
        return self._rest.datacenters()

    def billing(self, since: float, until: float) -> Billing:
        """Return the charges of the account, hour by hour. Raise BillingDenied."""
        return self._rest.billing(since, until)

    def owners(self) -> Mapping[str, str]:
        """Return the owner of each of the account's pods, by pod id, as far as pods carry rpd's stamp."""
        return self._rest.owners()

    @property
    def rents_nothing(self) -> bool:
        """False: this provider rents real pods."""
        return False

    def clusters(self) -> ClusterProvider:
        """Return the provider of clusters: REST v2, whatever rents the pods."""
        return self._clusters

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    def _call(self, act: Callable[[RunPodProvider | RestProvider], T], *, graphql: bool = False) -> T:
        """Make a call over the API in use, and repeat it over REST v2 if GraphQL turns out to be retired."""
        if not self._has_looked:
            self._look()
        if (self._uses_sdk or graphql) and not self._retired:
            try:
                return act(self._sdk)
            except ApiRetired as retired:
                self._retire(retired)
        return act(self._rest)

    def _look(self) -> None:
        """Find out which API answers. If neither does, the SDK's own error says why."""
        with self._looking:
            if self._has_looked:
                return
            try:
                self._client.graphql(balance.QUERY)
            except ApiRetired as retired:
                self._retire(retired)
            except AuthError:
                # GraphQL answered, so it is not retired. The next call reports the refused key.
                pass
            except ProviderError as error:
                # GraphQL fails and REST v2 answers: it is not the network, so GraphQL counts as gone.
                if self._rest_answers():
                    self._retire(error)
            self._has_looked = True

    def _rest_answers(self) -> bool:
        try:
            self._rest.list()
        except ProviderError:
            return False
        return True

    def _retire(self, why: ProviderError) -> None:
        with self._lock:
            if self._retired:
                return
            self._retired = True
        self._notices.notify(
            f"{why}: rpd continues with REST v2, which has no spot pods and does not report the balance"
        )
