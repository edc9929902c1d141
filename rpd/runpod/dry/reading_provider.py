"""Onlooker: the provider of a live dry run. It reads current prices and stock, and changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext

from rpd.runpod.dry.provider import OfflineClusters, OfflineProvider, what_counts
from rpd.values.pod import Account, NetworkVolume, Offer, PodRequest, Provider


class Onlooker(OfflineProvider):
    """Passes reads on to ``live``; changes stay on this machine.

    Reads happen inside ``outside()``: the calling thread may be running the code of a job, which must not
    open connections; rpd's own reads may.
    """

    def __init__(
        self, live: Provider, outside: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        super().__init__()
        self._live = live
        self._outside = outside
        self._asking = threading.Lock()
        self._offers: dict[Hashable, tuple[Offer, ...]] = {}

    @property
    def name(self) -> str:
        """The name of the provider it reads from."""
        return self._live.name

    def account(self) -> Account:
        """Check the API key and return its account. Raise AuthError."""
        with self._outside():
            return self._live.account()

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the current offers for ``request``, best first; read once per kind of request.

        Raise ImpossibleRequest if it contradicts itself, and ProviderError if they cannot be read.
        """
        key = what_counts(request)
        with self._asking:
            if key not in self._offers:
                with self._outside():
                    self._offers[key] = tuple(self._live.offers(request))
            return self._offers[key]

    def volumes(self) -> Sequence[NetworkVolume] | None:
        """Return the network volumes of the account, or None if ``live`` cannot list them."""
        with self._outside():
            return self._live.volumes()

    def datacenters(self) -> frozenset[str] | None:
        """Return the ids of all data centres, or None if ``live`` cannot list them."""
        with self._outside():
            return self._live.datacenters()

    def clusters(self) -> Provider | None:
        """Return a provider that reads the current offers of clusters."""
        with self._outside():
            live = self._live.clusters()
        return None if live is None else _ClusterOnlooker(live, self._outside)

    def close(self) -> None:
        """Close the connections."""
        self._live.close()


class _ClusterOnlooker(OfflineClusters):
    """The onlooker of clusters."""

    def __init__(self, live: Provider, outside: Callable[[], AbstractContextManager[object]]) -> None:
        super().__init__()
        self._live = live
        self._outside = outside

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the current offers for ``request``, best first. Raise ProviderError if they cannot be read."""
        with self._outside():
            return self._live.offers(request)
