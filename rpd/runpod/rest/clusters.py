"""Instant Clusters over REST v2: rented, found, read and released as a whole, each as one pod with members."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from rpd.errors import AuthError, ImpossibleRequest, NotPermitted, PodNotFound, TransientError
from rpd.runpod.catalogue import offers
from rpd.runpod.catalogue.live import LiveCatalogue, Question
from rpd.runpod.catalogue.model import Catalogue
from rpd.runpod.create_texts import secret_texts, sendable
from rpd.runpod.rate_limit import Retry
from rpd.runpod.reconcile import Patience, UnsureCreate, as_asked, living, reconciled
from rpd.runpod.response import identifier, table, tables, text, understood, whole
from rpd.runpod.rest import pods
from rpd.runpod.rest.client import NotThere, Rest
from rpd.values.frozen import replace
from rpd.values.pod import (
    Account,
    Cloud,
    NetworkVolume,
    Offer,
    PodInfo,
    PodRequest,
    PodSpec,
    PodStatus,
    Provider,
)

T = TypeVar("T")

_CLUSTERS = "/clusters"
_GONE = (PodStatus.EXITED, PodStatus.TERMINATED)


class ClusterProvider(Provider):
    """Rents clusters: each is a pod with ``members``, created, found by name and deleted as one.

    ``volumes`` reads the network volumes of the account; ``completed`` adds what a request needs besides GPUs
    to a catalogue. RunPod can neither stop a cluster nor restart one.
    """

    def __init__(
        self,
        rest: Rest,
        *,
        name: str,
        live: LiveCatalogue,
        retry: Retry,
        patience: Patience,
        volumes: Callable[[], tuple[NetworkVolume, ...]],
        completed: Callable[[PodRequest, Catalogue], Catalogue],
    ) -> None:
        self._name = name
        self._rest = rest
        self._live = live
        self._retry = retry
        self._patience = patience
        self._volumes = volumes
        self._completed = completed

    @property
    def name(self) -> str:
        """The name shown to users."""
        return self._name

    def account(self) -> Account:
        """Check the API key by reading the list of clusters. Raise AuthError."""
        self.list()
        return Account(id="")

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the offers to try for ``request``, best first, at the rate of all members together."""
        assert request.cluster is not None
        catalogue = self._live.ask(replace(Question.of(request), cluster=True))
        return offers.of_clusters(request, request.cluster, self._completed(request, catalogue))

    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a cluster, once. Raise NoCapacity, AuthError if the key may not, and the errors of single pods.

        If the response is lost, or may be wrong, the cluster is found by its name.
        """
        volume = spec.request.storage.network_volume
        volume_id = None if volume is None else offers.find_volume(volume, self._volumes()).id
        body = create_body(spec, network_volume_id=volume_id)
        try:
            answer = self._rest.create(_CLUSTERS, body, secrets=secret_texts(spec), sold_out=(400,))
        except UnsureCreate as unsure:
            return reconciled(spec, unsure, self._patience, self.list)
        except NotPermitted as refused:
            raise AuthError(
                f"the API key may not create clusters, which only the role Admin may ({refused.words}). "
                "Use the key of an admin, or ask one to run this"
            ) from None
        expected = as_asked(spec, str(answer["id"]))
        # Its members do not exist yet; their details are read at the first poll.
        return replace(expected, gpu_count=spec.offer.count * spec.offer.nodes, nodes=spec.offer.nodes)

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the cluster with its members, None if neither it nor any member exists any more."""
        path = _path_of(pod_id)
        try:
            members = self._read(lambda: _read_members(self._rest.get(f"{path}/pods")))
        except NotThere:
            members = ()
        if members:
            return _joined(pod_id, "", members)
        # It has no members yet, or none any more, or a gateway does not know the path: the lists decide.
        return next((each for each in self.list() if each.id == pod_id), None)

    def list(self) -> Sequence[PodInfo]:
        """Return the account's clusters, even those of which only members are left.

        Raise TransientError if incomplete.

        The list of pods includes members only on request.
        """
        clusters = self._read(lambda: _read_clusters(self._rest.get(_CLUSTERS)))
        rows = self._read(lambda: _read_members(self._rest.get("/pods", {"includeClusterPods": "true"})))
        members = defaultdict(list)
        for row in rows:
            members[row.cluster_id].append(row)
        whole_clusters = [_joined(each.id, each.name, members.pop(each.id, ()), each) for each in clusters]
        return [*whole_clusters, *(_joined(cluster_id, "", left) for cluster_id, left in members.items())]

    def stop(self, pod_id: str) -> None:
        """Raise ImpossibleRequest: RunPod cannot stop clusters."""
        raise ImpossibleRequest(f"RunPod cannot stop clusters: {pod_id} can only be deleted")

    def resume(self, pod_id: str, gpu_count: int) -> None:
        """Raise ImpossibleRequest, as ``stop`` does."""
        del gpu_count
        raise ImpossibleRequest(f"RunPod cannot restart clusters: {pod_id}")

    def delete(self, pod_id: str) -> None:
        """Delete the cluster with all its members; succeed if it is gone already.

        Members that outlived their cluster are deleted one by one.
        """
        path = _path_of(pod_id)
        try:
            self._read(lambda: self._rest.delete(path))
        except PodNotFound:
            left = next((each for each in self.list() if each.id == pod_id), None)
            for member in left.members if left else ():
                self._delete_member(member)

    def _delete_member(self, member: PodInfo) -> None:
        try:
            self._read(lambda: self._rest.delete(pods.path_of(member.id)))
        except PodNotFound:
            return

    def logs(self, pod_id: str, *, tail: int = 20) -> tuple[str, ...]:
        """Return the last lines of the machine's log about a member. Raise PodNotFound."""
        return pods.read_logs(self._rest, pod_id, tail)

    def output(self, pod_id: str, *, tail: int = 20) -> tuple[str, ...]:
        """Return the last lines of the output of a member's container. Raise PodNotFound."""
        return pods.read_logs(self._rest, pod_id, tail, "container")

    def _read(self, act: Callable[[], T]) -> T:
        return self._retry.call(act)


