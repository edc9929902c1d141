"""Pods in REST v2: the body of a create call, and the meaning of the responses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from rpd.errors import ImpossibleRequest
from rpd.remote import ssh_start
from rpd.runpod.catalogue.cpu import cpu_instance
from rpd.runpod.create_texts import SSH_PORT, sendable
from rpd.runpod.response import host, identifier, number, port, table, tables, text, whole
from rpd.runpod.rest.client import Rest
from rpd.runpod.rest.lacks import NO_SPOT
from rpd.values.pod import OWNER_VARIABLE, Cloud, PodInfo, PodSpec, PodStatus, SshEndpoint

LogSource = Literal["system", "container"]

LEAST_VOLUME_GB = 10
"""The smallest pod volume that REST v2 accepts."""

_LOG_QUIET_SECONDS = 2.0
_LOG_SECONDS = 8.0
"""Seconds of silence after which the lines of a log stream count as complete."""

_STATUSES = {
    "PROVISIONING": PodStatus.RUNNING,
    "STARTING": PodStatus.RUNNING,
    "RUNNING": PodStatus.RUNNING,
    "EXITED": PodStatus.EXITED,
    # Nothing runs any more, and it can be restarted: as after a stop.
    "ERROR": PodStatus.EXITED,
    "TERMINATED": PodStatus.TERMINATED,
}
"""REST v2 reports how far a container is; PodStatus is RunPod's goal for the pod, which bills from the start."""


def create_body(spec: PodSpec, *, network_volume_id: str | None = None) -> dict[str, Any]:
    """Return the body of ``POST /v2/pods``. Raise ImpossibleRequest.

    ``startSsh`` adds the account's keys only if the environment has no ``PUBLIC_KEY``. Without ``count``
    RunPod answers that there are no instances.
    """
    request, offer = spec.request, spec.offer
    if request.spot:
        raise ImpossibleRequest(NO_SPOT)
    _check_texts(spec)
    body: dict[str, Any] = {
        "name": spec.name,
        "cloud": offer.cloud.value.upper(),
        "ports": list(dict.fromkeys((SSH_PORT, *request.ports))),
        "env": dict(ssh_start.environment(request, spec.env)),
        "startSsh": True,
        "dataCenterIds": [] if offer.datacenter is None else [offer.datacenter],
        **_compute(spec),
        **_mounts(spec, network_volume_id),
    }
    if request.image:  # otherwise the template decides; the same goes for the disk
        body["image"] = request.image
    if request.container_disk_gb:
        body["disk"] = request.container_disk_gb
    if request.global_network:
        body["globalNetworking"] = True
    docker_args = ssh_start.docker_args(request)
    if docker_args is not None:
        body["args"] = docker_args
    if spec.registry_id is not None:
        body["registry"] = spec.registry_id
    if request.template_id is not None:
        body["templateId"] = request.template_id
    return body


def _check_texts(spec: PodSpec) -> None:
    """Raise ImpossibleRequest for characters that cannot be sent, so that both APIs accept the same requests."""
    sendable(spec.name, "the pod's name")
    sendable(spec.request.image, "image")
    sendable(spec.request.docker_args or "", "docker_args", lines=True)
    for name, value in spec.env.items():
        sendable(name, "env")
        sendable(value, f"env[{name!r}]", lines=True)


def _compute(spec: PodSpec) -> dict[str, Any]:
    request, offer = spec.request, spec.offer
    if offer.gpu_id is None:
        flavour, vcpus, _ = cpu_instance(request.min_vcpu, request.min_memory_gb, offer.cpu).split("-")
        return {"cpu": {"id": flavour, "vcpuCount": int(vcpus)}}
    gpu: dict[str, Any] = {"id": offer.gpu_id, "count": offer.count}
    if request.min_cuda:
        gpu["minCudaVersion"] = request.min_cuda
    elif request.cuda:
        gpu["allowedCudaVersions"] = list(request.cuda)
    return {"gpu": gpu}


