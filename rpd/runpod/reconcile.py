"""Create calls whose response was lost or says too little: rpd looks for the pod by its unique name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rpd.errors import AmbiguousCreate, ProviderError, TransientError
from rpd.values.frozen import frozen, replace
from rpd.values.pod import PodInfo, PodSpec, PodStatus


class UnsureCreate(AmbiguousCreate):
    """A create call that failed although RunPod may have made the pod.

    ``refusal`` is the error in RunPod's response, None if the response never came or was not the API's.
    """

    def __init__(self, message: str, *, refusal: ProviderError | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal


@frozen
class Patience:
    """How long to look for a pod after an unanswered create: seconds before each reading of the list.

    A pod may show up late, so rpd looks for about 15 s after a lost response. If RunPod did respond, with an
    error, it has finished with the request, and one look is enough.
    """

    lost: tuple[float, ...] = (0.0, 2.0, 4.0, 8.0)
    answered: tuple[float, ...] = (0.0,)
    sleep: Callable[[float], object] = time.sleep


def reconciled(
    spec: PodSpec, unsure: UnsureCreate, patience: Patience, list_pods: Callable[[], Sequence[PodInfo]]
) -> PodInfo:
    """Return the pod of that name; raise RunPod's error, or one that says that no such pod exists."""
    waits = patience.lost if unsure.refusal is None else patience.answered
    for wait in waits:
        patience.sleep(wait)
        try:
            made = next((pod for pod in list_pods() if pod.name == spec.name), None)
        except ProviderError as error:
            raise AmbiguousCreate(
                f"{unsure}; could not check whether pod {spec.name} exists: {error}"
            ) from None
        if made is not None:
            return made
    if unsure.refusal is not None:
        raise unsure.refusal from None
    raise TransientError(f"{unsure}; no pod named {spec.name} exists") from None


def as_asked(spec: PodSpec, pod_id: str, machine_id: str | None = None) -> PodInfo:
    """Return the new pod as the request describes it."""
    return PodInfo(
        id=pod_id,
        name=spec.name,
        status=PodStatus.RUNNING,
        image=spec.request.image,
        gpu=spec.offer.gpu_id,
        gpu_count=spec.offer.count,
        datacenter=spec.offer.datacenter,
        cloud=spec.offer.cloud,
        usd_per_hr=spec.offer.usd_per_hr,
        machine_id=machine_id,
        volume_gb=spec.request.storage.volume_gb or 0,
        container_disk_gb=spec.request.container_disk_gb,
        spot=spec.request.spot,
    )


def completed(answer: PodInfo, asked: PodInfo) -> PodInfo:
    """Return the pod as RunPod describes it, with missing facts taken from the request."""
    return replace(
        answer,
        name=answer.name or asked.name,
        gpu=answer.gpu or asked.gpu,
        datacenter=answer.datacenter or asked.datacenter,
        cloud=answer.cloud or asked.cloud,
        usd_per_hr=asked.usd_per_hr if answer.usd_per_hr is None else answer.usd_per_hr,
    )


def living(pod: PodInfo) -> PodInfo | None:
    """Return ``pod`` unless it is deleted: RunPod still lists some for a while."""
    return None if pod.status is PodStatus.TERMINATED else pod
