"""Telemetry: how busy a pod was at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpd.values.frozen import EMPTY, asdict, frozen


@frozen
class GpuSample:
    """One GPU: its load (percent), memory (MiB), temperature (degrees Celsius) and power (W).

    Values that the GPU does not report are None.
    """

    index: int
    utilization: float | None = None
    memory_used_mb: float | None = None
    memory_total_mb: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None


@frozen
class DiskSample:
    """One file system, in MiB."""

    used_mb: int
    total_mb: int


@frozen
class Sample:
    """One pod at one moment: ``at`` is UTC, ISO 8601, by the driver's clock; ``load`` is that of the whole machine.

    ``memory_*`` is the container's, in MiB; ``disks`` maps a folder to the disk it is on.
    """

    at: str
    gpus: tuple[GpuSample, ...] = ()
    load: float | None = None
    memory_used_mb: int | None = None
    memory_total_mb: int | None = None
    disks: Mapping[str, DiskSample] = EMPTY

    @property
    def utilization(self) -> float | None:
        """The average load of the GPUs, in percent; None if none reports it."""
        loads = [gpu.utilization for gpu in self.gpus if gpu.utilization is not None]
        return sum(loads) / len(loads) if loads else None

    def to_json(self) -> dict[str, Any]:
        """Return the known values, in JSON types."""
        known: dict[str, Any] = _known(asdict(self))
        return known


def _known(value: Any) -> Any:
    """Leave out None, at any depth."""
    if isinstance(value, Mapping):
        return {name: _known(item) for name, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [_known(item) for item in value]
    return value
