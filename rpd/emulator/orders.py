"""Orders: the inputs of GraphQL's create and edit mutations, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from rpd.emulator import catalogue
from rpd.emulator.model import Order

Given = Mapping[str, Any]


def variables(rows: Iterable[Given] | None) -> dict[str, str]:
    """Return ``[{key, value}]`` as a dictionary."""
    return {row["key"]: row["value"] for row in rows or ()}


def gpu_order(given: Given) -> Order:
    """Return the order in a GPU create input, of the on-demand or the spot mutation."""
    return Order(
        name=given.get("name") or "",
        image=given.get("imageName") or "",
        cloud=(given.get("cloudType") or "ALL").lower(),
        gpu=given.get("gpuTypeId") or "",
        count=given.get("gpuCount") or 1,
        datacenter=given.get("dataCenterId"),
        country=given.get("countryCode"),
        container_disk_gb=given.get("containerDiskInGb"),
        volume_gb=given.get("volumeInGb") or 0,
        mount=given.get("volumeMountPath"),
        network_volume=given.get("networkVolumeId"),
        docker_args=given.get("dockerArgs") or "",
        ports=(given.get("ports") or "").replace(" ", ""),
        env=variables(given.get("env")),
        template=given.get("templateId"),
        start_ssh=bool(given.get("startSsh")),
        min_vcpu=given.get("minVcpuCount") or 1,
        min_memory_gb=given.get("minMemoryInGb") or 1,
        cuda=_cuda(given),
        compliance=tuple(given.get("compliance") or ()),
        global_network=bool(given.get("globalNetwork")),
        bid_per_gpu=given.get("bidPerGpu"),
        deploy_cost=given.get("deployCost"),
        registry=given.get("containerRegistryAuthId"),
    )


def _cuda(given: Given) -> tuple[str, ...]:
    floor = given.get("minCudaVersion")
    return tuple(given.get("allowedCudaVersions") or ((*catalogue.cuda_from(floor), floor) if floor else ()))


def cpu_order(given: Given) -> Order:
    """Return the order in a CPU create input; CPU pods exist in the Secure Cloud only."""
    return replace(gpu_order(given), gpu=None, instance=given.get("instanceId"), cloud="secure", count=0)


def changes(given: Given) -> dict[str, Any]:
    """Return the fields of an order that an edit changes."""
    names = {
        "imageName": "image",
        "dockerArgs": "docker_args",
        "ports": "ports",
        "volumeInGb": "volume_gb",
        "containerDiskInGb": "container_disk_gb",
        "volumeMountPath": "mount",
    }
    changed = {names[key]: value for key, value in given.items() if key in names and value is not None}
    if given.get("env") is not None:
        changed["env"] = variables(given["env"])
    return changed
