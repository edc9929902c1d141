"""RunPodProvider: pods rented through the SDK, from RunPod or from any server at RUNPOD_API_BASE_URL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from rpd.errors import AuthError, NotPermitted, PodNotFound, RequestRejected, TransientError
from rpd.runpod import balance
from rpd.runpod.base_provider import Renter
from rpd.runpod.catalogue.model import (
    Catalogue,
    catalogue_query,
    read_catalogue,
    read_volumes,
)
from rpd.runpod.create_texts import secret_texts
from rpd.runpod.error_mapping import SchemaMismatch
from rpd.runpod.graphql import create_arguments, pods, registry
from rpd.runpod.graphql.escape import escape
from rpd.runpod.graphql.sdk import Sdk
from rpd.runpod.reconcile import UnsureCreate, as_asked, living, reconciled
from rpd.runpod.response import needed_table, table, text, understood
from rpd.values.pod import Account, NetworkVolume, PodInfo, PodSpec, RegistryAuth

_NOBODY = "the API key belongs to no account: set RUNPOD_API_KEY to a valid one"


class RunPodProvider(Renter):
    """Rents pods through the SDK.

    The SDK is imported by the first call. REST v2 provides what it lacks (prices, stock, logs).
    """

    def _begin(self) -> None:
        # A separate lock: a slow call here must not delay prices.
        self._sdk_lock = threading.Lock()
        self._sdk: Sdk | None = None
        self._plain_reads = False

    # --- the account, and the stock ---------------------------------------------------------------------------------

    def account(self) -> Account:
        """Check the key and return its account, with its balance if RunPod reports it. Raise AuthError."""
        try:
            me = self._read(lambda: self._api.query(balance.QUERY, itemgetter("myself")))
        except (SchemaMismatch, NotPermitted):  # also for a role that may not see what the account pays
            me = self._read(lambda: self._api.user())
        if not me:
            raise AuthError(_NOBODY)
        return understood(balance.read_account, me)

    # --- pods -----------------------------------------------------------------------------------------------

    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a pod, once. Raise NoCapacity, and TransientError if it is certain that no pod was created.

        If the response is lost, or may be wrong, the pod is found by its name; AmbiguousCreate means that the
        list could not be read either.
        """
        volume = self._volume_id(spec.request)
        secrets = secret_texts(spec)
        try:
            if create_arguments.sdk_lacks(spec):
                mutation, name = create_arguments.create_mutation(spec, network_volume_id=volume)
                answer = self._api.create_by(mutation, name, secrets=secrets)
            else:
                arguments = create_arguments.create_arguments(spec, network_volume_id=volume)
                answer = self._api.create(arguments, secrets=secrets)
        except UnsureCreate as unsure:
            return reconciled(spec, unsure, self._patience, self.list)
        # The pod exists and bills, whatever else the response says. Its details are read while waiting for
        # it.
        return as_asked(spec, str(answer["id"]), text(answer.get("machineId")) or None)

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if it is deleted or never existed."""
        row = self._read(lambda: self._pod_row(pod_id))
        return None if row is None else living(understood(pods.pod_info, {**row, "id": pod_id}))

    def list(self) -> Sequence[PodInfo]:
        """Return the account's pods that are not deleted. Raise TransientError for an incomplete list."""
        rows = self._read(self._pod_rows)
        return tuple(filter(None, (living(understood(pods.pod_info, row)) for row in rows)))

    def stop(self, pod_id: str) -> None:
        """Stop the pod. Raise PodNotFound."""
        sent = escape(pod_id, "the pod id")
        self._read(lambda: self._api.stop(sent))

    def resume(self, pod_id: str, gpu_count: int) -> None:
        """Start a stopped pod; the call is not repeated, its effect shows in ``get``."""
        sent = escape(pod_id, "the pod id")
        self._api.resume(sent, gpu_count)

    def delete(self, pod_id: str) -> None:
        """Delete the pod; succeed if it is gone already."""
        sent = escape(pod_id, "the pod id")
        try:
            self._read(lambda: self._api.terminate(sent))
        except PodNotFound:
            return

    # --- credentials of registries ---------------------------------------------------------------------------

    def registries(self) -> tuple[RegistryAuth, ...]:
        """Return the registry credentials of the account."""
        me = self._read(lambda: self._api.query(registry.LIST, itemgetter("myself")))
        if me is None:
            raise AuthError(_NOBODY)
        return understood(lambda row: registry.read(row.get("containerRegistryCreds")), me)

    def add_registry(self, name: str, username: str, password: str) -> str:
        """Store registry credentials, once, and return their id. Raise AmbiguousCreate."""
        mutation = registry.save(name, username, password)
        return str(self._api.create_by(mutation, registry.SAVE, secrets=(password,))["id"])

    def remove_registry(self, registry_id: str) -> None:
        """Delete registry credentials; succeed if they are gone already."""
        document = registry.delete(registry_id)
        try:
            self._read(lambda: self._api.query(document, lambda data: data))
        except RequestRejected:
            # GraphQL's errors do not say whether the credentials are gone already, so the list decides.
            if any(auth.id == registry_id for auth in self.registries()):
                raise

    # --- how ------------------------------------------------------------------------------------------------

    @property
    def _api(self) -> Sdk:
        with self._sdk_lock:
            if self._sdk is None:
                self._sdk = Sdk(self._key, self._bucket, self._at)
            return self._sdk

    def _graphql_catalogue(self) -> Callable[[int], Catalogue]:
        return lambda count: self._read(lambda: self._api.query(catalogue_query(count), read_catalogue))

    def _read_volumes(self) -> tuple[NetworkVolume, ...]:
        me = self._read(lambda: self._api.user())
        if me is None:
            raise AuthError(_NOBODY)
        return understood(lambda row: read_volumes(row.get("networkVolumes")), me)

    def _pod_row(self, pod_id: str) -> Any:
        if not self._plain_reads:
            try:
                return self._api.query(pods.read_one(pod_id), lambda data: _pod_in(data["pod"]))
            except SchemaMismatch:
                # RunPod changed its schema: from now on the SDK's own query is used.
                self._plain_reads = True
        return understood(_pod_in, self._api.pod(escape(pod_id, "the pod id")))

    def _pod_rows(self) -> Sequence[Any]:
        rows = self._listed()
        # An incomplete list must not be read as "nothing is running".
        if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
            raise TransientError("RunPod returned an incomplete list of pods")
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
                return table(me).get("pods")
        return self._api.pods()


def _pod_in(answer: object) -> Mapping[str, Any] | None:
    """Return the pod in a response, None if it is gone. Raise Misshapen."""
    return None if answer is None else needed_table(answer)
