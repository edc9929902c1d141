"""The REST face: RunPod's API v2 answered over the account, with the shapes of its OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rpd.emulator import rest_billing, rest_body
from rpd.emulator.account import Account
from rpd.emulator.billing import Ledger
from rpd.emulator.clusters import Cluster, Clusters
from rpd.emulator.model import Pod
from rpd.emulator.refusals import Refusal
from rpd.emulator.rest_body import Problem, read_body
from rpd.emulator.rest_catalogue import Catalogue
from rpd.emulator.rest_pods import (
    changes,
    cluster_body,
    pod_body,
    read_cluster,
    read_order,
    status,
    volume_body,
)
from rpd.emulator.roles import DENIED, needed_by_rest
from rpd.emulator.views import registry

_STATUSES = {
    "INSUFFICIENT_BALANCE": 402,
    "POD_NOT_FOUND": 404,
    "FORBIDDEN": 403,
    "INTERNAL_SERVER_ERROR": 500,
}
"""HTTP statuses of refusals; 400 for all others, a sold-out GPU among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request below ``/v2``: ``query`` and ``headers`` by name, ``pod`` the id of the pod whose key it bears."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    pod: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body, None for none."""

    status: int
    body: Any = None


Handler = Callable[..., Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. ``kind`` is its name in faults; a pod's own key may use those marked ``by_pod``."""

    method: str
    pattern: re.Pattern[str]
    operation: str
    kind: str
    by_pod: bool = False


def _routes() -> Iterable[Route]:
    table = (
        ("GET", "/pods", "listPods", "list", False),
        ("POST", "/pods", "createPod", "create", False),
        ("GET", "/pods/{id}", "getPod", "get", True),
        ("PATCH", "/pods/{id}", "updatePod", "update", False),
        ("DELETE", "/pods/{id}", "deletePod", "terminate", True),
        ("POST", "/pods/{id}/action", "podAction", "action", True),
        ("GET", "/pods/{id}/logs", "getPodLogs", "logs", True),
        ("GET", "/clusters", "listClusters", "list", False),
        ("POST", "/clusters", "createCluster", "create", False),
        ("GET", "/clusters/{id}", "getCluster", "get", True),
        ("PATCH", "/clusters/{id}", "updateCluster", "update", False),
        ("DELETE", "/clusters/{id}", "deleteCluster", "terminate", True),
        ("GET", "/clusters/{id}/pods", "listClusterPods", "get", True),
        ("GET", "/catalog/gpus", "listGpuTypes", "gpus", False),
        ("GET", "/catalog/gpus/{id}", "getGpuType", "gpus", False),
        ("GET", "/catalog/cpus", "listCpuTypes", "cpus", False),
        ("GET", "/catalog/cpus/{id}", "getCpuType", "cpus", False),
        ("GET", "/catalog/datacenters", "listDataCenters", "datacenters", False),
        ("GET", "/catalog/datacenters/{id}", "getDataCenter", "datacenters", False),
        ("GET", "/network-volumes", "listNetworkVolumes", "volumes", False),
        ("POST", "/network-volumes", "createNetworkVolume", "volumes", False),
        ("GET", "/network-volumes/{id}", "getNetworkVolume", "volumes", False),
        ("PATCH", "/network-volumes/{id}", "updateNetworkVolume", "volumes", False),
        ("DELETE", "/network-volumes/{id}", "deleteNetworkVolume", "volumes", False),
        ("GET", "/registries", "listRegistries", "registries", False),
        ("POST", "/registries", "createRegistry", "registries", False),
        ("GET", "/registries/{id}", "getRegistry", "registries", False),
        ("DELETE", "/registries/{id}", "deleteRegistry", "registries", False),
        ("GET", "/account/ssh-keys", "getSshKeys", "account", False),
        ("PUT", "/account/ssh-keys", "updateSshKeys", "account", False),
        ("GET", "/billing", "listBilling", "billing", False),
        ("GET", "/billing/pods", "listPodBilling", "billing", False),
        ("GET", "/billing/network-volumes", "listNetworkVolumeBilling", "billing", False),
        ("GET", "/billing/clusters", "listClusterBilling", "billing", False),
    )
    for method, path, operation, kind, by_pod in table:
        pattern = re.compile("/v2" + path.replace("{id}", "(?P<id>[^/]+)"))
        yield Route(method=method, pattern=pattern, operation=operation, kind=kind, by_pod=by_pod)


ROUTES = tuple(_routes())


class NotAllowed(Problem):
    """The path is there, the method is not."""

    def __init__(self, methods: list[str]) -> None:
        super().__init__(405, "method not allowed")
        self.allow = ", ".join(methods)


def route(method: str, path: str) -> tuple[Route, str]:
    """Return the operation and the id in ``path``. Raise Problem."""
    matching = [(candidate, match) for candidate in ROUTES if (match := candidate.pattern.fullmatch(path))]
    for candidate, match in matching:
        if candidate.method == method:
            return candidate, match.groupdict().get("id", "")
    if matching:
        raise NotAllowed([candidate.method for candidate, _ in matching])
    raise Problem(404, f"no route {path}")


class RestFace:
    """The REST face: it answers calls.

    ``when_volume_deleted`` is called with the id of a network volume whose files may be deleted.
    """

    def __init__(
        self,
        account: Account,
        clusters: Clusters,
        clock: Callable[[], float],
        when_volume_deleted: Callable[[str], None],
    ) -> None:
        self._account = account
        self._clusters = clusters
        self._clock = clock
        self._when_volume_deleted = when_volume_deleted
        self._catalogue = Catalogue(account)

    def subject(self, matched: Route, item_id: str, call: Call) -> dict[str, str]:
        """Return the values that a fault's ``match`` compares."""
        kind, values = matched.kind, {}
        pod = self._account.pods.get(item_id)
        if kind in ("create", "action"):
            values = _wishes(call.body)
            kind = values.pop("action", kind)
        return {
            **values,
            **(pod.subject if pod else {}),
            "field": matched.operation,
            "operation": kind,
            "face": "rest",
        }

    def answer(self, matched: Route, item_id: str, call: Call) -> Answer:
        """Carry out ``call``. Raise Problem."""
        if call.pod is not None and not (matched.by_pod and self._is_own(matched, item_id, call.pod)):
            raise Problem(403, DENIED)
        if call.pod is None and not self._account.may(needed_by_rest(matched.operation, matched.method)):
            raise Problem(403, DENIED)
        handler: Handler = getattr(self, f"_{matched.operation}")
        try:
            return handler(item_id, call)
        except Refusal as refusal:
            raise Problem(_STATUSES.get(refusal.code, 400), refusal.message) from None

    def _is_own(self, route: Route, item_id: str, pod_id: str) -> bool:
        """Return whether a pod asks about itself, or about a cluster that it may act on as a member."""
        pod = self._account.pods.get(pod_id)
        member = pod.membership if pod else None
        may = route.method == "GET" or self._clusters.member_ends == "cluster"
        return item_id == pod_id or (member is not None and member.cluster == item_id and may)

    def pod(self, pod_id: str) -> Pod:
        """Return a pod. Raise Problem."""
        if pod_id not in self._account.pods:
            raise Problem(404, f"pod {pod_id} not found")
        return self._account.pods[pod_id]

    def _show(self, pod: Pod, status_code: int = 200) -> Answer:
        return Answer(status_code, pod_body(pod, self._clock()))

    # --- pods -------------------------------------------------------------------------------------------------------

    def _listPods(self, _: str, call: Call) -> Answer:  # noqa: N802
        with_members = call.query.get("includeClusterPods") == "true"
        pods = [pod for pod in self._account.pods.values() if with_members or pod.membership is None]
        return Answer(200, self._pods(pods))

    def _pods(self, pods: Iterable[Pod]) -> dict[str, Any]:
        now = self._clock()
        return {"pods": [pod_body(pod, now) for pod in pods]}

    def _createPod(self, _: str, call: Call) -> Answer:  # noqa: N802
        order = read_order(read_body(call.body, rest_body.CREATE_POD))
        if order.template and order.template not in self._account.templates:
            raise Problem(404, f"template {order.template} not found")
        return self._show(self._account.create(order), 201)

    def _getPod(self, pod_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        return self._show(self.pod(pod_id))

    def _updatePod(self, pod_id: str, call: Call) -> Answer:  # noqa: N802
        pod = self._single(pod_id)
        body = read_body(call.body, rest_body.UPDATE_POD)
        pod.locked = body.pop("locked", pod.locked)
        if not body:
            return self._show(pod)
        changed = changes(body)
        if set(changed) - {"name"}:
            return self._show(self._account.reset(pod_id, changed))
        pod.order = replace(pod.order, **changed)
        return self._show(pod)

    def _deletePod(self, pod_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        self._single(pod_id)
        self._account.terminate(pod_id)
        return Answer(204)

    def _podAction(self, pod_id: str, call: Call) -> Answer:  # noqa: N802
        pod = self._single(pod_id)
        action: str = read_body(call.body, rest_body.POD_ACTION)["action"]
        allowed = pod_body(pod, self._clock())["actions"]
        if action not in allowed:
            state = status(pod, self._clock())
            raise Problem(409, f"action {action} is not valid for a pod that is {state}")
        if action == "terminate":
            return self._deletePod(pod_id, call)
        acts = {"start": self._account.resume, "stop": self._account.stop, "restart": self._account.reset}
        return self._show(acts[action](pod_id))

    def _single(self, pod_id: str) -> Pod:
        """Return a pod that may be changed on its own. Raise Problem for a member of a cluster."""
        pod = self.pod(pod_id)
        if pod.membership is not None and self._clusters.get(pod.membership.cluster) is not None:
            raise Problem(409, "pod belongs to a cluster and cannot be modified via the pod endpoints")
        return pod

    # --- clusters ---------------------------------------------------------------------------------------------------

    def _cluster(self, cluster_id: str) -> Cluster:
        cluster = self._clusters.get(cluster_id)
        if cluster is None:
            raise Problem(404, f"cluster {cluster_id} not found")
        return cluster

    def _cluster_body(self, cluster: Cluster) -> dict[str, Any]:
        return cluster_body(cluster, self._clusters.members(cluster), self._clock())

    def _listClusters(self, _: str, call: Call) -> Answer:  # noqa: N802, ARG002
        return Answer(200, {"clusters": list(map(self._cluster_body, self._clusters.all()))})

    def _createCluster(self, _: str, call: Call) -> Answer:  # noqa: N802
        body = read_body(call.body, rest_body.CREATE_CLUSTER)
        order, nodes = read_cluster(body)
        made = self._clusters.create(body["name"], body["type"], order, nodes)
        return Answer(201, self._cluster_body(made))

    def _getCluster(self, cluster_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        return Answer(200, self._cluster_body(self._cluster(cluster_id)))

    def _updateCluster(self, cluster_id: str, call: Call) -> Answer:  # noqa: N802
        cluster = self._cluster(cluster_id)
        self._clusters.rename(cluster, read_body(call.body, rest_body.UPDATE_CLUSTER)["name"])
        return Answer(200, self._cluster_body(cluster))

    def _deleteCluster(self, cluster_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        self._clusters.delete(self._cluster(cluster_id))
        return Answer(204)

    def _listClusterPods(self, cluster_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        return Answer(200, self._pods(self._clusters.members(self._cluster(cluster_id))))

    # --- the catalogue ----------------------------------------------------------------------------------------------

    def _listGpuTypes(self, _: str, call: Call) -> Answer:  # noqa: N802
        return Answer(200, self._catalogue.gpus(call.query))

    def _getGpuType(self, gpu_id: str, call: Call) -> Answer:  # noqa: N802
        return Answer(200, self._catalogue.gpu(gpu_id, call.query))

    def _listCpuTypes(self, _: str, call: Call) -> Answer:  # noqa: N802
        return Answer(200, self._catalogue.cpus(call.query))

    def _getCpuType(self, flavor_id: str, call: Call) -> Answer:  # noqa: N802
        return Answer(200, self._catalogue.cpu(flavor_id, call.query))

    def _listDataCenters(self, _: str, call: Call) -> Answer:  # noqa: N802
        return Answer(200, self._catalogue.datacenters(call.query))

    def _getDataCenter(self, place_id: str, call: Call) -> Answer:  # noqa: N802
        return Answer(200, self._catalogue.datacenter(place_id, call.query))

    # --- network volumes --------------------------------------------------------------------------------------------

    def _listNetworkVolumes(self, _: str, call: Call) -> Answer:  # noqa: N802, ARG002
        return Answer(200, {"networkVolumes": [volume_body(v) for v in self._account.volumes.values()]})

    def _createNetworkVolume(self, _: str, call: Call) -> Answer:  # noqa: N802
        body = read_body(call.body, rest_body.CREATE_VOLUME)
        made = self._account.create_volume(
            body["name"], body["size"], body["dataCenter"], tier=body.get("type", "")
        )
        return Answer(201, volume_body(made))

    def _check_volume(self, volume_id: str) -> None:
        if volume_id not in self._account.volumes:
            raise Problem(404, f"network volume {volume_id} not found")

    def _getNetworkVolume(self, volume_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        self._check_volume(volume_id)
        return Answer(200, volume_body(self._account.volumes[volume_id]))

    def _updateNetworkVolume(self, volume_id: str, call: Call) -> Answer:  # noqa: N802
        self._check_volume(volume_id)
        body = read_body(call.body, rest_body.UPDATE_VOLUME)
        if not body:
            raise Problem(422, "validation failed", ("body: expected at least 1 property",))
        return Answer(
            200, volume_body(self._account.update_volume(volume_id, body.get("name"), body.get("size")))
        )

    def _deleteNetworkVolume(self, volume_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        self._check_volume(volume_id)
        self._account.delete_volume(volume_id)
        self._when_volume_deleted(volume_id)
        return Answer(204)

    # --- registry credentials ---------------------------------------------------------------------------------------

    def _listRegistries(self, _: str, call: Call) -> Answer:  # noqa: N802, ARG002
        return Answer(200, {"registries": list(map(registry, self._account.registries.values()))})

    def _createRegistry(self, _: str, call: Call) -> Answer:  # noqa: N802
        body = read_body(call.body, rest_body.CREATE_REGISTRY)
        return Answer(201, registry(self._account.add_registry(**body)))

    def _check_registry(self, registry_id: str) -> None:
        if registry_id not in self._account.registries:
            raise Problem(404, f"registry {registry_id} not found")

    def _getRegistry(self, registry_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        self._check_registry(registry_id)
        return Answer(200, registry(self._account.registries[registry_id]))

    def _deleteRegistry(self, registry_id: str, call: Call) -> Answer:  # noqa: N802, ARG002
        self._check_registry(registry_id)
        self._account.delete_registry(registry_id)
        return Answer(204)

    # --- the account ------------------------------------------------------------------------------------------------

    def _getSshKeys(self, _: str, call: Call) -> Answer:  # noqa: N802, ARG002
        return Answer(200, {"keys": [line for line in self._account.pub_key.splitlines() if line.strip()]})

    def _updateSshKeys(self, _: str, call: Call) -> Answer:  # noqa: N802
        keys = read_body(call.body, rest_body.SSH_KEYS)["keys"]
        self._account.pub_key = "\n".join(keys)
        return Answer(200, {"keys": keys})

    def _listBilling(self, _: str, call: Call) -> Answer:  # noqa: N802
        return self._bill(rest_billing.account_bill, call)

    def _listPodBilling(self, _: str, call: Call) -> Answer:  # noqa: N802
        return self._bill(rest_billing.pod_bill, call)

    def _listNetworkVolumeBilling(self, _: str, call: Call) -> Answer:  # noqa: N802
        return self._bill(rest_billing.volume_bill, call)

    def _listClusterBilling(self, _: str, call: Call) -> Answer:  # noqa: N802
        return self._bill(rest_billing.cluster_bill, call)

    def _bill(self, answer: Callable[[Ledger, Mapping[str, str], float], Any], call: Call) -> Answer:
        self._account.settle()
        return Answer(200, answer(self._account.ledger, call.query, self._clock()))


def _wishes(body: bytes) -> dict[str, str]:
    """Return the values of a request body that faults compare, as far as it can be read."""
    try:
        fields = read_body(body, lambda value, where: iter(() if isinstance(value, dict) else (where,)))
    except Problem:
        return {}
    gpu, places = fields.get("gpu"), fields.get("dataCenterIds")
    values = {
        "name": fields.get("name"),
        "gpu": gpu.get("id") if isinstance(gpu, dict) else None,
        "dc": ",".join(map(str, places)) if isinstance(places, list) else None,
        "cloud": str(fields.get("cloud", "SECURE")).lower() if gpu else None,
        "action": {"start": "resume"}.get(fields.get("action", ""), fields.get("action")),
    }
    return {key: str(value) for key, value in values.items() if value}
