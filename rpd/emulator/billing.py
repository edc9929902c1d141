"""What pods cost: the rate of one as it is, and the bills of all so far."""

from __future__ import annotations

from dataclasses import dataclass

from rpd.emulator import catalogue
from rpd.emulator.model import Pod


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