def create_body(spec: PodSpec, *, network_volume_id: str | None = None) -> dict[str, Any]:
    """Return the body of ``POST /v2/clusters``: that of a pod without the fields that clusters lack."""
    request, offer = spec.request, spec.offer
    cluster = request.cluster
    if cluster is None or offer.gpu_id is None:
        raise ImpossibleRequest("a cluster needs a GPU: RunPod has no clusters of CPU pods")
    body = pods.create_body(spec, network_volume_id=network_volume_id)
    for name in ("cloud", "gpu", "registry", "templateId"):
        body.pop(name, None)
    compute = {"gpuTypeId": offer.gpu_id, "gpuCountPerPod": offer.count, "podCount": cluster.nodes}
    return {**body, "type": cluster.type.value.upper(), "compute": compute}


def _path_of(cluster_id: str) -> str:
    """Return the path of a cluster. Raise ImpossibleRequest if it cannot be an id."""
    return f"{_CLUSTERS}/{quote(sendable(cluster_id, 'the cluster id'), safe='')}"


def _read_clusters(answer: Any) -> tuple[PodInfo, ...]:
    rows = table(answer).get("clusters")
    # An incomplete list must not be read as "nothing is running".
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        raise TransientError("RunPod returned an incomplete list of clusters")
    return tuple(understood(_cluster, row) for row in rows)


def _cluster(row: Mapping[str, Any]) -> PodInfo:
    """Return a cluster from its own row, without its members."""
    compute = table(row.get("compute"))
    nodes, each = whole(compute.get("podCount")) or 0, whole(compute.get("gpuCountPerPod")) or 0
    return PodInfo(
        id=identifier(row.get("id")),
        name=text(row.get("name")),
        status=PodStatus.RUNNING,
        gpu=text(compute.get("gpuTypeId")) or None,
        gpu_count=nodes * each,
        nodes=nodes,
        datacenter=text(row.get("dataCenterId")) or None,
        cloud=Cloud.SECURE,
        last_status_change=_counts(row),
    )


def _counts(row: Mapping[str, Any]) -> str:
    """Return the number of members in each state, in words."""
    statuses = table(table(row.get("pods")).get("byStatus"))
    counts = [f"{number} {text(status).lower()}" for status, number in statuses.items() if whole(number)]
    return ", ".join(counts) or "no members yet"


def _read_members(answer: Any) -> tuple[PodInfo, ...]:
    """Return the pods in a response that belong to a cluster, in the order of their ranks."""
    rows = table(answer).get("pods")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        raise TransientError("RunPod returned an incomplete list of pods")
    members = [_member(row) for row in tables(rows) if table(row.get("cluster")).get("id")]
    return tuple(sorted(filter(None, map(living, members)), key=_place))


def _member(row: Mapping[str, Any]) -> PodInfo:
    membership = table(row.get("cluster"))
    return replace(
        understood(pods.pod_info, row),
        cluster_id=identifier(membership.get("id")),
        rank=whole(membership.get("rank")),
        private_ip=text(membership.get("ip")),
    )


def _place(member: PodInfo) -> tuple[bool, int, str]:
    return member.rank is None, member.rank or 0, member.id


def _joined(cluster_id: str, name: str, members: Iterable[PodInfo], row: PodInfo | None = None) -> PodInfo:
    """Return a cluster with its members, at the rate of all; it runs, and bills, as long as any of them does."""
    there = tuple(sorted(members, key=_place))
    base = row or PodInfo(id=cluster_id, name=name, status=PodStatus.RUNNING, nodes=len(there))
    if not there:
        return base
    rates = [member.usd_per_hr for member in there]
    ended = [member for member in there if member.status in _GONE]
    first = there[0]
    return replace(
        base,
        status=ended[0].status if len(ended) == len(there) else PodStatus.RUNNING,
        image=first.image,
        gpu=first.gpu or base.gpu,
        gpu_count=sum(member.gpu_count for member in there),
        datacenter=first.datacenter or base.datacenter,
        cloud=first.cloud or Cloud.SECURE,
        usd_per_hr=None if None in rates else sum(rate for rate in rates if rate is not None),
        ssh=first.ssh if first.rank == 0 else None,
        last_status_change=f"{ended[0].id}: {ended[0].last_status_change}"
        if ended
        else base.last_status_change,
        volume_gb=sum(member.volume_gb for member in there),
        container_disk_gb=sum(member.container_disk_gb for member in there),
        locked=any(member.locked for member in there),
        nodes=max(base.nodes, len(there)),
        members=there,
    )
