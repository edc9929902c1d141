"""Onlooker: who "rents" the pods of a live dry run, with the prices and the stock of now; it only ever reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rpd.runpod.dry.provider import OfflineProvider, what_counts
from rpd.values.pod import Account, Offer, PodRequest, Provider


class Onlooker(OfflineProvider):
    """Implements ``rpd.values.pod.Provider``: what reads asks ``live``, what would act stays on this machine.

    Reads are made inside ``outside()``: the thread that asks may run the code of a job, which is kept from opening
    connections, and rpd's own questions are none of that code's doing. What only some providers can be asked
    (``volumes``, ``datacenters``) is None where this one cannot.
    """

    def __init__(
        self, live: Provider, outside: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        super().__init__()
        self._live = live
        self._outside = outside
        self._asking = threading.Lock()
        self._told: dict[Hashable, tuple[Offer, ...]] = {}
        self.volumes = self._reader("volumes")
        self.datacenters = self._reader("datacenters")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Whom it looks at."""
        return self._live.name

    def account(self) -> Account:
        """Check the key and return whose it is. Raises AuthError."""
        with self._outside():
            return self._live.account()

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return what may be tried for ``request`` now, best first; asked once for each kind of request.

        Raises ImpossibleRequest if it contradicts itself, and ProviderError where RunPod does not tell.
        """
        key = what_counts(request)
        with self._asking:
            if key not in self._told:
                with self._outside():
                    self._told[key] = tuple(self._live.offers(request))
            return self._told[key]

    def close(self) -> None:
        """Close the connections."""
        self._live.close()

    def _reader(self, name: str) -> Callable[[], Any] | None:
        read = getattr(self._live, name, None)
        if read is None:
            return None

        def ask() -> Any:
            with self._outside():
                return read()

        return ask
