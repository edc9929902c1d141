"""Who rents the pods of a dry run."""

from __future__ import annotations

import sys

import pytest

from rpd.errors import PodNotFound
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.job import Gpu, Storage
from rpd.values.pod import PodRequest, PodStatus, Provider
from tests.runpod.conftest import spec


def test_a_pod_is_ready_at_once_and_lives_until_it_is_deleted() -> None:
    """Create, read, stop and delete work, in memory only."""
    provider: Provider = OfflineProvider()
    pod = provider.create(spec())
    assert pod.ssh is not None
    assert (pod.usd_per_hr, pod.datacenter, pod.name) == (0.49, "EU-RO-1", "rpd-run-node-1")
    assert provider.get(pod.id) == pod
    provider.stop(pod.id)
    assert [(p.id, p.status) for p in provider.list()] == [(pod.id, PodStatus.EXITED)]
    provider.delete(pod.id)
    provider.delete(pod.id)
    assert provider.get(pod.id) is None
    with pytest.raises(PodNotFound):
        provider.stop(pod.id)


def test_offers_come_at_shipped_prices() -> None:
    """A dry run knows prices but neither stock nor where a network volume is."""
    provider = OfflineProvider()
    request = PodRequest(image="i", gpu=Gpu("NVIDIA L4"), storage=Storage(network_volume="w"), env={"A": "b"})
    [offer] = provider.offers(request)
    assert (offer.usd_per_hr, offer.stock, offer.datacenter) == (0.49, "unknown", None)
    assert provider.offers(request) is provider.offers(request)


def test_many_pods_cost_next_to_nothing() -> None:
    """A dry run of a large sweep is not slowed down by its provider: a pod is a few dozen calls, however many there were."""
    provider = OfflineProvider()
    asked = spec()
    calls = [0]

    def count(*_: object) -> None:
        calls[0] += 1

    def per_pod() -> float:
        calls[0] = 0
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            for _ in range(100):
                provider.offers(asked.request)
                provider.delete(provider.create(asked).id)
        finally:
            sys.setprofile(before)
        return calls[0] / 100

    per_pod()
    assert per_pod() < 100
    for _ in range(2000):
        provider.delete(provider.create(asked).id)
    assert per_pod() < 100
    assert provider.list() == ()
