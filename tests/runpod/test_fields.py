"""Every field of a pod request, over both APIs: the emulated RunPod makes the requested pod of it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import ImpossibleRequest, NoCapacity
from rpd.runpod.base_provider import Renter
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.rest.provider import RestProvider
from rpd.values.job import CloudChoice, Cluster, Gpu, Job, Storage
from rpd.values.overrides import Overrides
from rpd.values.pod import PodInfo, PodRequest, PodSpec

L4 = Gpu("NVIDIA L4")


@pytest.fixture(params=[RunPodProvider, RestProvider], ids=["graphql", "rest"])
def provider(account: Launched, request: pytest.FixtureRequest) -> Iterator[Renter]:
    bucket = TokenBucket(rate=1000, burst=1000, sleep=lambda _: None)
    kind: type[Renter] = request.param
    made = kind(account.api_key, retry=Retry(first_wait=0.01), bucket=bucket, url=account.base_url)
    yield made
    for pod in made.list():
        made.delete(pod.id)
    made.close()


def rent(provider: Renter, request: PodRequest, number: int = 0) -> PodInfo:
    offer = provider.offers(request)[number]
    return provider.create(PodSpec(name="rpd-x", request=request, offer=offer, env={"PUBLIC_KEY": "k"}))


def asked(**fields: Any) -> PodRequest:
    job = Job(**{"gpu": L4, "image": "a", **fields})
    return Overrides().request(job, job.gpu)


def shown(account: Launched, pod: PodInfo) -> Any:
    """Return the pod as REST v2 shows it."""
    headers = {"Authorization": f"Bearer {account.api_key}"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{account.base_url}/v2/pods/{pod.id}", headers=headers)
    ) as got:
        return json.load(got)


def test_a_lowest_cuda_version(provider: Renter) -> None:
    """Data centres whose drivers are older are passed over; where one is named, RunPod refuses."""
    found = {offer.datacenter for offer in provider.offers(asked(min_cuda="12.8"))}
    assert "US-TX-3" in found
    assert not {"OC-AU-1", "US-TX-4"} & found
    pod = rent(provider, asked(min_cuda="12.4", datacenters="OC-AU-1"))
    assert pod.datacenter == "OC-AU-1"
    request = asked(min_cuda="12.8", datacenters="US-TX-3")
    offer = provider.offers(request)[0]
    with pytest.raises(NoCapacity):
        provider.create(
            PodSpec(name="rpd-y", request=asked(min_cuda="13.1"), offer=offer, env={"PUBLIC_KEY": "k"})
        )


def test_countries_certificates_and_the_global_network(account: Launched, provider: Renter) -> None:
    """The pod is where all of them hold, and nowhere else; an impossible request makes no call."""
    request = asked(countries=["fr", "cz"], compliance="iso-iec 27001", global_network=True)
    assert {offer.datacenter for offer in provider.offers(request)} == {"EU-CZ-1"}
    pod = rent(provider, request)
    assert pod.datacenter == "EU-CZ-1"
    assert shown(account, pod)["globalNetworking"] == {"enabled": True}
    with pytest.raises(ImpossibleRequest, match="US-TX-3: not in FR or CZ and certified ISO_IEC_27001"):
        provider.offers(asked(countries=["FR", "CZ"], compliance="ISO_IEC_27001", datacenters="US-TX-3"))


def test_a_country_of_community_hosts(provider: Renter) -> None:
    """GraphQL chooses it; REST v2 has no word for it and says so, or leaves Community Cloud out."""
    gpu = Gpu("NVIDIA GeForce RTX 4090")
    community = asked(gpu=gpu, countries="ES", cloud="community")
    anywhere = {
        (offer.cloud.value, offer.country)
        for offer in provider.offers(asked(gpu=gpu, countries="CZ", cloud="any"))
    }
    if isinstance(provider, RestProvider):
        with pytest.raises(ImpossibleRequest, match="does not choose the country of a Community pod"):
            provider.offers(community)
        assert anywhere == {("secure", None)}
        return
    assert anywhere == {("secure", None), ("community", "CZ")}
    assert rent(provider, community).cloud == "community"
    with pytest.raises(NoCapacity):
        rent(provider, asked(gpu=gpu, countries="AU", cloud="community"))


def test_a_cpu_flavour(account: Launched, provider: Renter) -> None:
    """Flavours are tried in order, each as small as will do, at its own price."""
    request = asked(gpu=None, cpu=["cpu5m", "cpu3g"], min_vcpu=4)
    assert [(offer.cpu, offer.usd_per_hr) for offer in provider.offers(request)] == [
        ("cpu5m", 0.24),
        ("cpu3g", 0.16),
    ]
    assert shown(account, rent(provider, request, 1))["cpu"] == {"id": "cpu3g", "vcpuCount": 4, "memory": 16}


def test_a_template_says_what_the_job_does_not(account: Launched, provider: Renter) -> None:
    """Image and disk are the template's unless the job names them."""
    job = Job(gpu=L4, template_id="runpod-ubuntu")
    told = shown(account, rent(provider, Overrides().request(job, L4)))
    assert (told["image"], told["disk"]) == ("runpod/base:1.0.2-ubuntu2204", 20)
    told = shown(account, rent(provider, Overrides().request(job(image="own:1", container_disk_gb=7), L4)))
    assert (told["image"], told["disk"]) == ("own:1", 7)
    assert job(template_id=None).image == Job().image


def test_the_tier_of_a_network_volume(account: Launched, provider: Renter) -> None:
    """A volume of the other tier is an error that names its tier, before a pod."""
    account.make_volume("data", "US-CA-2")
    wrong = asked(storage=Storage(network_volume="data", tier="high_performance"))
    with pytest.raises(ImpossibleRequest, match="'data' is standard, but the job asks for high_performance"):
        provider.offers(wrong)
    right = asked(storage=Storage(network_volume="data", tier="standard"), cloud=CloudChoice.ANY)
    assert {offer.datacenter for offer in provider.offers(right)} == {"US-CA-2"}
    for volume in account.state()["volumes"]:
        headers = {"Authorization": f"Bearer {account.api_key}"}
        address = f"{account.base_url}/v2/network-volumes/{volume['id']}"
        urllib.request.urlopen(urllib.request.Request(address, headers=headers, method="DELETE")).close()


def test_a_cluster_where_it_may_be(account: Launched, provider: Renter) -> None:
    """Clusters are confined as pods are."""
    if not isinstance(provider, RestProvider):
        return
    request = asked(gpu=Gpu("NVIDIA H100 80GB HBM3", count=8), cluster=Cluster(nodes=2), compliance="HIPAA")
    assert {offer.datacenter for offer in provider.clusters().offers(request)} == {"US-CA-2", "US-KS-2"}
