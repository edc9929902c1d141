"""The methods that a provider has to implement, and the defaults of the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rpd.runpod.dry.provider import OfflineProvider
from rpd.runpod.dry.reading_provider import Onlooker
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rest.provider import RestProvider
from rpd.runpod.switch import SwitchingProvider
from rpd.values.pod import Account, Offer, PodInfo, PodRequest, PodSpec, Provider


class Least(Provider):
    """A provider with nothing but the necessary."""

    @property
    def name(self) -> str:
        return "least"

    def account(self) -> Account:
        return Account(id="me")

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        return ()

    def create(self, spec: PodSpec) -> PodInfo:
        raise NotImplementedError

    def get(self, pod_id: str) -> PodInfo | None:
        return None

    def list(self) -> Sequence[PodInfo]:
        return ()

    def stop(self, pod_id: str) -> None: ...

    def resume(self, pod_id: str, gpu_count: int) -> None: ...

    def delete(self, pod_id: str) -> None: ...


def test_the_rest_has_harmless_defaults() -> None:
    """Whatever rpd asks of a provider has an answer; notices go nowhere until somebody listens."""
    provider = Least()
    assert (provider.logs("p", tail=3), provider.volumes(), provider.datacenters()) == ((), None, None)
    provider.notify("unheard")
    notices: list[str] = []
    provider.notify = notices.append
    provider.notify("heard")
    provider.close()
    assert notices == ["heard"]
    Least().notify("another one's are its own")
    assert notices == ["heard"]


def test_a_provider_that_lacks_a_method_cannot_be_made() -> None:
    """Python says which one."""

    class Lacking(Least):
        delete = Provider.delete

    with pytest.raises(TypeError, match="delete"):
        Lacking()


@pytest.mark.parametrize("kind", [OfflineProvider, Onlooker, RunPodProvider, RestProvider, SwitchingProvider])
def test_every_provider_of_rpd_is_one(kind: type[object]) -> None:
    """None of them leaves a method out."""
    assert issubclass(kind, Provider)
    assert not getattr(kind, "__abstractmethods__", None)
