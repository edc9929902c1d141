"""CPU pods: the instance that has enough cores and memory, and what it costs where that is known.

An instance is named ``<flavour>-<vCPUs>-<GB>``; the flavours c, g and m have 2, 4 and 8 GB per vCPU, and
vCPUs come in powers of two. (RunPod's CPU catalogue; the 8 GB of m are inferred.)
"""

from __future__ import annotations

from collections.abc import Mapping

from rpd.errors import ImpossibleRequest

_GB_PER_VCPU = {"cpu3c": 2, "cpu3g": 4, "cpu3m": 8}
_VCPUS = (2, 4, 8, 16, 32)
_USD_PER_VCPU_HR = {"cpu3c": 0.03}
"""One reading: a ``cpu3c-2-4`` at about $0.06 an hour. Prices grow with the vCPUs."""


def cpu_instance(min_vcpu: int | None, min_memory_gb: int | None) -> str:
    """Return the smallest instance that has so much. Raises ImpossibleRequest if none has."""
    flavour, vcpus = _smallest(min_vcpu or 1, min_memory_gb or 1)
    return f"{flavour}-{vcpus}-{vcpus * _GB_PER_VCPU[flavour]}"


def cpu_price(
    min_vcpu: int | None, min_memory_gb: int | None, usd_per_vcpu_hr: Mapping[str, float] | None = None
) -> float | None:
    """Return the dollars an hour of that instance costs, None where not known. Raises ImpossibleRequest.

    ``usd_per_vcpu_hr``: flavour -> price of today; flavours it lacks cost what they cost on one day.
    """
    flavour, vcpus = _smallest(min_vcpu or 1, min_memory_gb or 1)
    rate = {**_USD_PER_VCPU_HR, **(usd_per_vcpu_hr or {})}.get(flavour)
    return None if rate is None else round(rate * vcpus, 4)


def _smallest(min_vcpu: int, min_memory_gb: int) -> tuple[str, int]:
    for vcpus in _VCPUS:
        for flavour, gb_per_vcpu in _GB_PER_VCPU.items():
            if vcpus >= min_vcpu and vcpus * gb_per_vcpu >= min_memory_gb:
                return flavour, vcpus
    raise ImpossibleRequest(
        f"no CPU pod has {min_vcpu} vCPUs and {min_memory_gb} GB: the largest has {_VCPUS[-1]} vCPUs and "
        f"{_VCPUS[-1] * max(_GB_PER_VCPU.values())} GB"
    )
