"""RunPodProvider: pods rented from RunPod, or from whatever else speaks its API at RUNPOD_API_BASE_URL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, TypeVar

from rpd.errors import (
    AmbiguousCreate,
    ApiRetired,
    AuthError,
    PodNotFound,
    ProviderError,
    TransientError,
)
from rpd.runpod import market, order, pods
from rpd.runpod.address import DEFAULT_URL, api_url, is_local
from rpd.runpod.catalogue import (
    Catalogue,
    NetworkVolume,
    catalogue_query,
    read_catalogue,
    read_volumes,
    shipped_catalogue,
)
from rpd.runpod.classify import SchemaMismatch
from rpd.runpod.literal import escape
from rpd.runpod.pace import Retry, TokenBucket
from rpd.runpod.sdk import Sdk, UnsureCreate
from rpd.values.pod import Account, Offer, PodInfo, PodRequest, PodSpec, PodStatus

T = TypeVar("T")

_ACCOUNT = "query { myself { id clientBalance currentSpendPerHr } }"
_NOTEWORTHY_HOLD = 3.0
_NOBODY = "the API key belongs to no account: set RUNPOD_API_KEY to a valid one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to look for a pod whose create went unanswered: seconds before each reading of the list.

    A pod may show up late, so a lost answer is looked into for about 15 s. Where RunPod did answer, with an
    error, it is over with the request, and one look is enough.
    """

    lost: tuple[float, ...] = (0.0, 2.0, 4.0, 8.0)
    answered: tuple[float, ...] = (0.0,)
    sleep: Callable[[float], object] = time.sleep


def _unheard(text: str) -> None:
    """Drop a notice nobody listens to."""


class RunPodProvider:
    """Rents pods through the SDK; implements ``rpd.values.pod.Provider``.

    The SDK is imported by the first call. ``notify`` hears sentences meant for the user, on the thread of any
    call; it may be set later. ``catalogue_seconds``: how long prices and stock that were read are used.
    """

    def __init__(
        self,
        key: str,
        *,
        notify: Callable[[str], None] = _unheard,
        retry: Retry | None = None,
        patience: Patience | None = None,
        bucket: TokenBucket | None = None,
        catalogue_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.notify = notify
        self._key = key
        self._retry = retry or Retry()
        self._patience = patience or Patience()
        self._bucket = bucket or TokenBucket()
        self._catalogue_seconds = catalogue_seconds
        self._clock = clock
        # One lock for each thing that is made once: a slow catalogue must not keep a pod from being deleted.
        self._sdk_lock = threading.Lock()
        self._catalogue_lock = threading.Lock()
        self._volumes_lock = threading.Lock()
        self._sdk: Sdk | None = None
        self._catalogues: dict[int, tuple[float, Catalogue]] = {}
        self._volumes: tuple[NetworkVolume, ...] | None = None
        self._plain_reads = False
        self._told: set[str] = set()
        self._bucket.on_hold = self._tell_hold

    @property
    def name(self) -> str:
        """``RunPod``, or where else the calls go."""
        url = api_url()
        if url == DEFAULT_URL:
            return "RunPod"
        return f"emulator at {url}" if is_local(url) else url

    # --- who pays, and what there is ------------------------------------------------------------------------

    def account(self) -> Account:
        """Check the key and return whose it is, with its balance where RunPod tells. Raises AuthError."""
        try:
            me = self._read(lambda: self._api.query(_ACCOUNT, itemgetter("myself")))
        except SchemaMismatch:
            me = self._read(lambda: self._api.user())
        if not me:
            raise AuthError(_NOBODY)
        return Account(
            id=str(me["id"]),
            balance_usd=me.get("clientBalance"),
            spend_usd_per_hr=me.get("currentSpendPerHr"),
        )

    def catalogue(self, count: int = 1) -> Catalogue:
        """Return what RunPod has for ``count`` GPUs per pod, else (with a notice) what was shipped."""
        with self._catalogue_lock:
            read_at, known = self._catalogues.get(count, (0.0, None))
            if known is None or self._clock() - read_at > self._catalogue_seconds:
                known = self._fresh_catalogue(count)
                self._catalogues[count] = (self._clock(), known)
            return known

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return what to try for ``request``, best first. Raises RequestRejected if it contradicts itself."""
        catalogue = shipped_catalogue() if request.gpu is None else self.catalogue(request.gpu.count)
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
            return self._reconciled(spec, unsure)
        return self._described(spec, answer)

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if it is deleted or was never there."""
        row = self._read(lambda: self._pod_row(pod_id))
        return None if row is None else _living(pods.pod_info({"id": pod_id, **row}))

    def list(self) -> Sequence[PodInfo]:
        """Return the account's pods that are not deleted. Raises TransientError for a list with holes."""
        return tuple(filter(None, map(_living, map(pods.pod_info, self._read(self._pod_rows)))))

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

    def close(self) -> None:
        """Do nothing: the SDK holds no connection."""

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

    def _tell_hold(self, seconds: float) -> None:
        if seconds >= _NOTEWORTHY_HOLD:
            self.notify(
                f"RunPod limits the rate of calls: rpd asks nothing for {seconds:.0f} s, as it wishes"
            )

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.notify(text)

    def _fresh_catalogue(self, count: int) -> Catalogue:
        try:
            return self._read(lambda: self._api.query(catalogue_query(count), read_catalogue))
        except (AuthError, ApiRetired):
            raise
        except ProviderError as error:
            self._tell_once(f"prices and stock could not be read, those shipped with rpd are used: {error}")
            return shipped_catalogue()

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
        asked = PodInfo(
            id=str(answer["id"]),
            name=spec.name,
            status=PodStatus.RUNNING,
            image=spec.request.image,
            gpu=spec.offer.gpu_id,
            gpu_count=spec.offer.count,
            datacenter=spec.offer.datacenter,
            cloud=spec.offer.cloud,
            usd_per_hr=spec.offer.usd_per_hr,
            machine_id=answer.get("machineId"),
            spot=spec.request.spot,
        )
        try:
            told = self.get(asked.id)
        except ProviderError:
            # It exists and bills: its id must reach the caller whatever becomes of the reading.
            return asked
        return asked if told is None else _completed(told, asked)

    def _reconciled(self, spec: PodSpec, unsure: UnsureCreate) -> PodInfo:
        """Return the pod of that name, else raise: what RunPod answered, or that no pod came of it."""
        waits = self._patience.lost if unsure.refusal is None else self._patience.answered
        for wait in waits:
            self._patience.sleep(wait)
            try:
                found = next((pod for pod in self.list() if pod.name == spec.name), None)
            except ProviderError as error:
                raise AmbiguousCreate(
                    f"{unsure}; whether pod {spec.name} exists could not be read: {error}"
                ) from None
            if found is not None:
                return found
        if unsure.refusal is not None:
            raise unsure.refusal from None
        raise TransientError(f"{unsure}; no pod of that name exists ({spec.name})") from None


def _living(pod: PodInfo) -> PodInfo | None:
    """Return ``pod`` unless it is deleted: RunPod goes on showing some for a while."""
    return None if pod.status is PodStatus.TERMINATED else pod


def _completed(told: PodInfo, asked: PodInfo) -> PodInfo:
    """Return what RunPod tells, with what it left out taken from the request."""
    return replace(
        told,
        name=told.name or asked.name,
        gpu=told.gpu or asked.gpu,
        datacenter=told.datacenter or asked.datacenter,
        cloud=told.cloud or asked.cloud,
        usd_per_hr=asked.usd_per_hr if told.usd_per_hr is None else told.usd_per_hr,
    )
