"""Fields of a pod request that REST v2 lacks; GraphQL had them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rpd.values.job import CloudChoice, Gpu

NO_SPOT = "RunPod's REST v2 rents no spot pods: set spot=False"


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


def impossible(asked: Asked) -> str:
    """Return why REST v2 has no such pod, with what to do; empty if it may have one."""
    if asked.spot:
        return NO_SPOT
    if asked.countries and asked.cloud is CloudChoice.COMMUNITY:
        return (
            "RunPod's REST v2 does not choose the country of a Community pod: leave countries out, or set "
            'cloud="secure", whose data centres have one'
        )
    return ""


def left_out(asked: Asked) -> Iterator[str]:
    """Yield a sentence for each thing that REST v2 does not look at, of a pod that it may have."""
    if asked.gpu is None or impossible(asked):
        return
    if asked.min_vcpu or asked.min_memory_gb:
        yield "RunPod's REST v2 has no min_vcpu and min_memory_gb for GPU pods: rpd leaves them out"
    if asked.cloud is CloudChoice.SECURE or asked.datacenters:
        return
    if asked.countries:
        yield (
            "RunPod's REST v2 does not choose the country of a Community pod: rpd looks in the data centres of "
            "Secure Cloud only"
        )
    else:
        yield (
            "RunPod's REST v2 cannot ask for Community hosts with a public IP address: rpd gives up a pod that gets "
            "none, after ssh_ready_timeout"
        )
