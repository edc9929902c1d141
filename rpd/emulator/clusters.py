"""Instant Clusters: pods that come and go together, in one private network, by RunPod's rules."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rpd.emulator.account import Account
from rpd.emulator.faults import FaultBook
from rpd.emulator.model import Membership, Order, Pod, new_id
from rpd.emulator.refusals import Refusal

MASTER_PORT = 29500
_MOST_NODES = 8
_NETWORKS = 256
_PRIVATE = "10.65"
"""How the addresses of members begin that have a network of their own, as RunPod's do."""
_ROLES = {"SLURM": ("SLURM_CONTROLLER", "SLURM_COMPUTE"), "RAY": ("RAY_HEAD", "RAY_WORKER")}
_DENIED = "Only admins of the team can create, stop or delete clusters."


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A cluster: the order that each member was made from, and the private network they share."""

    id: str
    name: str
    kind: str
    order: Order
    subnet: str
    created_at: float
    members: list[str] = field(default_factory=list)
    """Their ids by rank, also of those that are gone."""


class Clusters:
    """The clusters of an account.

    ``member_ends`` is how far the key of a member reaches, since RunPod's texts differ: it may end ``itself``
    (over GraphQL), the whole ``cluster``, or ``nothing``. ``has_networks`` returns whether members have
    private networks; without them they have addresses of the loopback network.
    """

    def __init__(
        self,
        account: Account,
        faults: FaultBook,
        clock: Callable[[], float],
        has_networks: Callable[[], bool] = lambda: False,
    ) -> None:
        self.member_ends = "itself"
        self._account = account
        self._faults = faults
        self._clock = clock
        self._clusters: dict[str, Cluster] = {}
        self._has_networks = has_networks
        # Shared with other emulators of this machine.
        self._loopback = f"127.{64 + secrets.randbelow(64)}"
        self._number = secrets.randbelow(_NETWORKS)
        account.end_member = self.terminate_member

    def all(self) -> list[Cluster]:
        """Return them all."""
        return list(self._clusters.values())

    def get(self, cluster_id: str) -> Cluster | None:
        """Return a cluster, None for one that is deleted or never was."""
        return self._clusters.get(cluster_id)

    def members(self, cluster: Cluster) -> list[Pod]:
        """Return the members that are there, by rank."""
        return [self._account.pods[each] for each in cluster.members if each in self._account.pods]

    def create(self, name: str, kind: str, order: Order, nodes: int) -> Cluster:
        """Rent a cluster, all of it or nothing."""
        self._check_role()
        if not 2 <= nodes <= _MOST_NODES:
            raise Refusal(f"podCount must be between 2 and {_MOST_NODES}", "BAD_USER_INPUT")
        net = f"{_PRIVATE if self._has_networks() else self._loopback}.{self._number}"
        self._number = (self._number + 1) % _NETWORKS
        cluster = Cluster(
            id=f"c{new_id(13)}", name=name, kind=kind, order=order, subnet=net, created_at=self._clock()
        )
        orders = [
            replace(order, name=f"{name}-{rank}", env={**order.env, **_variables(net, rank, nodes, order)})
            for rank in range(nodes)
        ]
        first, worker = _ROLES.get(kind, ("", ""))
        members = [
            Membership(cluster=cluster.id, rank=rank, ip=_address(net, rank), role=worker if rank else first)
            for rank in range(nodes)
        ]
        cluster.members = [pod.id for pod in self._account.create_together(orders, members)]
        self._clusters[cluster.id] = cluster
        return cluster

    def rename(self, cluster: Cluster, name: str) -> None:
        """Rename a cluster."""
        cluster.name = name

    def delete(self, cluster: Cluster) -> None:
        """Delete a cluster with all its members."""
        self._check_role()
        del self._clusters[cluster.id]
        for pod in self.members(cluster):
            self._account.remove(pod)

    def terminate_member(self, pod: Pod) -> None:
        """Delete one member, where the platform lets it; with the last one the cluster is gone."""
        cluster = self._clusters.get(pod.membership.cluster) if pod.membership else None
        if cluster is not None and self.member_ends != "itself":
            raise Refusal("Pod belongs to a cluster and cannot be terminated.", "BAD_USER_INPUT")
        self._account.remove(pod)
        if cluster is not None and not self.members(cluster):
            del self._clusters[cluster.id]

    def _check_role(self) -> None:
        if self._faults.take({"not-admin"}, {"operation": "create"}):
            raise Refusal(_DENIED, "FORBIDDEN")


def _address(net: str, rank: int) -> str:
    return f"{net}.{rank + 2}"


def _variables(net: str, rank: int, nodes: int, order: Order) -> dict[str, str]:
    """Return the variables that RunPod sets on a member in addition to those it sets on every pod."""
    return {
        "PRIMARY_ADDR": _address(net, 0), "MASTER_ADDR": _address(net, 0),
        "PRIMARY_PORT": str(MASTER_PORT), "MASTER_PORT": str(MASTER_PORT),
        "NODE_ADDR": _address(net, rank), "NODE_RANK": str(rank), "NUM_NODES": str(nodes),
        "NUM_TRAINERS": str(order.count), "WORLD_SIZE": str(nodes * order.count),
    }  # fmt: skip
