"""RestProvider: pods rented over REST v2, which lives on when GraphQL is gone."""

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
from rpd.runpod import account
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

    # --- who pays, and what there is ------------------------------------------------------------------------

    def account(self) -> Account:
        """Check the key and return whose it is, with its balance while GraphQL tells. Raises AuthError.

        REST v2 tells neither; there the key is proved by reading the list of pods, and ``id`` is empty.
        """
        try:
            return understood(account.read_account, self._rest.graphql(account.QUERY).get("myself"))
        except ProviderError:
            # GraphQL is retired, or the key may not use it: the list of pods proves the key as well.
            self.list()
        return Account(id="")

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return what to try for ``request``, best first. Raises ImpossibleRequest if it cannot be had this way."""
        if why := lacks.impossible(request):
            raise ImpossibleRequest(why)
        # Nobody can say over REST v2 in which country a Community host shall stand.
        return tuple(offer for offer in super().offers(request) if offer.country is None)

    # --- pods -----------------------------------------------------------------------------------------------

    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a pod, once. Raises NoCapacity, and TransientError where it is certain that no pod came of it.

        If the answer is lost, or may be wrong, the pod is looked for by its name; AmbiguousCreate is left for
        the case that the list could not be read either.
        """
        body = pods.create_body(spec, network_volume_id=self._volume_id(spec.request))
        for sentence in lacks.left_out(spec.request):
            self._notices.once(sentence)
        try:
            answer = self._rest.create("/pods", body, secrets=secret_texts(spec))
        except UnsureCreate as unsure:
            return reconciled(spec, unsure, self._patience, self.list)
        asked = as_asked(spec, str(answer["id"]))
        try:
            return completed(_read_pod(answer), asked)
        except ProviderError:
            # The pod exists and bills: the caller needs its id whatever else the response contains.
            return asked

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if it is deleted or was never there."""
        path = pods.path_of(pod_id)
        try:
            return living(self._read(lambda: _read_pod(self._rest.get(path))))
        except NotThere:
            # A gateway may not know the path: only a list that could be read proves that the pod is gone.
            return next((pod for pod in self.list() if pod.id == pod_id), None)

    def list(self) -> Sequence[PodInfo]:
        """Return the account's pods that are not deleted. Raises TransientError for a list with holes."""
        return self._read(lambda: _read_pods(self._rest.get("/pods")))

    def stop(self, pod_id: str) -> None:
        """Stop the pod. Raises PodNotFound."""
        path = pods.path_of(pod_id)
        try:
            self._read(lambda: self._rest.post(f"{path}/action", {"action": "stop"}))
        except Conflict:
            pod = self.get(pod_id)
            if pod is None or pod.status is not PodStatus.EXITED:
                raise

    def resume(self, pod_id: str, gpu_count: int) -> None:  # noqa: ARG002 - REST v2 starts a pod as it was made
        """Start a stopped pod; the call is not repeated. Raises NoCapacity, PodNotFound."""
        self._rest.post(f"{pods.path_of(pod_id)}/action", {"action": "start"})

    def delete(self, pod_id: str) -> None:
        """Delete the pod; one that is gone already is a success."""
        path = pods.path_of(pod_id)
        try:
            self._read(lambda: self._rest.delete(path))
        except PodNotFound:
            return

    def clusters(self) -> ClusterProvider:
        """Return what rents clusters."""
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
        """Store registry credentials, once, and return their id. Raises AmbiguousCreate."""
        body = {"name": name, "username": username, "password": password}
        try:
            return str(self._rest.create(_REGISTRIES, body, secrets=(password,))["id"])
        except PoolDenied as denied:  # as the refusals of a pod would be read
            raise NotPermitted(f"this API key may not store registry credentials ({denied})") from None
        except NoCapacity as refused:
            raise RequestRejected(str(refused)) from None

    def remove_registry(self, registry_id: str) -> None:
        """Delete registry credentials; those that are gone already are a success."""
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
    # A list with holes must not be read as "nothing is running".
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        raise TransientError("RunPod returned an incomplete list of pods")
    return tuple(filter(None, map(living, map(_read_pod, rows))))
