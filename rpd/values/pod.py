"""Pods: what is asked for (PodRequest), on offer (Offer), there (PodInfo), and who rents it (Provider)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from rpd.values.job import CloudChoice, Gpu, Storage

NAME_PREFIX = "rpd-"
"""Every pod rpd makes is named ``rpd-<run>-<node>-<random>``: the stamp that says a pod is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRequest:
    """One kind of pod that a node needs: a job's fields after flags and fixtures had their say. Sizes are GB."""

    image: str
    gpu: Gpu | None
    storage: Storage = field(default_factory=Storage)
    mount: str = "/workspace"
    datacenters: tuple[str, ...] = ()
    cloud: CloudChoice = CloudChoice.SECURE
    fallback_cloud: CloudChoice | None = None
    spot: bool = False
    container_disk_gb: int = 20
    min_vcpu: int | None = None
    min_memory_gb: int | None = None
    cuda: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    docker_args: str | None = None
    template_id: str | None = None


class Cloud(StrEnum):
    """One of RunPod's two clouds."""

    SECURE = "secure"
    COMMUNITY = "community"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One thing to try: this GPU type, so many, in that cloud and data centre, at this rate for the whole pod.

    ``datacenter`` None leaves the choice to RunPod. ``usd_per_hr`` None: the price is not known.
    """

    gpu_id: str | None
    count: int
    cloud: Cloud
    datacenter: str | None
    usd_per_hr: float | None
    stock: str = "unknown"

    def __str__(self) -> str:
        gpu = (
            "CPU"
            if self.gpu_id is None
            else f"{self.count}x {self.gpu_id}"
            if self.count > 1
            else self.gpu_id
        )
        return f"{gpu} in {self.datacenter or 'any data centre'} ({self.cloud})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """One create call: a request at one offer under a unique name. ``env`` holds the request's and rpd's own."""

    name: str
    request: PodRequest
    offer: Offer
    env: Mapping[str, str]


class PodStatus(StrEnum):
    """What RunPod says it wants of a pod; RUNNING long before anything runs."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    EXITED = "EXITED"
    TERMINATED = "TERMINATED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshEndpoint:
    """Where sshd of a pod listens."""

    host: str
    port: int
    user: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInfo:
    """A pod as RunPod describes it; ``ssh`` is None until it has a public port 22, ``uptime_seconds`` before boot."""

    id: str
    name: str
    status: PodStatus
    image: str = ""
    gpu: str | None = None
    gpu_count: int = 0
    datacenter: str | None = None
    cloud: Cloud | None = None
    usd_per_hr: float | None = None
    ssh: SshEndpoint | None = None
    uptime_seconds: int | None = None
    machine_id: str | None = None
    last_status_change: str = ""
    volume_gb: int = 0
    container_disk_gb: int = 0
    spot: bool = False
    locked: bool = False
    """Whether somebody locked it: then RunPod neither stops nor resets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays. ``balance_usd`` and ``spend_usd_per_hr`` are None where the API does not tell."""

    id: str
    balance_usd: float | None = None
    spend_usd_per_hr: float | None = None


class Provider(Protocol):
    """The seam to RunPod. Every method raises ProviderError (its named subclasses) and nothing else of its own.

    Methods may be called from several threads at once.
    """

    @property
    def name(self) -> str:
        """For people: ``RunPod``, ``emulator``, ``dry run``."""
        ...

    def account(self) -> Account:
        """Check the key and return whose it is. Raises AuthError."""
        ...

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return what may be tried for ``request``, best first. Empty if nothing RunPod rents can ever serve it."""
        ...

    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a pod. Raises NoCapacity (try the next offer) and AmbiguousCreate (look for ``spec.name`` first)."""
        ...

    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, None if RunPod knows it no longer."""
        ...

    def list(self) -> Sequence[PodInfo]:
        """Return all pods of the account, whoever made them."""
        ...

    def stop(self, pod_id: str) -> None:
        """Stop the pod: its GPU is free, its volume stays and bills. Raises PodNotFound."""
        ...

    def resume(self, pod_id: str, gpu_count: int) -> None:
        """Start a stopped pod with so many GPUs. Raises NoCapacity where its host has not as many free, PodNotFound."""
        ...

    def delete(self, pod_id: str) -> None:
        """Delete the pod and its disks; a pod that is gone already is a success. Only ``get`` proves it."""
        ...

    def close(self) -> None:
        """Give back what the provider holds (connections, a local server)."""
        ...
