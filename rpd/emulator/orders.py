"""Orders: the inputs of GraphQL's create and edit mutations, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from rpd.emulator import catalogue
from rpd.emulator.model import Order

Input = Mapping[str, Any]


def variables(rows: Iterable[Input] | None) -> dict[str, str]:
    """Return ``[{key, value}]`` as a dictionary."""
    return {row["key"]: row["value"] for row in rows or ()}


def gpu_order(fields: Input) -> Order:
    """Return the order in a GPU create input, of the on-demand or the spot mutation."""
    return Order(
        name=fields.get("name") or "",
        image=fields.get("imageName") or "",
        cloud=(fields.get("cloudType") or "ALL").lower(),
        gpu=fields.get("gpuTypeId") or "",
        count=fields.get("gpuCount") or 1,
        datacenter=fields.get("dataCenterId"),
        country=fields.get("countryCode"),
        container_disk_gb=fields.get("containerDiskInGb"),
        volume_gb=fields.get("volumeInGb") or 0,
        mount=fields.get("volumeMountPath"),
        network_volume=fields.get("networkVolumeId"),
        docker_args=fields.get("dockerArgs") or "",
        ports=(fields.get("ports") or "").replace(" ", ""),
        env=variables(fields.get("env")),
        template=fields.get("templateId"),
        start_ssh=bool(fields.get("startSsh")),
        min_vcpu=fields.get("minVcpuCount") or 1,
        min_memory_gb=fields.get("minMemoryInGb") or 1,
        cuda=_cuda(fields),
        compliance=tuple(fields.get("compliance") or ()),
        global_network=bool(fields.get("globalNetwork")),
        bid_per_gpu=fields.get("bidPerGpu"),
        deploy_cost=fields.get("deployCost"),
        registry=fields.get("containerRegistryAuthId"),
    )


def _cuda(fields: Input) -> tuple[str, ...]:
    floor = fields.get("minCudaVersion")
    return tuple(fields.get("allowedCudaVersions") or ((*catalogue.cuda_from(floor), floor) if floor else ()))


def cpu_order(fields: Input) -> Order:
    """Return the order in a CPU create input; CPU pods exist in the Secure Cloud only."""
    return replace(gpu_order(fields), gpu=None, instance=fields.get("instanceId"), cloud="secure", count=0)


def changes(fields: Input) -> dict[str, Any]:
    """Return the fields of an order that an edit changes."""
    names = {
        "imageName": "image",
        "dockerArgs": "docker_args",
        "ports": "ports",
        "volumeInGb": "volume_gb",
        "containerDiskInGb": "container_disk_gb",
        "volumeMountPath": "mount",
    }
    changed = {names[key]: value for key, value in fields.items() if key in names and value is not None}
    if fields.get("env") is not None:
        changed["env"] = variables(fields["env"])
    return changed
