"""Pods as RunPod describes them, parsed into PodInfo: the queries, and the meaning of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpd.runpod.graphql.escape import quote
from rpd.runpod.response import flag, host, identifier, number, port, table, tables, text, whole
from rpd.values.pod import Cloud, PodInfo, PodStatus, SshEndpoint

_PORTS = "ports { ip isIpPublic privatePort publicPort type }"
# No env: it comes back in clear text, and nothing here needs it.
_FIELDS = (
    "id name desiredStatus imageName lastStatusChange costPerHr gpuCount podType machineId "
    "volumeInGb containerDiskInGb locked "
    f"runtime {{ uptimeInSeconds {_PORTS} }} "
    "machine { gpuTypeId gpuDisplayName dataCenterId secureCloud }"
)

LIST = f"query {{ myself {{ pods {{ {_FIELDS} }} }} }}"

_SPOT_TYPES = ("INTERRUPTABLE", "BID")


def read_one(pod_id: str) -> str:
    """Return the query for one pod; its answer is ``pod``."""
    return f"query {{ pod(input: {{ podId: {quote(pod_id, 'the pod id')} }}) {{ {_FIELDS} }} }}"


def pod_info(row: Mapping[str, Any]) -> PodInfo:
    """Return the pod described by ``row``, from a response to the queries above or to the SDK's own.

    Raise Misshapen if it has no id.
    """
    machine = table(row.get("machine"))
    runtime = table(row.get("runtime"))
    status = _status(row.get("desiredStatus"))
    secure = flag(machine.get("secureCloud"))
    return PodInfo(
        id=identifier(row.get("id")),
        name=text(row.get("name")),
        status=status,
        image=text(row.get("imageName")),
        gpu=text(machine.get("gpuTypeId")) or text(machine.get("gpuDisplayName")) or None,
        gpu_count=whole(row.get("gpuCount")) or 0,
        datacenter=text(machine.get("dataCenterId")) or None,
        cloud=None if secure is None else Cloud.SECURE if secure else Cloud.COMMUNITY,
        usd_per_hr=_rate(row.get("costPerHr")),
        # A stopped pod still shows its old ports for a while.
        ssh=_ssh(runtime) if status is PodStatus.RUNNING else None,
        uptime_seconds=_uptime(runtime),
        machine_id=text(row.get("machineId")) or None,
        last_status_change=text(row.get("lastStatusChange")),
        volume_gb=whole(row.get("volumeInGb")) or 0,
        container_disk_gb=whole(row.get("containerDiskInGb")) or 0,
        spot=row.get("podType") in _SPOT_TYPES,
        locked=row.get("locked") is True,
    )


def _rate(value: object) -> float | None:
    rate = number(value)
    return rate if rate is not None and rate >= 0 else None


def _status(value: object) -> PodStatus:
    try:
        return PodStatus(text(value).upper())
    except ValueError:
        return PodStatus.UNKNOWN


def _ssh(runtime: Mapping[str, Any]) -> SshEndpoint | None:
    """Return the public address of sshd; entries of the HTTP proxy have private addresses."""
    for each in tables(runtime.get("ports")):
        if each.get("type") != "tcp" or not each.get("isIpPublic") or whole(each.get("privatePort")) != 22:
            continue
        address, public = host(each.get("ip")), port(each.get("publicPort"))
        if address is not None and public is not None:
            return SshEndpoint(host=address, port=public)
    return None


def _uptime(runtime: Mapping[str, Any]) -> int | None:
    """Return the seconds since the container started; clocks differ, so RunPod may report a negative number."""
    seconds = number(runtime.get("uptimeInSeconds"))
    return None if seconds is None else max(0, int(seconds))
