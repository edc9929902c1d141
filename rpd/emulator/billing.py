"""Costs: the current rate of a pod, and the ledger of everything charged so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rpd.emulator import catalogue
from rpd.emulator.model import Pod

HOUR = 3600
POD_PARTS = ("gpu", "cpu", "disk")
VOLUME_PARTS = ("standard", "high_performance")
CLUSTER_PARTS = ("cluster_gpu", "cluster_disk", "cluster_networking")
OTHER_PARTS = (
    "serverless_gpu",
    "serverless_cpu",
    "serverless_disk",
    "serverless_fee",
    "endpoint",
)
_PARTS: Mapping[str, tuple[str, ...]] = {
    "pod": POD_PARTS,
    "volume": VOLUME_PARTS,
    "cluster": CLUSTER_PARTS,
    "other": OTHER_PARTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One charge: the USD that ``part`` of ``subject`` (an id; empty for other products) cost in one hour.

    ``start`` is that hour as a unix time; ``kind`` is ``pod``, ``volume``, ``cluster`` or ``other``.
    """

    kind: str
    subject: str
    part: str
    start: int
    usd: float


class Ledger:
    """All charges, hour by hour, including those for deleted pods and volumes.

    ``lag``: RunPod's bill is late; lines of the last ``lag`` seconds are not shown yet.
    """

    def __init__(self) -> None:
        self._usd: dict[tuple[str, str, str, int], float] = {}
        self.lag = 0.0

    def charge(self, kind: str, subject: str, part: str, usd_per_hr: float, begin: float, end: float) -> None:
        """Charge for the time between two moments."""
        for start, seconds in _hours(begin, end):
            self.add(kind, subject, part, start, usd_per_hr * seconds / HOUR)

    def add(self, kind: str, subject: str, part: str, start: float, usd: float) -> None:
        """Write one line; lines for the same thing and hour add up."""
        hour = int(start) // HOUR * HOUR
        key = (kind, subject, part, hour)
        self._usd[key] = self._usd.get(key, 0.0) + usd

    def charge_pod(self, pod: Pod, begin: float, end: float) -> None:
        """Charge for a pod as it is."""
        compute = pod.cost_per_hr if pod.running else 0.0
        disk = rate(pod) - compute
        if pod.membership is not None:
            self.charge("cluster", pod.membership.cluster, "cluster_gpu", compute, begin, end)
            self.charge("cluster", pod.membership.cluster, "cluster_disk", disk, begin, end)
            return
        if compute:
            self.charge("pod", pod.id, "cpu" if pod.order.gpu is None else "gpu", compute, begin, end)
        self.charge("pod", pod.id, "disk", disk, begin, end)

    def write(self, values: Mapping[str, Any], now: float) -> Line:
        """Write a line: ``part``, ``usd`` and ``at`` of a ``pod``, ``volume`` or ``cluster`` (an id), or of none.

        Raise ValueError.
        """
        names = {"pod", "volume", "cluster", "part", "usd", "at"}
        if unknown := sorted(set(values) - names):
            raise ValueError(
                f"a line of the bill: expected {', '.join(sorted(names))}, got {', '.join(unknown)}"
            )
        kind = next((each for each in ("pod", "volume", "cluster") if each in values), "other")
        part = values.get("part", _PARTS[kind][0])
        if part not in _PARTS[kind]:
            raise ValueError(f"part: expected one of {', '.join(_PARTS[kind])}, got {part!r}")
        moment = datetime.fromisoformat(values["at"]).timestamp() if "at" in values else now
        line = Line(
            kind=kind,
            subject=str(values.get(kind, "")),
            part=part,
            start=int(moment) // HOUR * HOUR,
            usd=float(values["usd"]),
        )
        self.add(line.kind, line.subject, line.part, line.start, line.usd)
        return line

    def lines(self, start: float, end: float, now: float) -> list[Line]:
        """Return the visible lines of the hours from ``start`` until ``end``, in order of time."""
        return [
            Line(kind=kind, subject=subject, part=part, start=hour, usd=usd)
            for (kind, subject, part, hour), usd in sorted(
                self._usd.items(), key=lambda item: (item[0][3], item[0])
            )
            if start <= hour < end and hour <= now - self.lag
        ]


def _hours(begin: float, end: float) -> Iterator[tuple[int, float]]:
    """Yield each hour between two moments, and how many seconds of it are between them."""
    while begin < end:
        start = int(begin) // HOUR * HOUR
        until = min(end, start + HOUR)
        yield start, until - begin
        begin = until


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
