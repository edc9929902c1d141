"""RunPodProvider: pods rented from RunPod, or from whatever else speaks its API at RUNPOD_API_BASE_URL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, TypeVar

from rpd.errors import AuthError, PodNotFound, ProviderError, TransientError
from rpd.runpod import market, order, owner, pods
from rpd.runpod.address import api_name
from rpd.runpod.catalogue import (
    Catalogue,
    NetworkVolume,
    catalogue_query,
    read_catalogue,
    read_volumes,
)
from rpd.runpod.classify import SchemaMismatch
from rpd.runpod.literal import escape
from rpd.runpod.live import LiveCatalogue, Question
from rpd.runpod.notices import Notices
from rpd.runpod.pace import Retry, TokenBucket
from rpd.runpod.reconcile import Patience, UnsureCreate, as_asked, completed, living, reconciled
from rpd.runpod.rest import Rest
from rpd.runpod.rest_pods import read_logs
from rpd.runpod.sdk import Sdk
from rpd.runpod.stored import CatalogueStore, default_store
from rpd.values.pod import Account, Offer, PodInfo, PodRequest, PodSpec

T = TypeVar("T")

_NOBODY = "the API key belongs to no account: set RUNPOD_API_KEY to a valid one"


class RunPodProvider:
    """Rents pods through the SDK; implements ``rpd.values.pod.Provider``.

    The SDK is imported by the first call. What it lacks (prices, stock, logs) comes from REST v2. ``notify`` hears
    sentences meant for the user, on the thread of any call; it may be set later. ``catalogue_seconds``: how long
    prices and stock that were read are used.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notices = notices or Notices()
        if notify is not None:
            self._notices.notify = notify
        self._key = key
        self._retry = retry or Retry()
        self._patience = patience or Patience()
        self._bucket = bucket or TokenBucket()
        self._bucket.on_hold = self._notices.hold
        self._rest = rest or Rest(key, self._bucket)
        self._live = LiveCatalogue(
            self._rest,
            notices=self._notices,
            store=default_store() if store is None else store,
            graphql=self._graphql_catalogue,
            seconds=catalogue_seconds,
            clock=clock,
        )
        # One lock for each thing that is made once: a slow answer must not keep a pod from being deleted.
        self._sdk_lock = threading.Lock()
        self._volumes_lock = threading.Lock()
        self._sdk: Sdk | None = None
        self._volumes: tuple[NetworkVolume, ...] | None = None
        self._plain_reads = False

    @property
    def notify(self) -> Callable[[str], None]:
        """Who hears sentences meant for the user."""
        return self._notices.notify

    @notify.setter
    def notify(self, hear: Callable[[str], None]) -> None:
        self._notices.notify = hear

    @property
    def name(self) -> str:
        """``RunPod``, or where else the calls go."""
        return api_name()

    # --- who pays, and what there is ------------------------------------------------------------------------

    def account(self) -> Account:
        """Check the key and return whose it is, with its balance where RunPod tells. Raises AuthError."""
        try:
            me = self._read(lambda: self._api.query(owner.QUERY, itemgetter("myself")))
        except SchemaMismatch:
            me = self._read(lambda: self._api.user())
        if not me:
            raise AuthError(_NOBODY)
        return owner.read_account(me)

    def catalogue(self, count: int = 1, *, cuda: tuple[str, ...] = (), spot: bool = False) -> Catalogue:
        """Return what RunPod has for ``count`` GPUs per pod, else (with a notice) what was shipped."""
        return self._live.ask(Question(count=count, cuda=cuda, spot=spot))

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return what to try for ``request``, best first. Raises ImpossibleRequest if it contradicts itself."""
        catalogue = self._live.ask(Question.of(request))
        if request.storage.network_volume is not None:
            catalogue = replace(catalogue, volumes=self._network_volumes())
        return market.offers(request, catalogue)

    # --- pods -----------------------------------------------------------------------------------------------

    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a pod, once. Raises NoCapacity, and TransientError where it is certain that no pod came of it.

        If the answer is lost, or may be wrong, the pod is looked for by its name; AmbiguousCreate is left for
        the case that the list could not be read either.
        """
        volume = self._volume_id(spec.request)
        secrets = order.secret_texts(spec)
        try:
            if spec.request.spot:
                mutation = order.spot_mutation(spec, network_volume_id=volume)
                answer = self._api.create_by(mutation, "podRentInterruptable", secrets=secrets)
            else:
                arguments = order.create_arguments(spec, network_volume_id=volume)
                answer = self._api.create(arguments, secrets=secrets)
        except UnsureCreate as unsure:
            return reconciled(spec, unsure, self._patience, self.list)
        return self._described(spec, answer)

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if it is deleted or was never there."""
        row = self._read(lambda: self._pod_row(pod_id))
        return None if row is None else living(pods.pod_info({"id": pod_id, **row}))

    def list(self) -> Sequence[PodInfo]:
        """Return the account's pods that are not deleted. Raises TransientError for a list with holes."""
        return tuple(filter(None, map(living, map(pods.pod_info, self._read(self._pod_rows)))))

    def stop(self, pod_id: str) -> None:
        """Stop the pod. Raises PodNotFound."""
        sent = escape(pod_id, "the pod id")
        self._read(lambda: self._api.stop(sent))

    def resume(self, pod_id: str, gpu_count: int) -> None:
        """Start a stopped pod; the call is not repeated, its effect shows in ``get``."""
        sent = escape(pod_id, "the pod id")
        self._api.resume(sent, gpu_count)

    def delete(self, pod_id: str) -> None:
        """Delete the pod; one that is gone already is a success."""
        sent = escape(pod_id, "the pod id")
        try:
            self._read(lambda: self._api.terminate(sent))
        except PodNotFound:
            return

    def logs(self, pod_id: str, *, tail: int = 20) -> tuple[str, ...]:
        """Return the last lines of what the pod's machine did with it. Raises PodNotFound."""
        return read_logs(self._rest, pod_id, tail)

    def close(self) -> None:
        """Close the connections for REST v2; the SDK holds none."""
        self._rest.close()

    # --- how ------------------------------------------------------------------------------------------------

    @property
    def _api(self) -> Sdk:
        with self._sdk_lock:
            if self._sdk is None:
                self._sdk = Sdk(self._key, self._bucket)
            return self._sdk

    def _read(self, act: Callable[[], T]) -> T:
        """Call what may be repeated."""
        return self._retry.call(act)

    def _graphql_catalogue(self, count: int) -> Catalogue:
        return self._read(lambda: self._api.query(catalogue_query(count), read_catalogue))

    def _network_volumes(self) -> tuple[NetworkVolume, ...]:
        with self._volumes_lock:
            if self._volumes is None:
                me = self._read(lambda: self._api.user())
                if me is None:
                    raise AuthError(_NOBODY)
                self._volumes = read_volumes(me.get("networkVolumes"))
            return self._volumes

    def _volume_id(self, request: PodRequest) -> str | None:
        wanted = request.storage.network_volume
        return None if wanted is None else market.find_volume(wanted, self._network_volumes()).id

    def _pod_row(self, pod_id: str) -> Any:
        if not self._plain_reads:
            try:
                return self._api.query(pods.read_one(pod_id), itemgetter("pod"))
            except SchemaMismatch:
                self._plain_reads = True
        return self._api.pod(escape(pod_id, "the pod id"))

    def _pod_rows(self) -> Sequence[Any]:
        rows = self._listed()
        # A list with holes must not be read as "nothing is running".
        if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
            raise TransientError("RunPod's list of pods is incomplete")
        return rows

    def _listed(self) -> Any:
        if not self._plain_reads:
            try:
                me = self._api.query(pods.LIST, itemgetter("myself"))
            except SchemaMismatch:
                self._plain_reads = True
            else:
                if me is None:
                    raise AuthError(_NOBODY)
                return me.get("pods")
        return self._api.pods()

    def _described(self, spec: PodSpec, answer: Any) -> PodInfo:
        """Return the pod that was made, as RunPod describes it, else as it was asked for."""
        asked = as_asked(spec, str(answer["id"]), answer.get("machineId"))
        try:
            told = self.get(asked.id)
        except ProviderError:
            # It exists and bills: its id must reach the caller whatever becomes of the reading.
            return asked
        return asked if told is None else completed(told, asked)
