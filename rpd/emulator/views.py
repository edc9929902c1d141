"""Views: the contents of the account, as GraphQL shows them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from rpd.emulator import catalogue
from rpd.emulator.account import Account
from rpd.emulator.billing import rate
from rpd.emulator.gpus import GpuType
from rpd.emulator.model import NetworkVolume, Pod, RegistryAuth, Template

View = dict[str, Any]


def user(account: Account, now: float) -> View:
    """Return the account. Fields that few clients ask for are computed only if they are selected."""
    return {
        "id": account.id,
        "email": "emulator@example.com",
        "pubKey": account.pub_key,
        "clientBalance": account.balance,
        "currentSpendPerHr": account.spend_per_hr(),
        "spendLimit": account.spend_limit,
        "minBalance": 0.0,
        "underBalance": account.balance <= 0,
        "notifyPodsStale": True,
        "notifyPodsGeneral": True,
        "notifyLowBalance": True,
        "isTeam": False,
        "networkVolumes": lambda _: list(map(volume, account.volumes.values())),
        "pods": lambda _: [pod(row, now) for row in account.pods.values() if row.membership is None],
        "podTemplates": lambda _: list(map(template, account.templates.values())),
        "secrets": [{"id": name, "name": name} for name in account.secrets],
        "containerRegistryCreds": list(map(registry, account.registries.values())),
        "datacenters": lambda _: list(map(data_center, catalogue.DATA_CENTERS.values())),
        "spendDetails": lambda _: _spend(account),
    }


def _spend(account: Account) -> View:
    compute = sum(pod.cost_per_hr for pod in account.pods.values() if pod.running)
    pods = sum(map(rate, account.pods.values()))
    return {
        "gpuComputePerHour": compute,
        "localStoragePerHour": pods - compute,
        "networkStoragePerHour": account.spend_per_hr() - pods,
    }


def pod(row: Pod, now: float) -> View:
    """Return a pod as it is at ``now``, unix seconds. ``uptimeSeconds`` is 0 on the real platform too."""
    order = row.order
    return {
        "id": row.id,
        "name": order.name,
        "imageName": order.image,
        "desiredStatus": row.desired_status,
        "costPerHr": row.cost_per_hr,
        "adjustedCostPerHr": row.cost_per_hr,
        "containerDiskInGb": order.container_disk_gb,
        "volumeInGb": order.volume_gb,
        "volumeMountPath": order.mount,
        "volumeEncrypted": False,
        "dockerArgs": order.docker_args,
        "env": [f"{key}={value}" for key, value in row.env.items()],
        "gpuCount": row.gpu_count,
        "vcpuCount": row.vcpu,
        "memoryInGb": row.memory_gb,
        "lastStatusChange": row.last_status_change,
        "lastStartedAt": iso(row.last_started_at),
        "createdAt": iso(row.created_at),
        "machineId": row.machine_id,
        "machine": _machine(row),
        "podType": "RESERVED" if order.bid_per_gpu is None else "BID",
        "ports": order.ports,
        "uptimeSeconds": 0,
        "locked": row.locked,
        "runtime": _runtime(row, now),
        "networkVolumeId": order.network_volume,
        "templateId": order.template,
        "latestTelemetry": _telemetry(row, now),
        "lowestBidPriceToResume": order.bid_per_gpu,
    }


def _machine(row: Pod) -> View:
    place = catalogue.DATA_CENTERS.get(row.datacenter or "")
    gpu = row.gpu
    return {
        "podHostId": row.host_id,
        "gpuTypeId": gpu,
        "dataCenterId": row.datacenter,
        "gpuDisplayName": catalogue.display_name(gpu) if gpu else None,
        "location": place.location if place else catalogue.COMMUNITY_COUNTRIES[0],
        "secureCloud": row.cloud == "secure",
        "supportPublicIp": True,
        "costPerHr": str(row.cost_per_hr),
        "currentPricePerGpu": str(round(row.cost_per_hr / max(row.order.count, 1), 4)),
    }


def _runtime(row: Pod, now: float) -> View | None:
    if row.runtime is None:
        return None
    gpus = [f"GPU-{row.id}-{index}" for index in range(row.gpu_count)]
    return {
        "uptimeInSeconds": math.floor(now - row.runtime.started_at),
        "ports": list(row.runtime.ports),
        "gpus": [{"id": gpu, "gpuUtilPercent": 0, "memoryUtilPercent": 0} for gpu in gpus],
        "container": {"cpuPercent": 0, "memoryPercent": 0},
    }


def _telemetry(row: Pod, now: float) -> View | None:
    if row.died_at is not None:
        return {"state": "exited", "time": iso(row.died_at)}
    return None if row.runtime is None else {"state": "running", "time": iso(now)}


def volume(row: NetworkVolume) -> View:
    """Return a network volume."""
    return {
        "id": row.id,
        "name": row.name,
        "size": row.size,
        "dataCenterId": row.datacenter,
        "dataCenter": data_center(catalogue.DATA_CENTERS[row.datacenter]),
    }


def registry(row: RegistryAuth) -> View:
    """Return registry credentials without the secrets, which cannot be read back."""
    return {"id": row.id, "name": row.name}


def template(row: Template) -> View:
    """Return a template."""
    return {
        "id": row.id,
        "name": row.name,
        "imageName": row.image,
        "dockerArgs": row.docker_args,
        "containerDiskInGb": row.container_disk_gb,
        "volumeInGb": row.volume_gb,
        "volumeMountPath": row.mount,
        "ports": row.ports,
        "isServerless": False,
        "isPublic": False,
        "env": [{"key": key, "value": value} for key, value in row.env.items()],
    }


def data_center(place: catalogue.DataCenter) -> View:
    """Return a data centre."""
    return {
        "id": place.id,
        "name": place.name,
        "location": place.location,
        "region": place.region,
        "listed": place.listed,
        "storageSupport": place.storage,
        "compliance": list(place.compliance),
    }


def cpu_flavor(row: catalogue.CpuFlavor) -> View:
    """Return a CPU flavour; ``row`` is for its nested resolver."""
    return {
        "row": row,
        "id": row.id,
        "displayName": row.name,
        "groupId": row.id[:4],
        "groupName": row.name,
        "minVcpu": row.min_vcpu,
        "maxVcpu": row.max_vcpu,
        "ramMultiplier": row.memory_gb_per_vcpu,
        "diskLimitPerVcpu": row.disk_gb_per_vcpu,
    }


def gpu_type(row: GpuType, places: list[str]) -> View:
    """Return a GPU type with its prices per GPU; ``row`` is for its nested resolver."""
    secure, community = catalogue.price(row, "secure"), catalogue.price(row, "community")
    return {
        "row": row,
        "id": row.id,
        "displayName": catalogue.display_name(row.id),
        "memoryInGb": row.memory_gb,
        "manufacturer": "AMD" if row.id.startswith("AMD") else "Nvidia",
        "cudaCores": 0,
        "minPodGpuCount": 1,
        "secureCloud": secure is not None,
        "communityCloud": community is not None,
        "maxGpuCount": max(row.max_count_secure, row.max_count_community),
        "maxGpuCountSecureCloud": row.max_count_secure,
        "maxGpuCountCommunityCloud": row.max_count_community,
        "securePrice": secure,
        "communityPrice": community,
        "secureSpotPrice": secure,
        "communitySpotPrice": community,
        "nodeGroupDatacenters": [{"id": place} for place in places] if secure else [],
    }


def lowest_price(row: GpuType, cloud: str, count: int, free: int) -> View | None:
    """Return the price for all ``count`` GPUs in ``cloud``; None if they are not available at once."""
    unit, most = catalogue.price(row, cloud), catalogue.most(row, cloud)
    word = catalogue.stock_word(free, count)
    if unit is None or word is None or count > most:
        return None
    return {
        "gpuName": catalogue.display_name(row.id),
        "gpuTypeId": row.id,
        "stockStatus": word,
        "minimumBidPrice": round(unit * count, 4),
        "uninterruptablePrice": round(unit * count, 4),
        "minVcpu": catalogue.VCPU_PER_GPU * count,
        "minMemory": catalogue.MEMORY_GB_PER_GPU * count,
        "maxUnreservedGpuCount": min(free, most),
        "supportPublicIp": True,
        "availableGpuCounts": list(range(1, min(most, free) + 1)),
        "gpuTypeCudaVersions": [
            {"cudaVersion": version, "availability": "AVAILABLE"} for version in catalogue.CUDA_VERSIONS
        ],
    }


def iso(moment: float) -> str:
    """Return unix seconds as the API writes instants."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
