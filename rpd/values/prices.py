"""Prices of disks, from RunPod's pricing page: a running pod's disks are charged on top of its hourly rate."""

from __future__ import annotations

from collections.abc import Sequence

from rpd.values.job import DEFAULT_DISK_GB, Budget, Tier
from rpd.values.pod import NetworkVolume, PodRequest

RUNNING_USD_PER_GB_MONTH = 0.10
"""Container disk and volume of a running pod."""
STOPPED_USD_PER_GB_MONTH = 0.20
"""Volume of a stopped pod; its container disk is gone."""
HOURS_PER_MONTH = 730.0


NETWORK_USD_PER_GB_MONTH = (0.07, 0.05)
"""A network volume of the standard tier, whether pods use it or not: up to 1,000 GB, and what is above."""
_CHEAPER_FROM_GB = 1000


def volume_usd_per_month(volume: NetworkVolume, *, of: Tier | None = None) -> float | None:
    """Return the price of a network volume per month (``of``: as if it were of that tier).

    None for the faster tier, whose price only RunPod's console shows.
    """
    if (of or volume.tier) is Tier.HIGH_PERFORMANCE:
        return None
    usual, cheaper = NETWORK_USD_PER_GB_MONTH
    above = max(0, volume.size_gb - _CHEAPER_FROM_GB)
    return round((volume.size_gb - above) * usual + above * cheaper, 2)


def disks_usd_per_hr(request: PodRequest) -> float:
    """Return the price of running pods' disks per hour; a network volume is paid for whether pods use it or not.

    A template whose disk is not known counts with rpd's default.
    """
    each = (request.container_disk_gb or DEFAULT_DISK_GB) + (request.storage.volume_gb or 0)
    return running_usd_per_hr(request.nodes * each)


def running_usd_per_hr(gigabytes: int) -> float:
    """Return the price of that much disk of a running pod per hour."""
    return gigabytes * RUNNING_USD_PER_GB_MONTH / HOURS_PER_MONTH


def stopped_usd_per_month(volume_gb: int) -> float:
    """Return the price of a stopped pod per month."""
    return volume_gb * STOPPED_USD_PER_GB_MONTH


def worst_usd(budget: Budget, usd_per_hr: Sequence[float | None]) -> float:
    """Return the most that a node may cost with pods of these rates, disks included; None: an unknown rate.

    That is its cap, or the cost of its longest time on these pods if that is less. Each pod may take its
    whole time to become ready while the ones before it bill.
    """
    rates = [rate for rate in usd_per_hr if rate is not None]
    if budget.max_runtime_seconds is None or len(rates) < len(usd_per_hr):
        return budget.cost_cap_usd
    seconds = budget.max_runtime_seconds + len(rates) * budget.ssh_ready_seconds
    return min(budget.cost_cap_usd, sum(rates) * seconds / 3600)
