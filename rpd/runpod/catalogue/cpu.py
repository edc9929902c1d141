"""CPU pods: the smallest instance with enough cores and memory, and its price if it is known.

An instance is named ``<flavour>-<vCPUs>-<GB>``; the flavours c, g and m have 2, 4 and 8 GB per vCPU, and
vCPUs come in powers of two. (RunPod's CPU catalogue; the 8 GB of m are inferred.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rpd.errors import ImpossibleRequest

_GB_PER_VCPU = {"c": 2, "g": 4, "m": 8}
_USUAL = ("cpu3c", "cpu3g", "cpu3m")
"""The flavours that rpd chooses by itself: the cheapest generation."""
_VCPUS = (2, 4, 8, 16, 32)
_USD_PER_VCPU_HR = {"cpu3c": 0.03}
"""One reading: a ``cpu3c-2-4`` at about $0.06 per hour. Prices grow with the vCPUs."""


def cpu_instance(min_vcpu: int | None, min_memory_gb: int | None, flavour: str | None = None) -> str:
    """Return the smallest instance (of a flavour) that is large enough. Raise ImpossibleRequest if none is."""
    smallest, vcpus = _smallest(min_vcpu or 1, min_memory_gb or 1, _USUAL if flavour is None else (flavour,))
    return f"{smallest}-{vcpus}-{vcpus * _memory(smallest)}"


def cpu_price(
    min_vcpu: int | None,
    min_memory_gb: int | None,
    usd_per_vcpu_hr: Mapping[str, float] | None = None,
    flavour: str | None = None,
) -> float | None:
    """Return the price of that instance in USD per hour, None if it is unknown. Raise ImpossibleRequest.

    ``usd_per_vcpu_hr``: flavour to today's price; for other flavours a price that was read once is used.
    """
    smallest, vcpus, _ = cpu_instance(min_vcpu, min_memory_gb, flavour).split("-")
    rate = {**_USD_PER_VCPU_HR, **(usd_per_vcpu_hr or {})}.get(smallest)
    return None if rate is None else round(rate * int(vcpus), 4)


def _memory(flavour: str) -> int:
    return _GB_PER_VCPU[flavour[-1]]


def _smallest(min_vcpu: int, min_memory_gb: int, flavours: Iterable[str]) -> tuple[str, int]:
    for vcpus in _VCPUS:
        for flavour in flavours:
            if vcpus >= min_vcpu and vcpus * _memory(flavour) >= min_memory_gb:
                return flavour, vcpus
    largest = max(map(_memory, flavours))
    raise ImpossibleRequest(
        f"no CPU pod{_of(flavours)} has {min_vcpu} vCPUs and {min_memory_gb} GB: the largest has "
        f"{_VCPUS[-1]} vCPUs and {_VCPUS[-1] * largest} GB"
    )


def _of(flavours: Iterable[str]) -> str:
    return "" if flavours is _USUAL else f" of {', '.join(flavours)}"
