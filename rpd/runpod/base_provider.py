"""The part that the providers for both of RunPod's APIs share."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from rpd.errors import NotPermitted, PodNotFound, ProviderError, TransientError
from rpd.runpod.catalogue import offers
from rpd.runpod.catalogue.cache import CatalogueStore, default_store
from rpd.runpod.catalogue.live import LiveCatalogue, Question
from rpd.runpod.catalogue.model import Catalogue
from rpd.runpod.notices import Notices, Speaker
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.runpod.response import UNEXPECTED, understood
from rpd.runpod.rest import volumes
from rpd.runpod.rest.billing import read_billing
from rpd.runpod.rest.catalogue import DATACENTERS, read_places
from rpd.runpod.rest.client import Rest
from rpd.runpod.rest.pods import read_logs, read_owners
from rpd.values.billing import Billing
from rpd.values.frozen import replace
from rpd.values.job import Tier
from rpd.values.pod import NetworkVolume, Offer, Place, PodRequest, Quota

T = TypeVar("T")


class Renter(Speaker):
    """Makes offers and reads logs, at one rate limit with all other calls to RunPod.

    ``notify`` is called with sentences for the user, on the thread of any call; it may be set later.
    ``catalogue_seconds``: how long prices and stock are reused. ``strict``: if prices cannot be read, that is
    an error; otherwise rpd uses the prices it ships with, and says so.
    """

    def __init__(
        self,
        key: str,
        *,
        notify: Callable[[str], None] | None = None,
        retry: Retry | None = None,
        patience: Patience | None = None,
        bucket: TokenBucket | None = None,
        rest: Rest | None = None,
        store: CatalogueStore | None = None,
        notices: Notices | None = None,
        catalogue_seconds: float = 60.0,
        strict: bool = False,
        clock: Callable[[], float] = time.monotonic,
        url: str | None = None,
    ) -> None:
        super().__init__(notices or Notices(), notify, url)
        self._begin()
        self._key = key
        self._retry = retry or Retry()
        self._patience = patience or Patience()
        self._bucket = bucket or TokenBucket()
        self._bucket.on_hold = self._notices.hold
        self._rest = rest or Rest(key, self._bucket, self._at)
        self._live = LiveCatalogue(
            self._rest,
            notices=self._notices,
            store=default_store(self._at) if store is None else store,
            graphql=self._graphql_catalogue(),
            retry=self._retry,
            seconds=catalogue_seconds,
            strict=strict,
            clock=clock,
        )
        # A separate lock: a slow answer must not keep a pod from being deleted.
        self._volumes_lock = threading.Lock()
        self._volumes: tuple[NetworkVolume, ...] | None = None
        self._places_lock = threading.Lock()
        self._places: tuple[Place, ...] | None = None

    def catalogue(self, count: int = 1, *, cuda: tuple[str, ...] = (), spot: bool = False) -> Catalogue:
        """Return RunPod's catalogue for ``count`` GPUs per pod, or (with a notice) the one shipped with rpd."""
        return self._live.ask(Question(count=count, cuda=cuda, spot=spot))

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the offers for ``request``, best first. Raise ImpossibleRequest if there can be none."""
        return offers.offers(request, self._completed(request, self._live.ask(Question.of(request))))

    def _completed(self, request: PodRequest, catalogue: Catalogue) -> Catalogue:
        """Return the catalogue with the other needs of the request: the account's volumes, the data centres."""
        if request.storage.network_volume is not None:
            account = self.volumes_with_tiers() if request.storage.tier else self._network_volumes()
            catalogue = replace(catalogue, volumes=account)
        if request.countries or offers.is_particular(request):
            catalogue = replace(catalogue, places=self.places())
        return catalogue

    def add_volume(self, name: str, size_gb: int, datacenter: str, tier: Tier | None) -> NetworkVolume:
        """Create a network volume, once, over REST v2: GraphQL has no tiers. Raise AmbiguousCreate."""
        made = volumes.add(self._rest, self._read, name, size_gb, datacenter, tier)
        self._forget_volumes()
        return made

    def remove_volume(self, volume_id: str) -> None:
        """Delete a network volume with all its files; succeed if it is gone already."""
        with suppress(PodNotFound):
            self._read(lambda: self._rest.delete(volumes.path_of(volume_id)))
        self._forget_volumes()

    def _forget_volumes(self) -> None:
        with self._volumes_lock:
            self._volumes = None

    def may_rent(self) -> bool | None:
        """Return whether the key may stop pods, judged by the answer to a call for a pod that never existed."""
        try:
            self._rest.post("/pods/rpd-may-i/action", {"action": "stop"})
        except PodNotFound:
            return True
        except NotPermitted:
            return False
        except ProviderError:
            return None
        return None

    def quotas(self) -> tuple[Quota, ...]:
        """Return how many calls RunPod still accepts, as far as its answers have said."""
        return self._bucket.quotas()

    def volumes(self) -> tuple[NetworkVolume, ...]:
        """Return the account's current network volumes, with their tiers if REST v2 answers."""
        try:
            return self.volumes_with_tiers()
        except TransientError:
            return self._read_volumes()

    def datacenters(self) -> frozenset[str]:
        """Return the ids of RunPod's data centres. Raise TransientError if it lists none."""
        return frozenset(place.id for place in self.places())

    def logs(self, pod_id: str, *, tail: int = 20) -> tuple[str, ...]:
        """Return the last lines of the machine's log about the pod. Raise PodNotFound."""
        return read_logs(self._rest, pod_id, tail)

    def output(self, pod_id: str, *, tail: int = 20) -> tuple[str, ...]:
        """Return the last lines of the container's output. Raise PodNotFound."""
        return read_logs(self._rest, pod_id, tail, "container")

    def billing(self, since: float, until: float) -> Billing:
        """Return the charges of the account, hour by hour. Raise BillingDenied."""
        return self._read(lambda: read_billing(self._rest, since, until))

    def owners(self) -> Mapping[str, str]:
        """Return the owner of each of the account's pods, by pod id, as far as pods carry rpd's stamp."""
        return self._read(lambda: understood(read_owners, self._rest.get("/pods")))

    def close(self) -> None:
        """Close the connections for REST v2; the SDK holds none."""
        self._rest.close()

    # --- for subclasses, which know the API ------------------------------------------------------------------------

    def _begin(self) -> None:
        """Set up the state of a subclass, before the first call."""

    @abstractmethod
    def _read_volumes(self) -> tuple[NetworkVolume, ...]:
        """Read the network volumes of the account. Raise ProviderError."""

    def _graphql_catalogue(self) -> Callable[[int], Catalogue] | None:
        """Return a function that reads the catalogue for a count over GraphQL, None if there is no GraphQL."""
        return None

    def places(self) -> tuple[Place, ...]:
        """Return the data centres, read once. Raise TransientError if RunPod lists none."""
        with self._places_lock:
            if self._places is None:
                places = self._read(lambda: understood(read_places, self._rest.get(DATACENTERS)))
                if not places:
                    raise TransientError(UNEXPECTED)
                self._places = places
            return self._places

    def volumes_with_tiers(self) -> tuple[NetworkVolume, ...]:
        """Return the network volumes as REST v2 lists them: GraphQL does not report their tier."""
        return self._read(lambda: volumes.read(self._rest))

    def _read(self, act: Callable[[], T]) -> T:
        """Call ``act``, which may be repeated, with retries."""
        return self._retry.call(act)

    def _volume_id(self, request: PodRequest) -> str | None:
        volume = request.storage.network_volume
        return None if volume is None else offers.find_volume(volume, self._network_volumes()).id

    def _network_volumes(self) -> tuple[NetworkVolume, ...]:
        with self._volumes_lock:
            if self._volumes is None:
                self._volumes = self._read_volumes()
            return self._volumes
