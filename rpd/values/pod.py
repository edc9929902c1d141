"""Pods: requested (PodRequest), on offer (Offer), rented (PodInfo), and who rents them (Provider)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from rpd.errors import ImpossibleRequest
from rpd.values.billing import Billing
from rpd.values.frozen import EMPTY, frozen
from rpd.values.job import CloudChoice, Cluster, Gpu, Registry, SshSource, Storage, Tier

NAME_PREFIX = "rpd-"
"""Every pod rpd makes is named ``rpd-<run>-<node>-<random>``: the stamp that says a pod is ours."""
OWNER_VARIABLE = "RPD_OWNER"
"""The variable in which a pod says whose it is."""


@frozen
class PodRequest:
    """One kind of pod that a node needs: a job's fields after flags and fixtures had their say. Sizes are GB."""

    image: str
    gpu: Gpu | None
    cluster: Cluster | None = None
    storage: Storage = Storage()
    mount: str = "/workspace"
    datacenters: tuple[str, ...] = ()
    cloud: CloudChoice = CloudChoice.SECURE
    fallback_cloud: CloudChoice | None = None
    spot: bool = False
    container_disk_gb: int = 20
    cpu: tuple[str, ...] = ()
    min_vcpu: int | None = None
    min_memory_gb: int | None = None
    cuda: tuple[str, ...] = ()
    min_cuda: str | None = None
    countries: tuple[str, ...] = ()
    compliance: tuple[str, ...] = ()
    global_network: bool = False
    ports: tuple[str, ...] = ()
    env: Mapping[str, str] = EMPTY
    docker_args: str | None = None
    registry: Registry | str | None = None
    ssh: SshSource = SshSource.AUTO
    template_id: str | None = None

    def __hash__(self) -> int:
        """Hash the fields in which requests of one run differ; the environment may be a dict, which has no hash."""
        return hash(
            (self.image, self.gpu, self.cluster, self.storage, self.datacenters, self.cloud, self.cpu)
        )

    @property
    def nodes(self) -> int:
        """How many pods that is: those of a cluster, else one."""
        return self.cluster.nodes if self.cluster else 1


class Cloud(StrEnum):
    """One of RunPod's two clouds."""

    SECURE = "secure"
    COMMUNITY = "community"


@frozen
class Offer:
    """One thing to try: this GPU type, so many, in that cloud and data centre, at this rate for the whole pod.

    Of a cluster, ``count`` is that of each of its ``nodes``, and the rate that of all of them.
    ``datacenter`` None leaves the choice to RunPod, in ``country`` if there is one: that is how Community hosts are
    asked for. ``cpu`` is the flavour of a CPU pod, where one is asked for. ``usd_per_hr`` None: the price is not known.
    """

    gpu_id: str | None
    count: int
    cloud: Cloud
    datacenter: str | None
    usd_per_hr: float | None
    stock: str = "unknown"
    country: str | None = None
    cpu: str | None = None
    nodes: int = 1

    def __str__(self) -> str:
        gpu = (
            f"CPU {self.cpu or ''}".rstrip()
            if self.gpu_id is None
            else f"{self.count}x {self.gpu_id}"
            if self.count > 1
            else self.gpu_id
        )
        if self.nodes > 1:
            gpu = f"{self.nodes} nodes of {gpu}"
        anywhere = f"any data centre of {self.country}" if self.country else "any data centre"
        return f"{gpu} in {self.datacenter or anywhere} ({self.cloud})"


@frozen
class PodSpec:
    """One create call: a request at one offer under a unique name. ``env`` holds the request's and rpd's own.

    ``registry_id``: the credentials for its image that the account has; None for a public one.
    """

    name: str
    request: PodRequest
    offer: Offer
    env: Mapping[str, str]
    registry_id: str | None = None


