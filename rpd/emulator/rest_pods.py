"""Pods and network volumes as REST v2 shows them, and the orders in its request bodies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rpd.emulator import catalogue
from rpd.emulator.clusters import Cluster
from rpd.emulator.model import Membership, NetworkVolume, Order, Pod
from rpd.emulator.rest_body import Problem

_SECONDS_PROVISIONING = 0.05
_ACTIONS = {
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
}
_PROXY = "ssh.runpod.io"


def iso(moment: float) -> str:
    """Return a unix time as RFC 3339, to the microsecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def status(pod: Pod, now: float) -> str:
    """Return the status of the container itself, which may differ from the desired one."""
    if not pod.running:
        return "EXITED"
    if pod.runtime is not None or pod.died_at is not None:
        return "RUNNING"
    return "PROVISIONING" if now - pod.last_started_at < _SECONDS_PROVISIONING else "STARTING"


def pod_body(pod: Pod, now: float) -> dict[str, Any]:
    """Return a pod as the API answers it."""
    order, state = pod.order, status(pod, now)
    body = {
        "id": pod.id, "name": order.name, "status": state, "actions": _ACTIONS[state], "image": order.image,
        "args": order.docker_args, "disk": max(order.container_disk_gb or 0, 1), "mounts": _mounts(order),
        "ports": order.ports.split(",") if order.ports else [], "env": pod.env, "registry": order.registry,
        "cloud": pod.cloud.upper(), "dataCenterId": pod.datacenter, "cudaVersion": _cuda(pod),
        "ssh": {"proxy": _proxy(pod), "direct": _direct(pod)}, "template": None,
        "cost": pod.cost_per_hr if pod.running else 0.0, "locked": pod.locked, "runtime": _runtime(pod, now),
        "createdAt": iso(pod.created_at), "startedAt": iso(pod.last_started_at),
        "globalNetworking": {"enabled": order.global_network},
    }  # fmt: skip
    if pod.membership is not None:
        body["cluster"] = _membership(pod.membership)
    if pod.gpu:
        return {**body, "gpu": {"id": pod.gpu, "count": order.count}}
    flavor = (order.instance or "cpu3c-2-4").partition("-")[0]
    return {**body, "cpu": {"id": flavor, "vcpuCount": pod.vcpu, "memory": pod.memory_gb}}


def cluster_body(cluster: Cluster, members: Sequence[Pod], now: float) -> dict[str, Any]:
    """Return a cluster as the API answers it; fields of a placed member are missing before it is placed."""
    counts = Counter(status(pod, now) for pod in members)
    order = cluster.order
    body: dict[str, Any] = {
        "id": cluster.id, "name": cluster.name, "type": cluster.kind, "createdAt": iso(cluster.created_at),
        "compute": {"gpuTypeId": order.gpu, "gpuCountPerPod": order.count, "podCount": len(cluster.members)},
        "pods": {"total": len(members), "byStatus": dict(counts)},
        "network": {"cidr": f"{cluster.subnet}.0/24", "vxlanId": 42, "vxlanPort": 4789},
    }  # fmt: skip
    first = members[0] if members else None
    if first is not None:
        body["dataCenterId"] = first.datacenter
        direct = _direct(first)
        where = {"sshEndpoint": f"{direct['host']}:{direct['port']}"} if direct else {}
        body["primary"] = {"podId": first.id, "status": status(first, now), **where}
    return body


def _membership(held: Membership) -> dict[str, Any]:
    body = {"id": held.cluster, "rank": held.rank, "ip": held.ip}
    return {**body, "role": held.role} if held.role else body


def _mounts(order: Order) -> dict[str, Any]:
    path = order.mount or "/workspace"
    if order.network_volume:
        return {"network": [{"volumeId": order.network_volume, "path": path}]}
    return {"persistent": {"size": order.volume_gb, "path": path}} if order.volume_gb else {}


def _cuda(pod: Pod) -> str | None:
    return catalogue.cuda_versions(pod.datacenter)[-1] if pod.order.gpu else None


def _proxy(pod: Pod) -> dict[str, Any]:
    command = f"ssh {pod.host_id}@{_PROXY}"
    return {"host": _PROXY, "port": 22, "username": pod.host_id, "command": command}


def _direct(pod: Pod) -> dict[str, Any] | None:
    for port in pod.runtime.ports if pod.runtime and pod.running else ():
        if port["privatePort"] == 22 and port["type"] == "tcp":
            host, number = port["ip"], port["publicPort"]
            return {
                "host": host,
                "port": number,
                "username": "root",
                "command": f"ssh root@{host} -p {number}",
            }
    return None


