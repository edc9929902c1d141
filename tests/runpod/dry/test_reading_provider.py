"""Who rents the pods of a live dry run: reads are passed on, acts are not."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest

from rpd.errors import ImpossibleRequest
from rpd.execute.no_network import Blocked, everywhere, lowered
from rpd.runpod.dry.reading_provider import Onlooker
from rpd.values.job import Gpu
from rpd.values.pod import Account, Cloud, Offer, PodInfo, PodRequest, PodSpec, Provider
from tests.runpod.conftest import spec

OFFER = Offer(
    gpu_id="NVIDIA L4", count=1, cloud=Cloud.SECURE, datacenter="EU-RO-1", usd_per_hr=0.5, stock="low"
)
WANTED = PodRequest(image="i", gpu=Gpu("NVIDIA L4"))


class Live(Provider):
    """A provider that connects to ``port`` for each read, and fails the test where it is to act."""

    name = "somebody"

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: list[str] = []
        self.closed = False

    def _read(self, what: str) -> None:
        self.asked.append(what)
        socket.create_connection(("127.0.0.1", self._port), timeout=60).close()

    def account(self) -> Account:
        self._read("account")
        return Account(id="me", balance_usd=3.0)

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        self._read("offers")
        if request.spot:
            raise ImpossibleRequest("no spot pods here")
        return [OFFER]

    def close(self) -> None:
        self.closed = True

    def create(self, spec: PodSpec) -> PodInfo:
        raise AssertionError("a pod was asked for")

    def get(self, pod_id: str) -> PodInfo | None:
        raise AssertionError("a pod that is not there was asked about")

    def list(self) -> Sequence[PodInfo]:
        raise AssertionError("pods of others are none of a dry run's business")

    def stop(self, pod_id: str) -> None:
        raise AssertionError("a pod was stopped")

    def resume(self, pod_id: str, gpu_count: int) -> None:
        raise AssertionError("a pod was resumed")

    def delete(self, pod_id: str) -> None:
        raise AssertionError("a pod was deleted")


@pytest.fixture
def live() -> Iterator[Live]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Live(server.getsockname()[1])


def test_what_acts_stays_here(live: Live) -> None:
    """The life of a pod stays in memory; the real provider gets none of it, and is closed at the end."""
    provider: Provider = Onlooker(live)
    pod = provider.create(spec())
    assert provider.get(pod.id) == pod
    provider.stop(pod.id)
    provider.resume(pod.id, 1)
    assert [each.id for each in provider.list()] == [pod.id]
    provider.delete(pod.id)
    provider.close()
    assert (live.asked, live.closed, provider.name) == ([], True, "somebody")


def test_reads_pass_where_the_code_of_a_job_does_not(live: Live) -> None:
    """On a guarded thread the answers still come; the thread itself still reaches nothing."""
    provider = Onlooker(live, lowered)
    with everywhere("in a dry run"):
        assert list(provider.offers(WANTED)) == [OFFER]
        assert provider.account().balance_usd == 3.0
        with pytest.raises(Blocked):
            live.account()


def test_a_kind_of_request_is_asked_once(live: Live) -> None:
    """Requests that differ only in fields that do not affect offers share an answer.

    An error is raised at its request.
    """
    provider = Onlooker(live)
    for image in ("a", "b"):
        provider.offers(PodRequest(image=image, gpu=Gpu("NVIDIA L4")))
    provider.offers(PodRequest(image="a", gpu=Gpu("NVIDIA L4"), cuda=("12.8",)))
    assert live.asked == ["offers", "offers"]
    with pytest.raises(ImpossibleRequest, match="no spot pods here"):
        provider.offers(PodRequest(image="a", gpu=Gpu("NVIDIA L4"), spot=True))


def test_what_a_provider_does_not_tell_cannot_be_asked(live: Live) -> None:
    """Volumes and data centres are there for those that tell them."""
    assert (Onlooker(live).volumes(), Onlooker(live).datacenters()) == (None, None)
    live.datacenters = lambda: frozenset({"EU-RO-1"})  # type: ignore[method-assign]
    assert Onlooker(live).datacenters() == {"EU-RO-1"}