def _mounts(spec: PodSpec, network_volume_id: str | None) -> dict[str, Any]:
    request = spec.request
    if network_volume_id is not None:
        return {"mounts": {"network": [{"volumeId": network_volume_id, "path": request.mount}]}}
    # A CPU pod has no volume of its own.
    if not request.storage.volume_gb or spec.offer.gpu_id is None:
        return {}
    size = max(request.storage.volume_gb, LEAST_VOLUME_GB)
    return {"mounts": {"persistent": {"size": size, "path": request.mount}}}


def pod_info(row: Mapping[str, Any]) -> PodInfo:
    """Return the pod in a response. Raise Misshapen if it has no id."""
    gpu, runtime = table(row.get("gpu")), table(row.get("runtime"))
    status = _STATUSES.get(text(row.get("status")), PodStatus.UNKNOWN)
    uptime = number(runtime.get("uptime"))
    return PodInfo(
        id=identifier(row.get("id")),
        name=text(row.get("name")),
        status=status,
        image=text(row.get("image")),
        gpu=text(gpu.get("id")) or None,
        gpu_count=whole(gpu.get("count")) or 0,
        datacenter=text(row.get("dataCenterId")) or None,
        cloud=_cloud(row.get("cloud")),
        usd_per_hr=_rate(row.get("cost"), status),
        ssh=_ssh(row) if status is PodStatus.RUNNING else None,
        uptime_seconds=None if uptime is None else max(0, int(uptime)),
        last_status_change=text(row.get("status")),
        container_disk_gb=whole(row.get("disk")) or 0,
        volume_gb=whole(table(table(row.get("mounts")).get("persistent")).get("size")) or 0,
        locked=row.get("locked") is True,
    )


def read_owners(answer: Any) -> dict[str, str]:
    """Return the owners of the listed pods, by pod id, as far as their environment names them."""
    owners = {
        identifier(row.get("id")): text(table(row.get("env")).get(OWNER_VARIABLE))
        for row in tables(table(answer).get("pods"))
    }
    return {pod_id: owner for pod_id, owner in owners.items() if owner}


def _rate(value: object, status: PodStatus) -> float | None:
    """Return the cost of a pod. Nothing is free: a running pod without a cost is one whose cost is not known yet."""
    rate = number(value)
    if rate is None or rate < 0 or (rate == 0 and status is PodStatus.RUNNING):
        return None
    return rate


def path_of(pod_id: str) -> str:
    """Return the path of a pod. Raise ImpossibleRequest if it cannot be an id."""
    return f"/pods/{quote(sendable(pod_id, 'the pod id'), safe='')}"


def read_logs(rest: Rest, pod_id: str, tail: int, source: LogSource = "system") -> tuple[str, ...]:
    """Return the last lines of the machine's log about the pod, or of its container's output. Raise PodNotFound."""
    if tail < 1:
        return ()
    params = {"source": source, "tail": str(tail)}
    events = rest.events(
        f"{path_of(pod_id)}/logs", params, count=tail, quiet=_LOG_QUIET_SECONDS, seconds=_LOG_SECONDS
    )
    return tuple(line for event in events if (line := text(table(event).get("line"))))


def _cloud(value: object) -> Cloud | None:
    return {"SECURE": Cloud.SECURE, "COMMUNITY": Cloud.COMMUNITY}.get(text(value))


def _ssh(row: Mapping[str, Any]) -> SshEndpoint | None:
    """Return the direct address of sshd; RunPod's proxy carries neither files nor forwarded ports."""
    direct = table(table(row.get("ssh")).get("direct"))
    address, public = host(direct.get("host")), port(direct.get("port"))
    if address is None or public is None:
        return None
    return SshEndpoint(host=address, port=public, user=_user(direct.get("username")))


def _user(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value) else "root"
