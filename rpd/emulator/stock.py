"""Stock: which machines are free, and the one an order gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rpd.emulator import catalogue
from rpd.emulator.faults import FaultBook
from rpd.emulator.model import Order
from rpd.emulator.refusals import STOCK_OUT, STOCK_OUT_SPOT, Refusal

COMMUNITY = "community"
"""The cloud without data centres, and the one place in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that an order gets: place, price and size (memory in GB)."""

    cloud: str
    datacenter: str | None
    usd_per_hr: float
    vcpu: int
    memory_gb: int


def places(cloud: str) -> list[str]:
    """Return where ``cloud`` has machines."""
    if cloud == COMMUNITY:
        return [COMMUNITY]
    return [place.id for place in catalogue.DATA_CENTERS.values() if place.listed]


class Stock:
    """The GPUs of the platform. Of CPUs there are always enough, where no fault says otherwise."""

    def __init__(self, faults: FaultBook) -> None:
        self._faults = faults
        self._taken: dict[tuple[str, str], int] = {}
        self._capacity: dict[tuple[str, str], int] = {}

    def free(self, gpu: str, place: str, cloud: str) -> int:
        """Return the free GPUs of a type in a data centre (secure) or ``community``, as the API tells them."""
        if self._faults.peek("stock-out", _subject(gpu, cloud, place)):
            return 0
        return self.idle(gpu, place)

    def idle(self, gpu: str, place: str) -> int:
        """Return the number of free GPUs of a type in a data centre, ignoring faults."""
        capacity = self._capacity.get((gpu, place), catalogue.GPUS_PER_DATACENTER)
        return max(0, capacity - self._taken.get((gpu, place), 0))

    def set(self, gpu: str, place: str, free: int) -> None:
        """Make exactly ``free`` GPUs available there."""
        self._capacity[gpu, place] = self._taken.get((gpu, place), 0) + free

    def take(self, order: Order, datacenter: str | None) -> None:
        """Count the GPUs of an order as taken."""
        self._count(order, datacenter, +1)

    def give_back(self, order: Order, datacenter: str | None) -> None:
        """Count them as free again."""
        self._count(order, datacenter, -1)

    def _count(self, order: Order, datacenter: str | None, sign: int) -> None:
        if order.gpu is not None:
            key = (order.gpu, datacenter or COMMUNITY)
            self._taken[key] = self._taken.get(key, 0) + sign * order.count

    def find(self, order: Order, nodes: int = 1) -> Machine:
        """Return the first machine that serves ``order``, in a place that has ``nodes`` of them. Raise Refusal."""
        machines = list(_cpu_machines(order) if order.gpu is None else _gpu_machines(order))
        subjects = [_subject(order.gpu or "", each.cloud, each.datacenter or COMMUNITY) for each in machines]
        # A request is one event for a rule, however many machines it looks at.
        struck = self._faults.strike("stock-out", subjects)
        for machine, out in zip(machines, struck, strict=True):
            if not out and self._has(machine, order, nodes):
                return machine
        raise Refusal(STOCK_OUT if order.bid_per_gpu is None else STOCK_OUT_SPOT, "SUPPLY_CONSTRAINT")

    def _has(self, machine: Machine, order: Order, nodes: int) -> bool:
        return (
            order.gpu is None or self.idle(order.gpu, machine.datacenter or COMMUNITY) >= order.count * nodes
        )


def _subject(gpu: str, cloud: str, place: str) -> dict[str, str]:
    return {"operation": "create", "gpu": gpu, "dc": place, "cloud": cloud}


def _gpu_machines(order: Order) -> Iterator[Machine]:
    """Yield where RunPod has machines for ``order``, free or not, in the order it looks."""
    vcpu, memory = catalogue.VCPU_PER_GPU * order.count, catalogue.MEMORY_GB_PER_GPU * order.count
    gpu = catalogue.gpu_types().get(order.gpu or "")
    if gpu is None or order.min_vcpu > vcpu or order.min_memory_gb > memory:
        return
    for cloud in ("secure", COMMUNITY) if order.cloud == "all" else (order.cloud,):
        unit = catalogue.price(gpu, cloud)
        if unit is None or not 1 <= order.count <= catalogue.most(gpu, cloud) or not _pays(order, unit):
            continue
        for place in _wanted(order, cloud):
            if place in places(cloud) and _fits(place, order):
                yield Machine(
                    cloud=cloud, datacenter=None if place == COMMUNITY else place,
                    usd_per_hr=round(unit * order.count, 4), vcpu=vcpu, memory_gb=memory,
                )  # fmt: skip


def _fits(place: str, order: Order) -> bool:
    """Return whether a data centre, or Community Cloud, satisfies the order apart from the GPU."""
    datacenter = catalogue.DATA_CENTERS.get(place)
    return (
        (not order.cuda or bool(set(order.cuda) & set(catalogue.cuda_versions(place))))
        and (order.country is None or catalogue.is_in(place, order.country))
        and set(order.compliance) <= set(datacenter.compliance if datacenter else ())
        and (not order.global_network or (datacenter is not None and datacenter.global_network))
    )


def _wanted(order: Order, cloud: str) -> list[str]:
    if cloud == COMMUNITY and (order.network_volume or order.datacenter):
        return []
    return order.datacenter.split(",") if order.datacenter else places(cloud)


def _pays(order: Order, usd_per_gpu: float) -> bool:
    """Return whether the bid (spot) and the ceiling of ``order`` allow that price."""
    bid = order.bid_per_gpu is None or order.bid_per_gpu >= usd_per_gpu
    return bid and (order.deploy_cost is None or order.deploy_cost >= usd_per_gpu * order.count)


def _cpu_machines(order: Order) -> Iterator[Machine]:
    """Yield where a machine like ``cpu3c-2-4`` (flavour, vCPUs, GB of memory) is in stock."""
    flavor_id, _, rest = (order.instance or "cpu3c-2-4").partition("-")
    flavor, words = catalogue.CPU_FLAVORS.get(flavor_id), rest.split("-")
    if flavor is None or len(words) != 2 or not all(word.isdigit() for word in words):
        return
    vcpu, memory = map(int, words)
    usd_per_hr = round(vcpu * flavor.usd_per_vcpu_hr, 4)
    fits = memory == vcpu * flavor.memory_gb_per_vcpu and flavor.min_vcpu <= vcpu <= flavor.max_vcpu
    disk_fits = (order.container_disk_gb or 0) <= vcpu * flavor.disk_gb_per_vcpu
    if not fits or not disk_fits or (order.deploy_cost is not None and order.deploy_cost < usd_per_hr):
        return
    for place in _wanted(order, "secure"):
        if place in catalogue.DATA_CENTERS:
            yield Machine(
                cloud="secure", datacenter=place, usd_per_hr=usd_per_hr, vcpu=vcpu, memory_gb=memory
            )
