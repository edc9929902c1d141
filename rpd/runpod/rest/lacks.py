"""Fields of a pod request that REST v2 lacks and GraphQL had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rpd.values.job import CloudChoice, Gpu

NO_SPOT = "RunPod's REST v2 has no spot pods: set spot=False"


class Asked(Protocol):
    """A job, or the request that fixtures and flags made of it."""

    @property
    def gpu(self) -> Gpu | None: ...
    @property
    def spot(self) -> bool: ...
    @property
    def cloud(self) -> CloudChoice: ...
    @property
    def datacenters(self) -> tuple[str, ...]: ...
    @property
    def countries(self) -> tuple[str, ...]: ...
    @property
    def min_vcpu(self) -> int | None: ...
    @property
    def min_memory_gb(self) -> int | None: ...


def impossible(request: Asked) -> str:
    """Return why REST v2 has no such pod, with advice; empty if it may have one."""
    if request.spot:
        return NO_SPOT
    if request.countries and request.cloud is CloudChoice.COMMUNITY:
        return (
            "RunPod's REST v2 does not choose the country of a Community pod: leave countries out, or set "
            'cloud="secure", whose data centres have one'
        )
    return ""


def left_out(request: Asked) -> Iterator[str]:
    """Yield a sentence for each part of a possible request that REST v2 ignores."""
    if request.gpu is None or impossible(request):
        return
    if request.min_vcpu or request.min_memory_gb:
        yield "RunPod's REST v2 has no min_vcpu and min_memory_gb for GPU pods: rpd leaves them out"
    if request.cloud is CloudChoice.SECURE or request.datacenters:
        return
    if request.countries:
        yield (
            "RunPod's REST v2 does not choose the country of a Community pod: rpd looks in the data centres of "
            "Secure Cloud only"
        )
    else:
        yield (
            "RunPod's REST v2 cannot ask for Community hosts with a public IP address: rpd gives up a pod that gets "
            "none, after ssh_ready_timeout"
        )
