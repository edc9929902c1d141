"""Requests that RunPod never serves: fields of a job that exclude each other, whatever their own values are.

They are checked at collection, and again before a pod is rented, because fixtures and flags may have changed the job.
"""

from __future__ import annotations

from typing import Protocol

from rpd.errors import DefinitionError
from rpd.values.job import CloudChoice, Cluster, Gpu, Lifecycle, Registry, Release, Storage


class Asked(Protocol):
    """A request to RunPod: a job, or the request that fixtures and flags made of it."""

    @property
    def gpu(self) -> Gpu | None: ...
    @property
    def cluster(self) -> Cluster | None: ...
    @property
    def storage(self) -> Storage: ...
    @property
    def cloud(self) -> CloudChoice: ...
    @property
    def datacenters(self) -> tuple[str, ...]: ...
    @property
    def compliance(self) -> tuple[str, ...]: ...
    @property
    def global_network(self) -> bool: ...
    @property
    def cpu(self) -> tuple[str, ...]: ...
    @property
    def cuda(self) -> tuple[str, ...]: ...
    @property
    def min_cuda(self) -> str | None: ...
    @property
    def spot(self) -> bool: ...
    @property
    def registry(self) -> Registry | str | None: ...
    @property
    def template_id(self) -> str | None: ...
    @property
    def min_vcpu(self) -> int | None: ...
    @property
    def min_memory_gb(self) -> int | None: ...


def check_place(request: Asked) -> None:
    """Raise DefinitionError for a place that RunPod never has, so that no run waits for stock there."""
    if request.min_cuda is not None and request.cuda:
        hint = "cuda lists versions, min_cuda is the lowest: remove one of the two"
        raise DefinitionError("Job", "min_cuda", "expected none with cuda", request.min_cuda, hint=hint)
    if request.cloud is not CloudChoice.COMMUNITY:
        return
    for name, got, why in (
        ("datacenters", request.datacenters, "RunPod refuses Community pods in one"),
        ("compliance", request.compliance, "and so are their certificates"),
        ("global_network", request.global_network, "and so is the network between them"),
    ):
        if got:
            hint = f"Data centres are Secure Cloud's, {why}: remove one of the two"
            raise DefinitionError("Job", name, 'expected none with cloud="community"', got, hint=hint)


def check_kind(request: Asked) -> None:
    """Raise DefinitionError for fields that RunPod has only for pods of the other kind: with a GPU, or without."""
    if request.gpu is None and request.storage.volume_gb:
        raise DefinitionError(
            "Job",
            "storage",
            "expected no volume_gb without a gpu: RunPod gives CPU pods no volume",
            request.storage,
            hint="Use container_disk_gb for space that is deleted with the pod, or network_volume for files that stay",
        )
    if request.gpu is not None and request.cpu:
        hint = "The CPU of a GPU pod is its host's: min_vcpu and min_memory_gb ask for enough of it"
        raise DefinitionError("Job", "cpu", "expected none with a gpu", request.cpu, hint=hint)
    if request.global_network and (
        request.gpu is None or any(name.startswith("AMD") for name in request.gpu.ids)
    ):
        got = "a CPU pod" if request.gpu is None else str(request.gpu)
        hint = "RunPod connects pods with NVIDIA GPUs only"
        raise DefinitionError("Job", "global_network", "expected False for this pod", got, hint=hint)


_CLUSTERS = "RunPod's API for clusters"


def check_cluster(request: Asked) -> None:
    """Raise DefinitionError for a cluster that RunPod never rents, or that its API cannot express."""
    if request.cluster is None:
        return
    if request.spot:
        raise DefinitionError(
            "Job", "spot", "expected False with a cluster: RunPod has no spot clusters", request.spot
        )
    if request.cloud is CloudChoice.COMMUNITY:
        hint = 'Community hosts have no private network: set cloud="secure"'
        raise DefinitionError("Job", "cloud", "expected secure with a cluster", str(request.cloud), hint=hint)
    for name in (
        "cuda",
        "min_cuda",
        "registry",
        "template_id",
        "min_vcpu",
        "min_memory_gb",
        "global_network",
    ):
        if getattr(request, name):
            got = type(request.registry).__name__ if name == "registry" else getattr(request, name)
            raise DefinitionError(
                "Job", name, f"expected none with a cluster: {_CLUSTERS} has no field for it", got
            )
    if request.gpu is not None and request.gpu.max_price_usd is not None:
        hint = "It takes no price: cap what the node may cost, with Budget(cost_cap_usd=…)"
        got = request.gpu.max_price_usd
        raise DefinitionError(
            "Gpu",
            "max_price_usd",
            f"expected none with a cluster: {_CLUSTERS} has no field for it",
            got,
            hint=hint,
        )


def check_cluster_gpu(request: Asked) -> None:
    """Raise DefinitionError for a cluster of CPU pods, which RunPod does not rent."""
    if request.cluster is not None and request.gpu is None:
        raise DefinitionError(
            "Job", "gpu", "expected a Gpu(…) with a cluster: RunPod has no clusters of CPU pods", None
        )


def check_cluster_lifecycle(cluster: Cluster | None, lifecycle: Lifecycle) -> None:
    """Raise DefinitionError for a cluster that is to be stopped: RunPod only deletes them."""
    for name in ("on_success", "on_failure"):
        how = getattr(lifecycle, name)
        if cluster is not None and how in (Release.STOP, Release.RECYCLE):
            hint = "RunPod cannot stop clusters, and a stopped member bills on with the others"
            raise DefinitionError(
                "Lifecycle", name, "expected delete or preserve with a cluster", str(how), hint=hint
            )