class PodStatus(StrEnum):
    """RunPod's goal for a pod; RUNNING long before anything runs."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    EXITED = "EXITED"
    TERMINATED = "TERMINATED"
    UNKNOWN = "UNKNOWN"


@frozen
class SshEndpoint:
    """Where sshd of a pod listens."""

    host: str
    port: int
    user: str = "root"


@frozen
class PodInfo:
    """A pod as RunPod describes it; ``ssh`` is None until it has a public port 22, ``uptime_seconds`` before boot.

    A cluster is a pod with ``members``, whose GPUs, disks and rates are added up. Each of them is a pod with the
    ``cluster_id``, its ``rank`` and its address in the network of the cluster, as soon as RunPod tells them.
    """

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
    nodes: int = 1
    """How many members a cluster has, or had when it was asked for."""
    members: tuple[PodInfo, ...] = ()
    cluster_id: str = ""
    rank: int | None = None
    private_ip: str = ""

    @property
    def is_cluster(self) -> bool:
        """Whether it is several pods that come and go together."""
        return self.nodes > 1 or bool(self.members)


@frozen
class NetworkVolume:
    """A network volume of the account; ``size_gb`` in GB, ``tier`` None if the API does not report it."""

    id: str
    name: str
    datacenter: str | None
    size_gb: int = 0
    tier: Tier | None = None


@frozen
class Place:
    """A data centre: the certificates it holds, the tiers of its network volumes, whether pods of others reach it."""

    id: str
    certificates: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    global_network: bool = False


@frozen
class RegistryAuth:
    """Credentials for a container registry stored in the account; they cannot be read back."""

    id: str
    name: str


@frozen
class Account:
    """The paying account.

    Values that the API does not report are None; ``limit_usd_per_hr`` is its spending limit.
    """

    id: str
    balance_usd: float | None = None
    spend_usd_per_hr: float | None = None
    limit_usd_per_hr: float | None = None


@frozen
class Quota:
    """Calls that the API still takes in a window of time: ``left`` until ``seconds`` are over."""

    window: str
    left: int
    seconds: float


def _drop(text: str) -> None:
    """Drop a notice without a listener."""


class Provider(ABC):
    """The source of pods. A plugin derives its provider from this class and returns it from ``rpd_provider``.

    A method that fails raises ProviderError or one of its subclasses: the class decides whether rpd retries,
    tries the next offer or ends the run. Methods may be called from several threads at once.
    """

    # --- required of every provider -------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """The name shown to users: ``RunPod``, ``emulator``, ``dry run``."""

    @abstractmethod
    def account(self) -> Account:
        """Check the API key and return the account it belongs to. Raise AuthError."""

    @abstractmethod
    def offers(self, request: PodRequest) -> Sequence[Offer]:
        """Return the offers that fit ``request``, best first; empty if none ever can."""

    @abstractmethod
    def create(self, spec: PodSpec) -> PodInfo:
        """Rent a pod. Raise NoCapacity (rpd tries the next offer) or AmbiguousCreate (the pod may exist)."""

    @abstractmethod
    def get(self, pod_id: str) -> PodInfo | None:
        """Return the pod, or None if it no longer exists."""

    @abstractmethod
    def list(self) -> Sequence[PodInfo]:
        """Return all pods of the account, including those that rpd did not create."""

    @abstractmethod
    def stop(self, pod_id: str) -> None:
        """Stop the pod: its GPU is free, its volume stays and bills. Raise PodNotFound."""

    @abstractmethod
    def resume(self, pod_id: str, gpu_count: int) -> None:
        """Start a stopped pod with ``gpu_count`` GPUs. Raise NoCapacity if its host has too few free, PodNotFound."""

    @abstractmethod
    def delete(self, pod_id: str) -> None:
        """Delete the pod and its disks. Succeeds if the pod is already gone; rpd verifies it with ``get``."""

    # --- optional -------------------------------------------------------------------------------------------

    notify: Callable[[str], None] = staticmethod(_drop)
    """Call it with a sentence for the user. rpd sets it before the first call, and shows each sentence as a notice."""

    @property
    def rents_nothing(self) -> bool:
        """Whether it only pretends: every create succeeds at once and costs nothing. rpd's own of dry runs does."""
        return False

    def logs(self, pod_id: str, *, tail: int = 20) -> Sequence[str]:  # noqa: ARG002 - the default has none
        """Return the last ``tail`` lines of the machine's log about the pod; empty if there are no logs."""
        return ()

    def output(self, pod_id: str, *, tail: int = 20) -> Sequence[str]:  # noqa: ARG002 - the default has none
        """Return the last ``tail`` lines of the container's output; empty if there are none."""
        return ()

    def volumes(self) -> Sequence[NetworkVolume] | None:
        """Return the network volumes of the account, or None if the provider cannot list them."""
        return None

    def add_volume(self, name: str, size_gb: int, datacenter: str, tier: Tier | None) -> NetworkVolume:
        """Make a network volume, which costs money from then on. Raise AmbiguousCreate as ``create`` does."""
        del name, size_gb, datacenter, tier
        raise ImpossibleRequest(f"{self.name} has no network volumes")

    def remove_volume(self, volume_id: str) -> None:
        """Delete a network volume with all files on it; succeeds if it is gone. Raise RequestRejected while in use."""
        del volume_id
        raise ImpossibleRequest(f"{self.name} has no network volumes")

    def may_rent(self) -> bool | None:
        """Return whether the key may do more than read, found out without changing anything; None if unknown."""
        return None

    def quotas(self) -> Sequence[Quota]:
        """Return how many calls the API takes yet, as far as its answers have said."""
        return ()

    def registries(self) -> Sequence[RegistryAuth] | None:
        """Return the registry credentials of the account, or None if the provider cannot list them."""
        return None

    def add_registry(self, name: str, username: str, password: str) -> str:
        """Store registry credentials under a name and return their id. Raise AmbiguousCreate as ``create`` does."""
        del name, username, password
        raise ImpossibleRequest(f"{self.name} does not store registry credentials: leave registry out")

    def remove_registry(self, registry_id: str) -> None:
        """Delete registry credentials; succeeds if they are gone. Raise RequestRejected while a pod uses them."""
        del registry_id

    def billing(self, since: float, until: float) -> Billing | None:  # noqa: ARG002 - the default has none
        """Return the charges of the account between two moments (s since 1970), None if the provider has none.

        Raise BillingDenied if the key may not read them.
        """
        return None

    def owners(self) -> Mapping[str, str]:
        """Return whose the pods of the account are by their own stamp, ``RPD_OWNER``, by the id of the pod."""
        return {}

    def places(self) -> Sequence[Place] | None:
        """Return all data centres with their properties, or None if the provider cannot list them."""
        return None

    def datacenters(self) -> frozenset[str] | None:
        """Return the ids of all data centres, or None if the provider cannot list them."""
        return None

    def clusters(self) -> Provider | None:
        """Return the provider of clusters, each a pod with ``members``; None if it rents none."""
        return None

    def close(self) -> None:  # noqa: B027 - not every provider holds something
        """Release resources such as open connections."""


def renter_of(provider: Provider, request: PodRequest) -> Provider:
    """Return the provider of a request: ``provider``, or its clusters. Raise ImpossibleRequest if there is none."""
    if request.cluster is None:
        return provider
    clusters = provider.clusters()
    if clusters is None:
        raise ImpossibleRequest(f"{provider.name} does not rent clusters: leave cluster out")
    return clusters
