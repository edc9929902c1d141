"""The account: its pods, volumes and money, and the rules RunPod applies to them. It has no clock and starts nothing.

Texts and codes of refusals are the ones RunPod's users report.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from rpd.emulator import catalogue
from rpd.emulator.faults import FaultBook

STOCK_OUT = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)
STOCK_OUT_SPOT = (
    "There are no longer any instances available with the request specifications. Please try again later."
)
HOST_FULL = "There are not enough free GPUs on the host machine to start this pod."
HICCUP = "Something went wrong. Please try again later or contact support."
_ID_LETTERS = string.ascii_lowercase + string.digits
_SECRET_REFERENCE = "RUNPOD_SECRET_"  # noqa: S105 - the prefix of a name, not a secret


class Refusal(Exception):
    """RunPod says no: the message a client sees, and ``extensions.code``."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(slots=True, kw_only=True)
class NetworkVolume:
    """A network volume; size in GB."""

    id: str
    name: str
    size: int
    datacenter: str
    billed_until: float


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
    died_at: float | None = None
    """When its machine died under it, while the API still calls it running."""

    @property
    def running(self) -> bool:
        """Whether it is meant to run, and so bills for its GPU."""
        return self.desired_status == "RUNNING"

    @property
    def host_id(self) -> str:
        """``podHostId``, the user name at RunPod's SSH proxy."""
        return f"{self.id}-{self.machine_id[:8]}"

    @property
    def subject(self) -> dict[str, str]:
        """What a fault's ``match`` compares."""
        known = {"name": self.order.name, "pod": self.id, "gpu": self.order.gpu, "dc": self.datacenter}
        return {key: value for key, value in {**known, "cloud": self.cloud}.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A running container: since when, and its ports as the API shows them."""

    started_at: float
    ports: tuple[dict[str, Any], ...]


@dataclass(slots=True, kw_only=True)
class Bill:
    """What one pod cost in one hour, in USD; ``start`` is that hour as a unix time."""

    pod_id: str
    start: int
    compute: float = 0.0
    disk: float = 0.0
    cpu_only: bool = False


class Bills:
    """What every pod has cost so far, hour by hour, deleted pods included."""

    def __init__(self) -> None:
        self._bills: dict[tuple[str, int], Bill] = {}

    def charge(self, pod: Pod, seconds: float, now: float) -> None:
        """Add the last ``seconds`` of a pod."""
        start = int(now) // 3600 * 3600
        bill = self._bills.setdefault(
            (pod.id, start), Bill(pod_id=pod.id, start=start, cpu_only=pod.order.gpu is None)
        )
        compute = pod.cost_per_hr if pod.running else 0.0
        bill.compute += compute * seconds / 3600
        bill.disk += (rate(pod) - compute) * seconds / 3600

    def all(self) -> list[Bill]:
        """Return them in order of time."""
        return sorted(self._bills.values(), key=lambda bill: (bill.start, bill.pod_id))


class Host(Protocol):
    """Who runs the pods of an account."""

    def start(self, pod: Pod) -> None:
        """Boot ``pod``, later calling ``Account.container_started``."""
        ...

    def kill(self, pod: Pod) -> None:
        """End all its processes; its container disk goes, its volume stays."""
        ...

    def delete(self, pod: Pod) -> None:
        """End all its processes and delete all its disks but a network volume."""
        ...


@dataclass(slots=True, kw_only=True)
class Template:
    """What a template fills in where a request says nothing."""

    id: str
    name: str
    image: str
    docker_args: str = ""
    container_disk_gb: int = 20
    volume_gb: int = 0
    mount: str = "/workspace"
    ports: str = "22/tcp,8888/http"
    env: dict[str, str] = field(default_factory=dict)


def new_id(length: int = 14) -> str:
    """Return a random id as RunPod makes them."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(length))


def stamp(moment: float) -> str:
    """Return a date as it stands in ``lastStatusChange``."""
    text = datetime.fromtimestamp(moment, UTC).strftime("%a %b %d %Y %H:%M:%S")
    return f"{text} GMT+0000 (Coordinated Universal Time)"


class Account:
    """One account of the emulated platform. Raises Refusal for what RunPod refuses."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        host: Host,
        faults: FaultBook,
        balance: float = 100.0,
        api_key: str = "",
    ) -> None:
        self.id = f"user_{new_id(20)}"
        self.api_key = api_key or f"rpa_{new_id(40).upper()}"
        self.pub_key = ""
        self.spend_limit = 80.0
        self.pods: dict[str, Pod] = {}
        self.volumes: dict[str, NetworkVolume] = {}
        self.secrets: dict[str, str] = {}
        self.templates = {
            row.id: row
            for row in (
                Template(id="runpod-ubuntu", name="Runpod Ubuntu", image="runpod/base:1.0.2-ubuntu2204"),
                Template(
                    id="runpod-torch-v21",
                    name="Runpod Pytorch 2.1",
                    image="runpod/pytorch:2.1.0-py3.10-cuda11.8.0-devel-ubuntu22.04",
                ),
            )
        }
        self.faults = faults
        self.bills = Bills()
        self._clock = clock
        self._host = host
        self._balance = balance
        self._taken: dict[tuple[str, str], int] = {}
        self._capacity: dict[tuple[str, str], int] = {}

    # --- money ------------------------------------------------------------------------------------------------------

    @property
    def balance(self) -> float:
        """USD left now."""
        self.settle()
        return self._balance

    @balance.setter
    def balance(self, usd: float) -> None:
        self.settle()
        self._balance = usd
        self.sweep()

    def spend_per_hr(self) -> float:
        """Return what all pods and volumes cost per hour."""
        volumes = sum(v.size * catalogue.NETWORK_VOLUME_USD_PER_GB_MONTH for v in self.volumes.values())
        return sum(map(rate, self.pods.values())) + volumes / catalogue.HOURS_PER_MONTH

    def settle(self) -> None:
        """Charge every pod and volume up to now, by the second."""
        now = self._clock()
        for pod in self.pods.values():
            self._balance -= rate(pod) * (now - pod.billed_until) / 3600
            self.bills.charge(pod, now - pod.billed_until, now)
            pod.billed_until = now
        for volume in self.volumes.values():
            monthly = volume.size * catalogue.NETWORK_VOLUME_USD_PER_GB_MONTH
            self._balance -= monthly / catalogue.HOURS_PER_MONTH * (now - volume.billed_until) / 3600
            volume.billed_until = now

    def sweep(self) -> None:
        """At a balance of zero, stop what has a network volume and terminate what has none."""
        if self.balance > 0:
            return
        for pod in [pod for pod in self.pods.values() if pod.running]:
            if pod.order.network_volume:
                self._halt(pod, "Exited by RunPod: Insufficient balance")
            else:
                self._remove(pod)

    def _demand(self, usd_per_hr: float, purpose: str) -> None:
        balance = self.balance
        if usd_per_hr > balance:
            raise Refusal(
                f"Insufficient balance to {purpose} this on-demand pod. You need at least ${usd_per_hr:.2f} "
                f"(current: ${balance:.2f}, deficit: ${usd_per_hr - balance:.2f}).",
                "INSUFFICIENT_BALANCE",
            )
        if self.spend_per_hr() + usd_per_hr > self.spend_limit:
            raise Refusal(
                f"You have reached your spend limit of ${self.spend_limit:.2f} per hour.", "SPEND_LIMIT"
            )

    # --- stock ------------------------------------------------------------------------------------------------------

    def free(self, gpu: str, place: str, cloud: str) -> int:
        """Return the free GPUs of a type in a data centre (secure) or ``community``."""
        if self.faults.peek("stock-out", {"operation": "create", "gpu": gpu, "dc": place, "cloud": cloud}):
            return 0
        return self._really_free(gpu, place)

    def _really_free(self, gpu: str, place: str) -> int:
        capacity = self._capacity.get((gpu, place), catalogue.GPUS_PER_DATACENTER)
        return max(0, capacity - self._taken.get((gpu, place), 0))

    def set_stock(self, gpu: str, place: str, free: int) -> None:
        """Make exactly ``free`` GPUs available there."""
        self._capacity[gpu, place] = self._taken.get((gpu, place), 0) + free

    def _take(self, pod: Pod, sign: int) -> None:
        if pod.order.gpu is not None:
            key = (pod.order.gpu, pod.datacenter or "community")
            self._taken[key] = self._taken.get(key, 0) + sign * pod.order.count

    def places(self, cloud: str) -> list[str]:
        """Return where ``cloud`` has machines."""
        return (
            ["community"]
            if cloud == "community"
            else [d.id for d in catalogue.DATA_CENTERS.values() if d.listed]
        )

    def _choose(self, order: Order) -> tuple[str, str | None, float]:
        """Return cloud, data centre and USD per hour for ``order``."""
        gpu = catalogue.gpu_types().get(order.gpu or "")
        clouds = ("secure", "community") if order.cloud == "all" else (order.cloud,)
        for cloud in clouds:
            unit = catalogue.price(gpu, cloud) if gpu else None
            if gpu is None or unit is None or not 1 <= order.count <= catalogue.most(gpu, cloud):
                continue
            if cloud == "community" and (order.network_volume or order.datacenter):
                continue
            wanted = order.datacenter.split(",") if order.datacenter else self.places(cloud)
            if order.bid_per_gpu is not None and order.bid_per_gpu < unit:
                continue
            if order.deploy_cost is not None and order.deploy_cost < unit * order.count:
                continue
            for place in wanted:
                fits = not order.cuda or set(order.cuda) & set(catalogue.cuda_versions(place))
                if fits and place in self.places(cloud) and self.free(gpu.id, place, cloud) >= order.count:
                    return cloud, None if place == "community" else place, round(unit * order.count, 4)
        self._count_stock_out(order, clouds)
        raise Refusal(STOCK_OUT if order.bid_per_gpu is None else STOCK_OUT_SPOT, "SUPPLY_CONSTRAINT")

    def _count_stock_out(self, order: Order, clouds: tuple[str, ...]) -> None:
        """Let a stock-out fault know that it struck."""
        for cloud in clouds:
            for place in order.datacenter.split(",") if order.datacenter else self.places(cloud):
                known = {"operation": "create", "gpu": order.gpu or "", "dc": place, "cloud": cloud}
                if self.faults.take({"stock-out"}, known) is not None:
                    return

    # --- pods -------------------------------------------------------------------------------------------------------

    def create(self, order: Order) -> Pod:
        """Rent a pod and have it booted."""
        order = self._complete(order)
        known = {"operation": "create", "gpu": order.gpu or "", "name": order.name}
        if self.faults.take({"insufficient-balance"}, known):
            raise Refusal(
                "Insufficient balance to deploy this on-demand pod. You need at least $3.59 "
                "(current: $3.01, deficit: $0.58).",
                "INSUFFICIENT_BALANCE",
            )
        if order.gpu is None:
            cloud, place, usd_per_hr, vcpu, memory = self._choose_cpu(order)
        else:
            self._check_machine(order)
            cloud, place, usd_per_hr = self._choose(order)
            vcpu = catalogue.VCPU_PER_GPU * order.count
            memory = catalogue.MEMORY_GB_PER_GPU * order.count
        self._demand(usd_per_hr, "deploy")
        pod = self._make(order, cloud, place, usd_per_hr, vcpu, memory)
        self._host.start(pod)
        return pod

    def _make(
        self, order: Order, cloud: str, place: str | None, usd_per_hr: float, vcpu: int, memory: int
    ) -> Pod:
        now = self._clock()
        pod = Pod(
            id=new_id(), order=order, cloud=cloud, datacenter=place, cost_per_hr=usd_per_hr, vcpu=vcpu,
            memory_gb=memory, machine_id=new_id(12), api_key=f"rpa_{new_id(40).upper()}",
            env=self._environment(order), created_at=now, last_started_at=now, billed_until=now,
            last_status_change=f"Rented by User: {stamp(now)}", gpu_count=order.count if order.gpu else 0,
        )  # fmt: skip
        self._take(pod, +1)
        self.pods[pod.id] = pod
        return pod

    def _environment(self, order: Order) -> dict[str, str]:
        """Return what the user asked for, account secrets filled in, and the account's SSH keys."""
        env = {key: self._fill_in(value) for key, value in order.env.items()}
        if order.start_ssh and self.pub_key:
            env.setdefault("PUBLIC_KEY", self.pub_key)
        return env

    def _fill_in(self, value: str) -> str:
        inner = value.strip().removeprefix("{{").removesuffix("}}").strip()
        if value.strip().startswith("{{") and inner.startswith(_SECRET_REFERENCE):
            return self.secrets.get(inner.removeprefix(_SECRET_REFERENCE), value)
        return value

    def _complete(self, order: Order) -> Order:
        """Fill in the template and check what no machine could serve."""
        template = self.templates.get(order.template) if order.template else None
        if order.template and template is None:
            raise Refusal(HICCUP, "INTERNAL_SERVER_ERROR")
        if template:
            order = replace(
                order, image=order.image or template.image, docker_args=order.docker_args or template.docker_args,
                ports=order.ports or template.ports, mount=order.mount or template.mount,
                volume_gb=order.volume_gb or template.volume_gb, env={**template.env, **order.env},
                container_disk_gb=order.container_disk_gb or template.container_disk_gb,
            )  # fmt: skip
        if not order.image:
            raise Refusal(HICCUP, "INTERNAL_SERVER_ERROR")
        if len(order.env) > 50:
            raise Refusal("A pod can have at most 50 environment variables.", "BAD_USER_INPUT")
        if order.network_volume:
            order = self._attach(order, order.network_volume)
        return replace(order, mount=order.mount or "/workspace")

    def _attach(self, order: Order, volume_id: str) -> Order:
        volume = self.volumes.get(volume_id)
        if volume is None:
            raise Refusal(f'Network volume "{volume_id}" not found', "BAD_USER_INPUT")
        if order.cloud == "community" or order.datacenter not in (None, volume.datacenter):
            raise Refusal(STOCK_OUT, "SUPPLY_CONSTRAINT")
        return replace(order, cloud="secure", datacenter=volume.datacenter)

    def _check_machine(self, order: Order) -> None:
        too_much = (
            order.min_vcpu > catalogue.VCPU_PER_GPU * order.count
            or order.min_memory_gb > catalogue.MEMORY_GB_PER_GPU * order.count
        )
        if too_much or (order.cuda and not set(order.cuda) & set(catalogue.CUDA_VERSIONS)):
            raise Refusal(STOCK_OUT, "SUPPLY_CONSTRAINT")

    def _choose_cpu(self, order: Order) -> tuple[str, str | None, float, int, int]:
        flavor_id, _, rest = (order.instance or "cpu3c-2-4").partition("-")
        flavor, words = catalogue.CPU_FLAVORS.get(flavor_id), rest.split("-")
        if flavor is None or len(words) != 2 or not all(word.isdigit() for word in words):
            raise Refusal(STOCK_OUT, "SUPPLY_CONSTRAINT")
        vcpu, memory = map(int, words)
        usd_per_hr = round(vcpu * flavor.usd_per_vcpu_hr, 4)
        places = order.datacenter.split(",") if order.datacenter else self.places("secure")
        known = {"operation": "create", "gpu": "", "cloud": "secure"}
        fitting = memory == vcpu * flavor.memory_gb_per_vcpu and flavor.min_vcpu <= vcpu <= flavor.max_vcpu
        disk_ok = (order.container_disk_gb or 0) <= vcpu * flavor.disk_gb_per_vcpu
        dear = order.deploy_cost is not None and order.deploy_cost < usd_per_hr
        for place in places if fitting and disk_ok and not dear else ():
            if place in catalogue.DATA_CENTERS and not self.faults.take(
                {"stock-out"}, {**known, "dc": place}
            ):
                return "secure", place, usd_per_hr, vcpu, memory
        raise Refusal(STOCK_OUT, "SUPPLY_CONSTRAINT")

    def stop(self, pod_id: str) -> Pod:
        """Stop a pod: its GPU is free, its volume stays."""
        pod = self.find(pod_id)
        if pod.running:
            self._halt(pod, f"Exited by user: {stamp(self._clock())}")
        return pod

    def outbid(self, pod: Pod) -> None:
        """Let a spot pod be taken by someone who pays more."""
        self._halt(pod, f"Outbid: {stamp(self._clock())}")

    def _halt(self, pod: Pod, why: str) -> None:
        self.settle()
        self._take(pod, -1)
        pod.desired_status, pod.last_status_change, pod.runtime = "EXITED", why, None
        self._host.kill(pod)

    def resume(self, pod_id: str, *, count: int | None = None, zero_gpu: bool = False) -> Pod:
        """Start a stopped pod again on its host."""
        pod = self.find(pod_id)
        if pod.running:
            return pod
        if pod.order.gpu and not zero_gpu:
            full = self.faults.take({"host-full"}, {**pod.subject, "operation": "resume"})
            free = self._really_free(pod.order.gpu, pod.datacenter or "community")
            if full or free < (count or pod.order.count):
                raise Refusal(HOST_FULL, "SUPPLY_CONSTRAINT")
        self._demand(pod.cost_per_hr, "resume")
        self.settle()
        self._take(pod, +1)
        now = self._clock()
        pod.gpu_count = 0 if zero_gpu or not pod.order.gpu else pod.order.count
        pod.desired_status, pod.last_status_change = "RUNNING", f"Rented by User: {stamp(now)}"
        pod.last_started_at = now
        self._boot_again(pod)
        return pod

    def _boot_again(self, pod: Pod) -> None:
        pod.generation += 1
        pod.runtime = pod.died_at = None
        self._host.start(pod)

    def reset(self, pod_id: str, changes: Mapping[str, Any] | None = None) -> Pod:
        """Restart a pod from its image, with ``changes`` to its order; its volume stays."""
        pod = self.find(pod_id)
        pod.order = replace(pod.order, **(changes or {}))
        pod.env = self._environment(pod.order)
        if pod.running:
            self._host.kill(pod)
            self._boot_again(pod)
        return pod

    def terminate(self, pod_id: str) -> None:
        """Delete a pod and its disks."""
        pod = self.pods.get(pod_id)
        if pod is None:
            raise Refusal("pod not found to terminate", "POD_NOT_FOUND")
        self._remove(pod)

    def _remove(self, pod: Pod) -> None:
        self.settle()
        if pod.running:
            self._take(pod, -1)
        pod.desired_status, pod.runtime = "TERMINATED", None
        del self.pods[pod.id]
        self._host.delete(pod)

    def find(self, pod_id: str) -> Pod:
        """Return a pod. Raises Refusal."""
        if pod_id not in self.pods:
            raise Refusal("pod not found", "POD_NOT_FOUND")
        return self.pods[pod_id]

    def container_started(self, pod_id: str, generation: int, ports: tuple[dict[str, Any], ...]) -> None:
        """Hear that the container of a pod runs."""
        pod = self.pods.get(pod_id)
        if pod is not None and pod.running and pod.generation == generation:
            pod.runtime = Runtime(started_at=self._clock(), ports=ports)

    def container_exited(self, pod_id: str, generation: int) -> None:
        """Hear that the container of a pod ended by itself: it is started again, as RunPod does."""
        pod = self.pods.get(pod_id)
        if pod is not None and pod.running and pod.generation == generation:
            self._boot_again(pod)

    def lost(self, pod: Pod, status: str) -> None:
        """Let the machine of a pod die; ``status`` is what the API says from now on."""
        if status == "EXITED":
            self._halt(pod, f"Exited by Runpod: {stamp(self._clock())}")
        else:
            pod.generation += 1
            pod.runtime, pod.died_at = None, self._clock()
            self._host.kill(pod)

    # --- network volumes --------------------------------------------------------------------------------------------

    def create_volume(self, name: str, size: int, datacenter: str) -> NetworkVolume:
        """Make a network volume of ``size`` GB."""
        place = catalogue.DATA_CENTERS.get(datacenter)
        if place is None or not place.storage:
            raise Refusal(
                f'Data center "{datacenter}" not found or does not support network volumes', "BAD_USER_INPUT"
            )
        if not 10 <= size <= 4000:
            raise Refusal("Network volume size must be between 10 and 4000 GB.", "BAD_USER_INPUT")
        volume = NetworkVolume(
            id=new_id(10), name=name, size=size, datacenter=datacenter, billed_until=self._clock()
        )
        self.volumes[volume.id] = volume
        return volume

    def update_volume(self, volume_id: str, name: str | None, size: int | None) -> NetworkVolume:
        """Rename or grow a network volume."""
        volume = self.volumes.get(volume_id)
        if volume is None:
            raise Refusal(f'Network volume "{volume_id}" not found', "BAD_USER_INPUT")
        if size is not None and size < volume.size:
            raise Refusal("Network volume size can only be increased.", "BAD_USER_INPUT")
        self.settle()
        volume.name, volume.size = name or volume.name, size or volume.size
        return volume

    def delete_volume(self, volume_id: str) -> None:
        """Delete a network volume no pod uses."""
        if volume_id not in self.volumes:
            raise Refusal("Tried to delete nonexistent network volume", "BAD_USER_INPUT")
        if any(pod.order.network_volume == volume_id for pod in self.pods.values()):
            raise Refusal("Network volume is in use by a pod.", "BAD_USER_INPUT")
        self.settle()
        del self.volumes[volume_id]


def rate(pod: Pod) -> float:
    """Return USD per hour for a pod as it is: GPU and container disk while running, volume always."""
    order = pod.order
    disk = order.container_disk_gb or 0
    if pod.running:
        monthly = (
            disk * catalogue.CONTAINER_DISK_USD_PER_GB_MONTH
            + order.volume_gb * catalogue.VOLUME_USD_PER_GB_MONTH
        )
        return pod.cost_per_hr + monthly / catalogue.HOURS_PER_MONTH
    return order.volume_gb * catalogue.STOPPED_VOLUME_USD_PER_GB_MONTH / catalogue.HOURS_PER_MONTH
