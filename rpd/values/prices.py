"""What disks cost, as RunPod's pricing page has it: a running pod's disks come on top of its hourly rate."""

from __future__ import annotations

from rpd.values.pod import PodRequest

RUNNING_USD_PER_GB_MONTH = 0.10
"""Container disk and volume of a running pod."""
STOPPED_USD_PER_GB_MONTH = 0.20
"""Volume of a stopped pod; its container disk is gone."""
HOURS_PER_MONTH = 730.0


def disks_usd_per_hr(request: PodRequest) -> float:
    """Return what the disks of a running pod cost an hour; a network volume is paid for whether pods use it or not."""
    return running_usd_per_hr(request.container_disk_gb + (request.storage.volume_gb or 0))


def running_usd_per_hr(gigabytes: int) -> float:
    """Return what so much disk of a running pod costs an hour."""
    return gigabytes * RUNNING_USD_PER_GB_MONTH / HOURS_PER_MONTH


def stopped_usd_per_month(volume_gb: int) -> float:
    """Return what a stopped pod costs a month."""
    return volume_gb * STOPPED_USD_PER_GB_MONTH
