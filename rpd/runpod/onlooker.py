"""Onlooker: who "rents" the pods of a live dry run, with the prices and the stock of now; it only ever reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, TypeVar

from rpd.runpod.offline import OfflineProvider, what_counts
from rpd.values.pod import Account, Offer, PodRequest, Provider

T = TypeVar("T")


class Onlooker(OfflineProvider):
    """Implements ``rpd.values.pod.Provider``: what reads asks ``live``, what would act stays on this machine.

    Reads are made on a thread of their own: the one that asks may run the code of a job, which is kept from opening
    connections, and rpd's own questions are none of that code's doing. What only some providers can be asked
    (``volumes``, ``datacenters``) is None where this one cannot.
    """

    def __init__(self, live: Provider) -> None:
        super().__init__()
        self._live = live
        self._asking = threading.Lock()
        self._told: dict[Hashable, tuple[Offer, ...]] = {}
        self.volumes = _reader(live, "volumes")
        self.datacenters = _reader(live, "datacenters")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Whom it looks at."""
        return self._live.name

    def account(self) -> Account:
        """Check the key and return whose it is. Raises AuthError."""
        return _elsewhere(self._live.account)

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return what may be tried for ``request`` now, best first; asked once for each kind of request.

        Raises ImpossibleRequest if it contradicts itself, and ProviderError where RunPod does not tell.
        """
        key = what_counts(request)
        with self._asking:
            if key not in self._told:
                self._told[key] = tuple(_elsewhere(partial(self._live.offers, request)))
            return self._told[key]

    def close(self) -> None:
        """Close the connections."""
        self._live.close()


def _reader(live: Provider, name: str) -> Callable[[], Any] | None:
    read = getattr(live, name, None)
    return None if read is None else partial(_elsewhere, read)


def _elsewhere(read: Callable[[], T]) -> T:
    """Return what ``read`` returns, or raise what it raises, called on another thread."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            answers.append(read())
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
            errors.append(error)

    thread = threading.Thread(target=call, name="rpd-onlooker", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