def _runtime(pod: Pod, now: float) -> dict[str, Any] | None:
    if pod.runtime is None or not pod.running:
        return None
    return {
        "uptime": math.floor(now - pod.runtime.started_at),
        "gpus": [{"util": 0, "memoryUtil": 0} for _ in range(pod.gpu_count)],
        "cpu": {"util": 0}, "memory": {"util": 0},
        "ports": [
            {"private": p["privatePort"], "public": p["publicPort"], "type": p["type"], "ip": p["ip"]}
            for p in pod.runtime.ports
        ],
    }  # fmt: skip


def volume_body(volume: NetworkVolume) -> dict[str, Any]:
    """Return a network volume as the API answers it."""
    return {"id": volume.id, "name": volume.name, "size": volume.size, "dataCenter": volume.datacenter,
            "type": volume.tier}  # fmt: skip


# --- orders -----------------------------------------------------------------------------------------------------


def read_order(body: dict[str, Any]) -> Order:
    """Return the order in a valid create body. Raise Problem if it breaks a rule between its fields."""
    gpu, cpu, mounts = body.get("gpu"), body.get("cpu"), body.get("mounts") or {}
    if (gpu is None) == (cpu is None):
        raise Problem(400, "exactly one of gpu or cpu must be set")
    if not body.get("image") and not body.get("templateId"):
        raise Problem(422, "validation failed", ("body: expected required property image to be present",))
    persistent, network = mounts.get("persistent"), mounts.get("network") or []
    if persistent and network:
        raise Problem(400, "mounts.persistent and mounts.network are mutually exclusive")
    if persistent and cpu:
        raise Problem(400, "mounts.persistent is not supported on CPU pods")
    path = network[0]["path"] if network else persistent["path"] if persistent else None
    return Order(
        name=body["name"],
        image=body.get("image", ""),
        cloud=body.get("cloud", "SECURE").lower(),
        gpu=gpu["id"] if gpu else None,
        count=gpu.get("count", 1) if gpu else 0,
        instance=_instance(cpu) if cpu else None,
        datacenter=",".join(body.get("dataCenterIds") or ()) or None,
        container_disk_gb=body.get("disk"),
        volume_gb=persistent["size"] if persistent else 0,
        mount=path,
        network_volume=network[0]["volumeId"] if network else None,
        docker_args=body.get("args", ""),
        ports=",".join(body.get("ports") or ()),
        env=body.get("env") or {},
        template=body.get("templateId"),
        start_ssh=body.get("startSsh", False),
        cuda=_wanted_cuda(gpu) if gpu else (),
        registry=body.get("registry"),
        global_network=_global_network(body),
    )


def _global_network(body: dict[str, Any]) -> bool:
    is_global: bool = body.get("globalNetworking", False)
    gpu = body.get("gpu")
    if is_global and (gpu is None or gpu["id"].startswith("AMD")):
        raise Problem(400, "global networking requires an NVIDIA GPU")
    return is_global


def read_cluster(body: dict[str, Any]) -> tuple[Order, int]:
    """Return the order of each member and the number of members, from a valid create body of a cluster.

    Raise Problem.
    """
    compute = body["compute"]
    shared = {key: value for key, value in body.items() if key not in ("compute", "type")}
    gpu = {"id": compute["gpuTypeId"], "count": compute["gpuCountPerPod"]}
    return read_order({**shared, "gpu": gpu, "cloud": "SECURE"}), compute["podCount"]


def _instance(cpu: dict[str, Any]) -> str:
    flavor = catalogue.CPU_FLAVORS.get(cpu["id"])
    if flavor is None:
        raise Problem(400, f"unknown CPU flavor {cpu['id']}")
    return f"{flavor.id}-{cpu['vcpuCount']}-{cpu['vcpuCount'] * flavor.memory_gb_per_vcpu}"


def _wanted_cuda(gpu: dict[str, Any]) -> tuple[str, ...]:
    allowed, floor = gpu.get("allowedCudaVersions") or [], gpu.get("minCudaVersion")
    if allowed and floor:
        raise Problem(400, "allowedCudaVersions and minCudaVersion are mutually exclusive")
    return tuple(allowed) if not floor else (*catalogue.cuda_from(floor), floor)


def changes(body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an order that a valid PATCH body changes.

    Raise Problem for those the emulator cannot change.
    """
    names = {
        "name": "name",
        "image": "image",
        "args": "docker_args",
        "disk": "container_disk_gb",
        "env": "env",
    }
    changed = {names[key]: value for key, value in body.items() if key in names}
    if "ports" in body:
        changed["ports"] = ",".join(body["ports"])
    others = set(body) - set(names) - {"ports"}
    if others:
        raise Problem(400, f"the emulator cannot change {', '.join(sorted(others))}")
    return changed
