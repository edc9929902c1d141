"""RestProvider: pods rented over REST v2, which remains when GraphQL is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from rpd.errors import (
    ImpossibleRequest,
    NoCapacity,
    NotPermitted,
    PodNotFound,
    PoolDenied,
    ProviderError,
    RequestRejected,
    TransientError,
)
from rpd.runpod import balance
from rpd.runpod.base_provider import Renter
from rpd.runpod.create_texts import secret_texts, sendable
from rpd.runpod.reconcile import UnsureCreate, as_asked, completed, living, reconciled
from rpd.runpod.response import identifier, table, tables, text, understood
from rpd.runpod.rest import lacks, pods
from rpd.runpod.rest.client import Conflict, NotThere
from rpd.runpod.rest.clusters import ClusterProvider
from rpd.values.pod import (
    Account,
    NetworkVolume,
    Offer,
    PodInfo,
    PodRequest,
    PodSpec,
    PodStatus,
    RegistryAuth,
)

_REGISTRIES = "/registries"


class RestProvider(Renter):
    """Rents pods over REST v2, which has no spot pods."""

    # --- the account, and the stock ---------------------------------------------------------------------------------

    def account(self) -> Account:
        """Check the key and return its account, with its balance while GraphQL reports it. Raise AuthError.

        REST v2 reports neither; there the key is checked by reading the list of pods, and ``id`` is empty.
        """
        try:
            return understood(balance.read_account, self._rest.graphql(balance.QUERY).get("myself"))
        except ProviderError:
            # GraphQL is retired, or the key may not use it: reading the list of pods checks the key as well.
            self.list()
        return Account(id="")

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the offers to try for ``request``, best first.

        Raise ImpossibleRequest if REST v2 cannot express it.
        """
        if why := lacks.impossible(request):
            raise ImpossibleRequest(why)
        # REST v2 cannot choose the country of a Community host.
        return tuple(offer for offer in super().offers(request) if offer.country is None)

    # --- pods -----------------------------------------------------------------------------------------------

    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a pod, once. Raise NoCapacity, and TransientError if it is certain that no pod was created.

        If the response is lost, or may be wrong, the pod is found by its name; AmbiguousCreate means that the
        list could not be read either.
        """
        body = pods.create_body(spec, network_volume_id=self._volume_id(spec.request))
        for sentence in lacks.left_out(spec.request):
            self._notices.once(sentence)
        try:
            answer = self._rest.create("/pods", body, secrets=secret_texts(spec))
        except UnsureCreate as unsure:
            return reconciled(spec, unsure, self._patience, self.list)
        expected = as_asked(spec, str(answer["id"]))
        try:
            return completed(_read_pod(answer), expected)
        except ProviderError:
            # The pod exists and bills: the caller needs its id whatever else the response contains.
            return expected

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if it is deleted or never existed."""
        path = pods.path_of(pod_id)
        try:
            return living(self._read(lambda: _read_pod(self._rest.get(path))))
        except NotThere:
            # A gateway may not know the path: only a readable list proves that the pod is gone.
            return next((pod for pod in self.list() if pod.id == pod_id), None)

    def list(self) -> Sequence[PodInfo]:
        """Return the account's pods that are not deleted. Raise TransientError for an incomplete list."""
        return self._read(lambda: _read_pods(self._rest.get("/pods")))

    def stop(self, pod_id: str) -> None:
        """Stop the pod. Raise PodNotFound."""
        path = pods.path_of(pod_id)
        try:
            self._read(lambda: self._rest.post(f"{path}/action", {"action": "stop"}))
        except Conflict:
            # RunPod answers 409 for a pod that is stopped already.
            pod = self.get(pod_id)
            if pod is None or pod.status is not PodStatus.EXITED:
                raise

    def resume(self, pod_id: str, gpu_count: int) -> None:  # noqa: ARG002 - REST v2 starts a pod as it was made
        """Start a stopped pod; the call is not repeated. Raise NoCapacity, PodNotFound."""
        self._rest.post(f"{pods.path_of(pod_id)}/action", {"action": "start"})

    def delete(self, pod_id: str) -> None:
        """Delete the pod; succeed if it is gone already."""
        path = pods.path_of(pod_id)
        try:
            self._read(lambda: self._rest.delete(path))
        except PodNotFound:
            return

    def clusters(self) -> ClusterProvider:
        """Return the provider of clusters."""
        return ClusterProvider(
            self._rest,
            name=self.name,
            live=self._live,
            retry=self._retry,
            patience=self._patience,
            volumes=self._network_volumes,
            completed=self._completed,
        )

    def registries(self) -> tuple[RegistryAuth, ...]:
        """Return the registry credentials of the account."""
        return self._read(lambda: understood(_read_registries, self._rest.get(_REGISTRIES)))

    def add_registry(self, name: str, username: str, password: str) -> str:
        """Store registry credentials, once, and return their id. Raise AmbiguousCreate."""
        body = {"name": name, "username": username, "password": password}
        try:
            return str(self._rest.create(_REGISTRIES, body, secrets=(password,))["id"])
        except PoolDenied as denied:  # ``create`` reads refusals as those of a pod
            raise NotPermitted(f"this API key may not store registry credentials ({denied})") from None
        except NoCapacity as refused:
            raise RequestRejected(str(refused)) from None

    def remove_registry(self, registry_id: str) -> None:
        """Delete registry credentials; succeed if they are gone already."""
        path = f"{_REGISTRIES}/{quote(sendable(registry_id, 'registry'), safe='')}"
        try:
            self._read(lambda: self._rest.delete(path))
        except PodNotFound:
            return

    def _read_volumes(self) -> tuple[NetworkVolume, ...]:
        return self.volumes_with_tiers()


def _read_registries(answer: Any) -> tuple[RegistryAuth, ...]:
    rows = tables(table(answer).get("registries"))
    return tuple(RegistryAuth(id=identifier(row.get("id")), name=text(row.get("name"))) for row in rows)


def _read_pod(answer: Any) -> PodInfo:
    return understood(pods.pod_info, answer)


def _read_pods(answer: Any) -> tuple[PodInfo, ...]:
    rows = table(answer).get("pods")
    # An incomplete list must not be read as "nothing is running".
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        raise TransientError("RunPod returned an incomplete list of pods")
    return tuple(filter(None, map(living, map(_read_pod, rows))))
