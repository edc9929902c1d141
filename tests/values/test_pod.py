"""The values about pods: the text of offers, and the equality of requests."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from rpd.values.job import CloudChoice, Gpu
from rpd.values.pod import Cloud, Offer, PodInfo, PodRequest, PodStatus

H100 = "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("gpu", "count", "datacenter", "text"),
    [
        (H100, 1, "EU-RO-1", f"{H100} in EU-RO-1 (secure)"),
        (H100, 8, None, f"8x {H100} in any data centre (secure)"),
        (None, 0, None, "CPU in any data centre (secure)"),
        (None, 4, "EU-RO-1", "CPU in EU-RO-1 (secure)"),
    ],
)
def test_an_offer_reads_as_people_say_it(
    gpu: str | None, count: int, datacenter: str | None, text: str
) -> None:
    """Number, type, place, cloud."""
    offer = Offer(gpu_id=gpu, count=count, cloud=Cloud.SECURE, datacenter=datacenter, usd_per_hr=1.0)
    assert str(offer) == text


def test_requests_are_told_apart_by_value() -> None:
    """Equal requests are one key; the environment counts for equality, though it is not hashed."""
    one = PodRequest(image="a", gpu=Gpu(H100), env={"A": "1"})
    assert one == PodRequest(image="a", gpu=Gpu(H100), env={"A": "1"})
    assert len({one, PodRequest(image="a", gpu=Gpu(H100), env={"A": "1"})}) == 1
    other = replace(one, env={"A": "2"})
    assert hash(one) == hash(other)
    assert one != other
    assert one != replace(one, cloud=CloudChoice.ANY)


def test_values_do_not_change() -> None:
    """The description of a pod cannot be changed later."""
    pod = PodInfo(id="p", name="rpd-x", status=PodStatus.RUNNING)
    with pytest.raises(FrozenInstanceError):
        pod.status = PodStatus.EXITED  # type: ignore[misc]


def test_words_are_those_of_the_platform() -> None:
    """A status reads and compares as the text RunPod sends."""
    assert PodStatus("EXITED") is PodStatus.EXITED
    assert f"{PodStatus.RUNNING}" == "RUNNING"
    assert [str(cloud) for cloud in Cloud] == ["secure", "community"]
