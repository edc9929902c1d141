"""The account: its pods, volumes and money, by RunPod's rules. It has no clock, and starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from rpd.emulator import catalogue
from rpd.emulator.billing import Ledger, rate
from rpd.emulator.faults import FaultBook
from rpd.emulator.images import ImageBook
from rpd.emulator.model import Membership, NetworkVolume, Order, Pod, RegistryAuth, Runtime, Template, new_id
from rpd.emulator.own_gpus import OwnGpu, OwnGpus
from rpd.emulator.refusals import HICCUP, HOST_FULL, LOCKED, STOCK_OUT, Refusal
from rpd.emulator.roles import ROLES
from rpd.emulator.stock import COMMUNITY, Machine, Stock

_SECRET_REFERENCE = "RUNPOD_SECRET_"  # noqa: S105 - the prefix of a name, not a secret


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


def stamp(moment: float) -> str:
    """Return a date as it stands in ``lastStatusChange``."""
    text = datetime.fromtimestamp(moment, UTC).strftime("%a %b %d %Y %H:%M:%S")
    return f"{text} GMT+0000 (Coordinated Universal Time)"


class Account:
    """One account of the emulated platform. Its methods raise Refusal wherever RunPod would refuse."""

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
        self.role = "admin"
        self.spend_limit = 80.0
        self.pod_limit: int | None = None
        self.pods: dict[str, Pod] = {}
        self.end_member: Callable[[Pod], None] = self.remove
        """Deletes a member of a cluster by itself; raises Refusal where that may not be."""
        self.volumes: dict[str, NetworkVolume] = {}
        self.secrets: dict[str, str] = {}
        self.images = ImageBook()
        self.registries: dict[str, RegistryAuth] = {}
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
        self.stock = Stock(faults)
        self.own_gpus: OwnGpus | None = None
        self.ledger = Ledger()
        self._clock = clock
        self._host = host
        self._faults = faults
        self._balance = balance

    def may(self, permission: str) -> bool:
        """Return whether the role of the account's key includes ``permission``."""
        return permission in ROLES[self.role]

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
        """Return the hourly cost of all pods and volumes, in USD."""
        volumes = sum(
            volume.size * catalogue.volume_usd_per_gb_month(volume.tier) for volume in self.volumes.values()
        )
        return sum(map(rate, self.pods.values())) + volumes / catalogue.HOURS_PER_MONTH

    def settle(self) -> None:
        """Charge every pod and volume up to now, by the second."""
        now = self._clock()
        for pod in self.pods.values():
            self._balance -= rate(pod) * (now - pod.billed_until) / 3600
            self.ledger.charge_pod(pod, pod.billed_until, now)
            pod.billed_until = now
        for volume in self.volumes.values():
            monthly = volume.size * catalogue.volume_usd_per_gb_month(volume.tier)
            hourly = monthly / catalogue.HOURS_PER_MONTH
            self._balance -= hourly * (now - volume.billed_until) / 3600
            self.ledger.charge("volume", volume.id, volume.tier.lower(), hourly, volume.billed_until, now)
            volume.billed_until = now

    def sweep(self) -> None:
        """At a balance of zero, stop the pods that have a network volume and terminate the others."""
        if self.balance > 0:
            return
        for pod in [pod for pod in self.pods.values() if pod.running]:
            if pod.order.network_volume:
                self._halt(pod, "Exited by RunPod: Insufficient balance")
            else:
                self.remove(pod)

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

    # --- pods -------------------------------------------------------------------------------------------------------

    def create(self, order: Order) -> Pod:
        """Rent a pod and have it booted."""
        order = self._complete(order)
        subject = {"operation": "create", "gpu": order.gpu or "", "name": order.name}
        if self._faults.take({"insufficient-balance"}, subject):
            raise Refusal(
                "Insufficient balance to deploy this on-demand pod. You need at least $3.59 "
                "(current: $3.01, deficit: $0.58).",
                "INSUFFICIENT_BALANCE",
            )
        if self.pod_limit is not None and sum(pod.running for pod in self.pods.values()) >= self.pod_limit:
            raise Refusal("You have reached the maximum number of pods for your account.", "POD_LIMIT")
        machine = self.stock.find(order)
        self._demand(machine.usd_per_hr, "deploy")
        own = self._lend(order)
        pod = self._make(order, machine)
        pod.own_gpus = own
        self._host.start(pod)
        return pod

    def create_together(self, orders: Sequence[Order], members: Sequence[Membership]) -> list[Pod]:
        """Rent the members of a cluster in one data centre: all of them, or none."""
        done = [self._complete(order) for order in orders]
        subject = {"operation": "create", "gpu": done[0].gpu or "", "name": done[0].name}
        if self._faults.take({"insufficient-balance"}, subject):
            raise Refusal("Insufficient balance to deploy this cluster.", "INSUFFICIENT_BALANCE")
        machine = self.stock.find(replace(done[0], cloud="secure"), nodes=len(done))
        self._demand(machine.usd_per_hr * len(done), "deploy")
        made = [self._make(order, machine, member) for order, member in zip(done, members, strict=True)]
        for pod in made:
            self._host.start(pod)
        return made

    def _lend(self, order: Order) -> tuple[OwnGpu, ...]:
        """Lend the GPUs of this machine, if pods have those. Raise Refusal."""
        return () if self.own_gpus is None or not order.gpu else self.own_gpus.take(order.count)

    def _have_back(self, pod: Pod) -> None:
        if self.own_gpus is not None:
            self.own_gpus.give_back(pod.own_gpus)
            pod.own_gpus = ()

    def _make(self, order: Order, machine: Machine, membership: Membership | None = None) -> Pod:
        now = self._clock()
        pod = Pod(
            id=new_id(), order=order, cloud=machine.cloud, datacenter=machine.datacenter,
            cost_per_hr=machine.usd_per_hr, vcpu=machine.vcpu, memory_gb=machine.memory_gb,
            machine_id=new_id(12), api_key=f"rpa_{new_id(40).upper()}", env=self._environment(order),
            created_at=now, last_started_at=now, billed_until=now,
            last_status_change=f"Rented by User: {stamp(now)}", gpu_count=order.count if order.gpu else 0,
            membership=membership,
        )  # fmt: skip
        self.stock.take(order, machine.datacenter)
        self.pods[pod.id] = pod
        return pod

    def _environment(self, order: Order) -> dict[str, str]:
        """Return the order's variables with account secrets filled in, and the account's SSH keys."""
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
        """Fill in the template and refuse orders that no machine could serve."""
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
        if order.registry and order.registry not in self.registries:
            raise Refusal(f'Container registry auth "{order.registry}" not found', "BAD_USER_INPUT")
        if order.network_volume:
            order = self._attach(order, order.network_volume)
        # RunPod takes a volume for a CPU pod without a word, and gives none: its mount is on the container disk.
        volume_gb = order.volume_gb if order.gpu else 0
        return replace(order, mount=order.mount or "/workspace", volume_gb=volume_gb)

    def _attach(self, order: Order, volume_id: str) -> Order:
        volume = self.volumes.get(volume_id)
        if volume is None:
            raise Refusal(f'Network volume "{volume_id}" not found', "BAD_USER_INPUT")
        if order.cloud == COMMUNITY or order.datacenter not in (None, volume.datacenter):
            raise Refusal(STOCK_OUT, "SUPPLY_CONSTRAINT")
        return replace(order, cloud="secure", datacenter=volume.datacenter)

    def stop(self, pod_id: str) -> Pod:
        """Stop a pod: its GPU is free, its volume stays."""
        pod = self._unlocked(pod_id)
        if pod.membership is not None:
            raise Refusal("Pod belongs to a cluster and cannot be stopped.", "BAD_USER_INPUT")
        if pod.running:
            self._halt(pod, f"Exited by user: {stamp(self._clock())}")
        return pod

    def outbid(self, pod: Pod) -> None:
        """Let a spot pod be taken by someone who pays more."""
        self._halt(pod, f"Outbid: {stamp(self._clock())}")

    def _halt(self, pod: Pod, why: str) -> None:
        self.settle()
        self.stock.give_back(pod.order, pod.datacenter)
        self._have_back(pod)
        pod.desired_status, pod.last_status_change, pod.runtime = "EXITED", why, None
        self._host.kill(pod)

    def resume(self, pod_id: str, *, count: int | None = None, zero_gpu: bool = False) -> Pod:
        """Start a stopped pod again on its host."""
        pod = self.find(pod_id)
        if pod.running:
            return pod
        if pod.order.gpu and not zero_gpu:
            full = self._faults.take({"host-full"}, {**pod.subject, "operation": "resume"})
            free = self.stock.idle(pod.order.gpu, pod.datacenter or COMMUNITY)
            if full or free < (count or pod.order.count):
                raise Refusal(HOST_FULL, "SUPPLY_CONSTRAINT")
        self._demand(pod.cost_per_hr, "resume")
        pod.own_gpus = () if zero_gpu else self._lend(pod.order)
        self.settle()
        self.stock.take(pod.order, pod.datacenter)
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
        pod = self._unlocked(pod_id)
        changed = replace(pod.order, **(changes or {}))
        pod.order = changed if changed.gpu else replace(changed, volume_gb=0)
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
        pod = self._unlocked(pod_id)
        if pod.membership is None:
            self.remove(pod)
        else:
            self.end_member(pod)

    def remove(self, pod: Pod) -> None:
        """Delete a pod and its disks, whatever it is a part of."""
        self.settle()
        if pod.running:
            self.stock.give_back(pod.order, pod.datacenter)
        self._have_back(pod)
        pod.desired_status, pod.runtime = "TERMINATED", None
        del self.pods[pod.id]
        self._host.delete(pod)

    def find(self, pod_id: str) -> Pod:
        """Return a pod. Raise Refusal."""
        if pod_id not in self.pods:
            raise Refusal("pod not found", "POD_NOT_FOUND")
        return self.pods[pod_id]

    def _unlocked(self, pod_id: str) -> Pod:
        """Return a pod that may be stopped, reset and (RunPod does not document that) deleted. Raise Refusal."""
        pod = self.find(pod_id)
        if pod.locked:
            raise Refusal(LOCKED, "BAD_USER_INPUT")
        return pod

    def container_started(self, pod_id: str, generation: int, ports: tuple[dict[str, Any], ...]) -> None:
        """Record that the container of a pod runs; reports about an earlier start are ignored."""
        pod = self.pods.get(pod_id)
        if pod is not None and pod.running and pod.generation == generation:
            pod.runtime = Runtime(started_at=self._clock(), ports=ports)

    def container_exited(self, pod_id: str, generation: int) -> None:
        """Start a pod's container again, as RunPod does when the container ends by itself."""
        pod = self.pods.get(pod_id)
        if pod is not None and pod.running and pod.generation == generation:
            self._boot_again(pod)

    def lost(self, pod: Pod, status: str) -> None:
        """Let the machine of a pod die; from now on the API reports ``status``."""
        if status == "EXITED":
            self._halt(pod, f"Exited by Runpod: {stamp(self._clock())}")
        else:
            pod.generation += 1
            pod.runtime, pod.died_at = None, self._clock()
            self._host.kill(pod)

    # --- images and their registries --------------------------------------------------------------------------------

    def may_pull(self, order: Order) -> bool:
        """Return whether the registry of an image shows it to the user whose credentials the order has."""
        image = self.images.find(order.image)
        auth = self.registries.get(order.registry or "")
        return not image.is_private or (
            auth is not None and (auth.username, auth.password) == (image.username, image.password)
        )

    def add_registry(self, name: str, username: str, password: str) -> RegistryAuth:
        """Store credentials."""
        if any(auth.name == name for auth in self.registries.values()):
            raise Refusal(f'Container registry auth named "{name}" already exists', "BAD_USER_INPUT")
        auth = RegistryAuth(id=new_id(25), name=name, username=username, password=password)
        self.registries[auth.id] = auth
        return auth

    def delete_registry(self, registry_id: str) -> None:
        """Delete credentials that no pod uses."""
        if registry_id not in self.registries:
            raise Refusal("Container registry auth not found", "NOT_FOUND")
        if any(pod.order.registry == registry_id for pod in self.pods.values()):
            raise Refusal("Registry credential is in use by a pod and cannot be deleted", "BAD_USER_INPUT")
        del self.registries[registry_id]

    # --- network volumes --------------------------------------------------------------------------------------------

    def create_volume(self, name: str, size: int, datacenter: str, *, tier: str = "") -> NetworkVolume:
        """Make a network volume of ``size`` GB, of the data centre's first tier unless one is named."""
        place = catalogue.DATA_CENTERS.get(datacenter)
        if place is None or not place.storage:
            raise Refusal(
                f'Data center "{datacenter}" not found or does not support network volumes', "BAD_USER_INPUT"
            )
        if not 10 <= size <= 4000:
            raise Refusal("Network volume size must be between 10 and 4000 GB.", "BAD_USER_INPUT")
        tier = tier or place.volume_types[0]
        if tier not in place.volume_types:
            raise Refusal(
                f'Data center "{datacenter}" does not support {tier} network volumes', "BAD_USER_INPUT"
            )
        volume = NetworkVolume(
            id=new_id(10), name=name, size=size, datacenter=datacenter, billed_until=self._clock(), tier=tier
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
