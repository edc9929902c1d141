"""The contents of an account: pods, the orders they came from, templates, network volumes."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rpd.emulator.own_gpus import OwnGpu

_ID_LETTERS = string.ascii_lowercase + string.digits


def new_id(length: int = 14) -> str:
    """Return a random id as RunPod makes them."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(length))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request for a pod, from whichever face of the API. ``cloud`` is secure, community or all."""

    name: str = ""
    image: str = ""
    cloud: str = "all"
    gpu: str | None = None
    count: int = 1
    instance: str | None = None
    datacenter: str | None = None
    country: str | None = None
    container_disk_gb: int | None = None
    volume_gb: int = 0
    mount: str | None = None
    network_volume: str | None = None
    docker_args: str = ""
    ports: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    start_ssh: bool = True
    min_vcpu: int = 1
    min_memory_gb: int = 1
    cuda: tuple[str, ...] = ()
    bid_per_gpu: float | None = None
    deploy_cost: float | None = None
    registry: str | None = None
    compliance: tuple[str, ...] = ()
    global_network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The place of a pod in a cluster; ``ip`` is its address in the network of that, ``role`` empty for none."""

    cluster: str
    rank: int
    ip: str
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A running container: since when, and its ports as the API shows them."""

    started_at: float
    ports: tuple[dict[str, Any], ...]


@dataclass(slots=True, kw_only=True)
class Pod:
    """One pod. Times are unix seconds; ``generation`` counts starts; ``runtime`` is there while a container runs."""

    id: str
    order: Order
    cloud: str
    datacenter: str | None
    cost_per_hr: float
    vcpu: int
    memory_gb: int
    machine_id: str
    api_key: str
    env: dict[str, str]
    created_at: float
    last_started_at: float
    billed_until: float
    desired_status: str = "RUNNING"
    last_status_change: str = ""
    generation: int = 1
    gpu_count: int = 0
    runtime: Runtime | None = None
    locked: bool = False
    membership: Membership | None = None
    own_gpus: tuple[OwnGpu, ...] = ()
    """Those of this machine that it was lent."""
    died_at: float | None = None
    """When its machine died under it, while the API still calls it running."""

    @property
    def running(self) -> bool:
        """Whether it is meant to run, and so bills for its GPU."""
        return self.desired_status == "RUNNING"

    @property
    def gpu(self) -> str | None:
        """The GPU it really has: one of this machine, or the ordered type; None for a CPU pod."""
        return self.own_gpus[0].name if self.own_gpus else self.order.gpu

    @property
    def host_id(self) -> str:
        """``podHostId``, the user name at RunPod's SSH proxy."""
        return f"{self.id}-{self.machine_id[:8]}"

    @property
    def subject(self) -> dict[str, str]:
        """The values that a fault's ``match`` compares."""
        values = {"name": self.order.name, "pod": self.id, "gpu": self.order.gpu, "dc": self.datacenter}
        if self.membership is not None:
            values |= {"cluster": self.membership.cluster, "rank": str(self.membership.rank)}
        return {key: value for key, value in {**values, "cloud": self.cloud}.items() if value is not None}


@dataclass(slots=True, kw_only=True)
class Template:
    """A template: the values for fields that a request leaves out."""

    id: str
    name: str
    image: str
    docker_args: str = ""
    container_disk_gb: int = 20
    volume_gb: int = 0
    mount: str = "/workspace"
    ports: str = "22/tcp,8888/http"
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAuth:
    """Credentials for a container registry."""

    id: str
    name: str
    username: str
    password: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class NetworkVolume:
    """A network volume; size in GB, ``tier`` STANDARD or HIGH_PERFORMANCE."""

    id: str
    name: str
    size: int
    datacenter: str
    billed_until: float
    tier: str = "STANDARD"
