"""The content of a create call: a PodSpec as arguments of ``create_pod``, or as a mutation of our own."""

from __future__ import annotations

from typing import Any

from rpd.errors import ImpossibleRequest
from rpd.remote import ssh_start
from rpd.runpod.catalogue.cpu import cpu_instance
from rpd.runpod.create_texts import SSH_PORT
from rpd.runpod.graphql.escape import escape, quote
from rpd.values.pod import PodSpec


def create_arguments(spec: PodSpec, *, network_volume_id: str | None = None) -> dict[str, Any]:
    """Return the keyword arguments of ``runpod.create_pod``, every text escaped. Raise ImpossibleRequest.

    Nothing is left to the SDK's defaults, which are: any cloud, the mount path ``/runpod-volume``, a disk of
    10 GB, and a ``dockerArgs`` of ``""``, which replaces the command that starts sshd in the image. A CPU pod
    has no volume of its own: the SDK sends none.
    """
    request, offer = spec.request, spec.offer
    docker_args = ssh_start.docker_args(request)
    cpu_only = {"instance_id": cpu_instance(request.min_vcpu, request.min_memory_gb, offer.cpu)}
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
        "docker_args": None if docker_args is None else escape(docker_args, "docker_args", lines=True),
        "ports": _ports(spec),
        "volume_mount_path": escape(request.mount, "mount"),
        "env": {
            escape(name, "env"): escape(value, f"env[{name!r}]", lines=True)
            for name, value in ssh_start.environment(request, spec.env).items()
        },
        "template_id": None if request.template_id is None else escape(request.template_id, "template_id"),
        "network_volume_id": network_volume_id,
        "country_code": None if offer.country is None else escape(offer.country, "countries"),
        "allowed_cuda_versions": [escape(version, "cuda") for version in request.cuda] or None,
        **(cpu_only if offer.gpu_id is None else {}),
    }


def sdk_lacks(spec: PodSpec) -> bool:
    """Return whether the SDK's ``create_pod`` has no argument for some part of the request.

    It also sends values that a template should decide: an empty image, a volume of 0 GB.
    """
    request = spec.request
    return bool(
        request.spot
        or spec.registry_id is not None
        or request.min_cuda
        or request.global_network
        or request.template_id is not None
    )


def create_mutation(spec: PodSpec, *, network_volume_id: str | None = None) -> tuple[str, str]:
    """Return the mutation that creates a pod the SDK cannot request, and its name. Raise ImpossibleRequest.

    See ``sdk_lacks``. Field names are those that SkyPilot and dstack send.
    """
    if spec.request.spot:
        name, own = "podRentInterruptable", _bid(spec)
    elif spec.offer.gpu_id is None:
        name, own = "deployCpuPod", _cpu(spec)
    else:
        name, own = "podFindAndDeployOnDemand", {}
    fields = {**_common(spec, network_volume_id), **({} if name == "deployCpuPod" else _gpu(spec)), **own}
    sent = ", ".join(f"{field}: {value}" for field, value in fields.items() if value is not None)
    return f"mutation {{ {name}(input: {{ {sent} }}) {{ id imageName machineId }} }}", name


def _common(spec: PodSpec, network_volume_id: str | None) -> dict[str, str | None]:
    """Return the fields of every pod, as GraphQL literals."""
    request, offer = spec.request, spec.offer
    docker_args = ssh_start.docker_args(request)
    return {
        "name": quote(spec.name, "the pod's name"),
        "imageName": _quoted(request.image or None, "image"),
        "cloudType": offer.cloud.value.upper(),
        "startSsh": "true",
        "containerDiskInGb": str(request.container_disk_gb) if request.container_disk_gb else None,
        "volumeMountPath": quote(request.mount, "mount"),
        "ports": quote(_ports(spec), "ports"),
        "env": _pairs(spec),
        "dataCenterId": _quoted(offer.datacenter, "datacenters"),
        "countryCode": _quoted(offer.country, "countries"),
        "dockerArgs": None if docker_args is None else quote(docker_args, "docker_args", lines=True),
        "templateId": _quoted(request.template_id, "template_id"),
        "networkVolumeId": _quoted(network_volume_id, "network_volume"),
        "containerRegistryAuthId": _quoted(spec.registry_id, "registry"),
    }


def _gpu(spec: PodSpec) -> dict[str, str | None]:
    request, offer = spec.request, spec.offer
    return {
        "gpuTypeId": _quoted(offer.gpu_id, "gpu"),
        "gpuCount": str(offer.count),
        "supportPublicIp": "true",
        "volumeInGb": None if _is_templates(spec) else str(_volume_gb(spec)),
        "minVcpuCount": str(request.min_vcpu or 1),
        "minMemoryInGb": str(request.min_memory_gb or 1),
        "allowedCudaVersions": f"[{', '.join(quote(v, 'cuda') for v in request.cuda)}]"
        if request.cuda
        else None,
        "minCudaVersion": _quoted(request.min_cuda, "min_cuda"),
        "globalNetwork": "true" if request.global_network else None,
    }


def _cpu(spec: PodSpec) -> dict[str, str | None]:
    instance = cpu_instance(spec.request.min_vcpu, spec.request.min_memory_gb, spec.offer.cpu)
    price = spec.offer.usd_per_hr
    # Without a maximum price there are no machines for a CPU pod.
    return {
        "instanceId": quote(instance, "min_vcpu"),
        "deployCost": None if price is None else f"{price:.4f}",
    }


def _bid(spec: PodSpec) -> dict[str, str | None]:
    """Return the bid. ``bidPerGpu`` is per GPU, while an offer's rate is for the pod. Raise ImpossibleRequest."""
    offer = spec.offer
    if offer.gpu_id is None:
        raise ImpossibleRequest("CPU pods cannot be spot pods: set spot=False or ask for a gpu")
    if offer.usd_per_hr is None:
        raise ImpossibleRequest(f"the price to bid for {offer.gpu_id} is unknown: set spot=False")
    return {"bidPerGpu": f"{offer.usd_per_hr / offer.count:.4f}"}


def _quoted(text: str | None, what: str) -> str | None:
    return None if text is None else quote(text, what)


def _volume_gb(spec: PodSpec) -> int:
    storage = spec.request.storage
    return 0 if storage.network_volume else storage.volume_gb or 0


def _is_templates(spec: PodSpec) -> bool:
    """Return whether the template alone decides the size of the volume."""
    storage = spec.request.storage
    return (
        spec.request.template_id is not None and storage.volume_gb is None and storage.network_volume is None
    )


def _ports(spec: PodSpec) -> str:
    return escape(",".join(dict.fromkeys((SSH_PORT, *spec.request.ports))), "ports")


def _pairs(spec: PodSpec) -> str:
    pairs = (
        f"{{ key: {quote(name, 'env')}, value: {quote(value, f'env[{name!r}]', lines=True)} }}"
        for name, value in ssh_start.environment(spec.request, spec.env).items()
    )
    return f"[{', '.join(pairs)}]"
