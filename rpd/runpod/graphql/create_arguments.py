"""What a create call sends: a PodSpec as the arguments of ``create_pod``, or as a spot pod's mutation."""

from __future__ import annotations

from typing import Any

from rpd.errors import ImpossibleRequest
from rpd.runpod.catalogue.cpu import cpu_instance
from rpd.runpod.create_texts import SSH_PORT
from rpd.runpod.graphql.escape import escape, quote
from rpd.values.pod import PodSpec


def create_arguments(spec: PodSpec, *, network_volume_id: str | None = None) -> dict[str, Any]:
    """Return the keyword arguments of ``runpod.create_pod``, every text escaped. Raises ImpossibleRequest.

    Nothing is left to the SDK's defaults: they are any cloud, the mount path ``/runpod-volume``, a disk of 10
    GB and a ``dockerArgs`` of ``""``, which replaces the command that starts sshd in the image. A CPU pod has
    no volume of its own: the SDK sends none.
    """
    request, offer = spec.request, spec.offer
    cpu_only = {"instance_id": cpu_instance(request.min_vcpu, request.min_memory_gb)}
    return {
        "name": escape(spec.name, "the pod's name"),
        "image_name": escape(request.image, "image"),
        "gpu_type_id": None if offer.gpu_id is None else escape(offer.gpu_id, "gpu"),
        "cloud_type": offer.cloud.value.upper(),
        "support_public_ip": True,
        "start_ssh": True,
        "data_center_id": None if offer.datacenter is None else escape(offer.datacenter, "datacenters"),
        "gpu_count": offer.count,
        "volume_in_gb": _volume_gb(spec),
        "container_disk_in_gb": request.container_disk_gb,
        "min_vcpu_count": request.min_vcpu or 1,
        "min_memory_in_gb": request.min_memory_gb or 1,
        "docker_args": None
        if request.docker_args is None
        else escape(request.docker_args, "docker_args", lines=True),
        "ports": _ports(spec),
        "volume_mount_path": escape(request.mount, "mount"),
        "env": {escape(k, "env"): escape(v, f"env[{k!r}]", lines=True) for k, v in spec.env.items()},
        "template_id": None if request.template_id is None else escape(request.template_id, "template_id"),
        "network_volume_id": network_volume_id,
        "allowed_cuda_versions": [escape(version, "cuda") for version in request.cuda] or None,
        **(cpu_only if offer.gpu_id is None else {}),
    }


def spot_mutation(spec: PodSpec, *, network_volume_id: str | None = None) -> str:
    """Return the mutation that bids for a spot pod, which the SDK cannot send. Raises ImpossibleRequest.

    ``bidPerGpu`` is per GPU while an offer's rate is for the pod. Field names: the mutation
    ``podRentInterruptable`` as SkyPilot and dstack send it.
    """
    request, offer = spec.request, spec.offer
    if offer.gpu_id is None:
        raise ImpossibleRequest("CPU pods cannot be spot pods: set spot=False or ask for a gpu")
    if offer.usd_per_hr is None:
        raise ImpossibleRequest(f"no price is known to bid for {offer.gpu_id}: set spot=False")
    fields = {
        "name": quote(spec.name, "the pod's name"),
        "imageName": quote(request.image, "image"),
        "gpuTypeId": quote(offer.gpu_id, "gpu"),
        "bidPerGpu": f"{offer.usd_per_hr / offer.count:.4f}",
        "cloudType": offer.cloud.value.upper(),
        "startSsh": "true",
        "supportPublicIp": "true",
        "gpuCount": str(offer.count),
        "containerDiskInGb": str(request.container_disk_gb),
        "volumeInGb": str(_volume_gb(spec)),
        "volumeMountPath": quote(request.mount, "mount"),
        "minVcpuCount": str(request.min_vcpu or 1),
        "minMemoryInGb": str(request.min_memory_gb or 1),
        "ports": quote(_ports(spec), "ports"),
        "env": _pairs(spec),
        "dataCenterId": None if offer.datacenter is None else quote(offer.datacenter, "datacenters"),
        "dockerArgs": None
        if request.docker_args is None
        else quote(request.docker_args, "docker_args", lines=True),
        "templateId": None if request.template_id is None else quote(request.template_id, "template_id"),
        "networkVolumeId": None if network_volume_id is None else quote(network_volume_id, "network_volume"),
        "allowedCudaVersions": f"[{', '.join(quote(v, 'cuda') for v in request.cuda)}]"
        if request.cuda
        else None,
    }
    sent = ", ".join(f"{name}: {value}" for name, value in fields.items() if value is not None)
    return f"mutation {{ podRentInterruptable(input: {{ {sent} }}) {{ id imageName machineId }} }}"


def _volume_gb(spec: PodSpec) -> int:
    storage = spec.request.storage
    return 0 if storage.network_volume else storage.volume_gb or 0


def _ports(spec: PodSpec) -> str:
    return escape(",".join(dict.fromkeys((SSH_PORT, *spec.request.ports))), "ports")


def _pairs(spec: PodSpec) -> str:
    pairs = (
        f"{{ key: {quote(name, 'env')}, value: {quote(value, f'env[{name!r}]', lines=True)} }}"
        for name, value in spec.env.items()
    )
    return f"[{', '.join(pairs)}]"
