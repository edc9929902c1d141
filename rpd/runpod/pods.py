"""Pods as RunPod describes them, read into PodInfo: the queries, and what their fields mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpd.runpod.literal import quote
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
    """Return the pod that ``row`` describes: an answer to the queries above, or one of the SDK's own."""
    machine = _table(row.get("machine"))
    runtime = _table(row.get("runtime"))
    status = _status(row.get("desiredStatus"))
    secure = machine.get("secureCloud")
    return PodInfo(
        id=str(row["id"]),
        name=str(row.get("name") or ""),
        status=status,
        image=str(row.get("imageName") or ""),
        gpu=machine.get("gpuTypeId") or machine.get("gpuDisplayName") or None,
        gpu_count=int(_number(row.get("gpuCount")) or 0),
        datacenter=machine.get("dataCenterId") or None,
        cloud=None if secure is None else Cloud.SECURE if secure else Cloud.COMMUNITY,
        usd_per_hr=_number(row.get("costPerHr")),
        # A stopped pod goes on showing the ports it had for a while.
        ssh=_ssh(runtime) if status is PodStatus.RUNNING else None,
        uptime_seconds=_uptime(runtime),
        machine_id=row.get("machineId") or None,
        last_status_change=str(row.get("lastStatusChange") or ""),
        volume_gb=int(_number(row.get("volumeInGb")) or 0),
        container_disk_gb=int(_number(row.get("containerDiskInGb")) or 0),
        spot=row.get("podType") in _SPOT_TYPES,
        locked=row.get("locked") is True,
    )


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _status(text: object) -> PodStatus:
    try:
        return PodStatus(str(text).upper())
    except ValueError:
        return PodStatus.UNKNOWN


def _ssh(runtime: Mapping[str, Any]) -> SshEndpoint | None:
    """Return where sshd is reached from outside; entries of the http proxy have private addresses."""
    for port in map(_table, runtime.get("ports") or ()):
        public = (
            port.get("type") == "tcp" and port.get("isIpPublic") and port.get("ip") and port.get("publicPort")
        )
        if public and port.get("privatePort") == 22:
            return SshEndpoint(host=str(port["ip"]), port=int(port["publicPort"]))
    return None


def _uptime(runtime: Mapping[str, Any]) -> int | None:
    """Return the seconds since the container started; clocks differ, so RunPod may show less than none."""
    seconds = _number(runtime.get("uptimeInSeconds"))
    return None if seconds is None else max(0, int(seconds))


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
