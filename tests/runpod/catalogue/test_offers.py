"""Offers: pure, from a request and a catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import ImpossibleRequest, RequestRejected
from rpd.runpod.catalogue.model import Catalogue, GpuRow, shipped_catalogue
from rpd.runpod.catalogue.offers import find_volume, offers
from rpd.values.gpus import KNOWN_GPU_TYPES
from rpd.values.job import CloudChoice, Gpu, Storage
from rpd.values.pod import Cloud, NetworkVolume, Offer, PodRequest

L4, A40, H100, MI300 = "NVIDIA L4", "NVIDIA A40", "NVIDIA H100 80GB HBM3", "AMD Instinct MI300X OAM"

ROWS = (
    GpuRow(
        id=L4, memory_gb=24, secure_usd_per_hr=0.5, community_usd_per_hr=0.3, max_secure=8, max_community=1
    ),
    GpuRow(id=A40, memory_gb=48, secure_usd_per_hr=0.4, max_secure=10, max_community=0),
    GpuRow(
        id=H100, memory_gb=80, secure_usd_per_hr=3.0, community_usd_per_hr=2.5, max_secure=8, max_community=8
    ),
    GpuRow(id=MI300, memory_gb=192, secure_usd_per_hr=0.1, max_secure=8, max_community=0),
)
STOCK = {
    L4: {"EU-RO-1": "low", "US-KS-2": "high", "EU-CZ-1": "high"},
    H100: {"EU-SE-1": "medium"},
}
CATALOGUE = Catalogue(
    gpus=MappingProxyType({row.id: row for row in ROWS}), stock=STOCK, stock_known=True, complete=True
)


def request(gpu: Gpu | None, **changes: Any) -> PodRequest:
    return PodRequest(image="i", gpu=gpu, **changes)


def places(offered: tuple[Offer, ...]) -> list[tuple[str | None, str, str | None]]:
    return [(offer.gpu_id, offer.cloud.value, offer.datacenter) for offer in offered]


def test_gpu_then_cloud_then_the_fullest_data_centre_then_any() -> None:
    """The whole order on one request."""
    offered = offers(request(Gpu(H100, L4), cloud=CloudChoice.ANY), CATALOGUE)
    assert places(offered) == [
        (H100, "secure", "EU-SE-1"),
        (H100, "secure", None),
        (H100, "community", None),
        (L4, "secure", "EU-CZ-1"),
        (L4, "secure", "US-KS-2"),
        (L4, "secure", "EU-RO-1"),
        (L4, "secure", None),
        (L4, "community", None),
    ]


def test_the_users_data_centres_are_kept_in_their_order() -> None:
    """Listed data centres are tried as listed, whatever their stock, and nowhere else; lower case is corrected."""
    offered = offers(request(Gpu(L4), datacenters=("EU-RO-1", "us-ks-2", "AP-JP-1")), CATALOGUE)
    assert [(o.datacenter, o.stock) for o in offered] == [
        ("EU-RO-1", "low"),
        ("US-KS-2", "high"),
        ("AP-JP-1", "none"),
    ]


def test_the_fallback_cloud_comes_after_everything() -> None:
    """The second cloud is tried for every GPU once the first cloud refused them all."""
    offered = offers(request(Gpu(L4, H100), fallback_cloud=CloudChoice.COMMUNITY), CATALOGUE)
    clouds = [offer.cloud for offer in offered]
    assert clouds == sorted(clouds, key=[Cloud.SECURE, Cloud.COMMUNITY].index)
    assert [o.gpu_id for o in offered if o.cloud is Cloud.COMMUNITY] == [L4, H100]


def test_prices_are_for_the_whole_pod() -> None:
    """Two GPUs cost twice the price of one, and a cloud that has no such pod makes no offer."""
    offered = offers(request(Gpu(L4, count=2), cloud=CloudChoice.ANY), CATALOGUE)
    assert {offer.usd_per_hr for offer in offered} == {1.0}
    assert {offer.cloud for offer in offered} == {Cloud.SECURE}


def test_by_memory_the_cheapest_comes_first_and_only_cuda() -> None:
    """A capability is served in the order of prices, by NVIDIA's types: images are made for CUDA."""
    offered = offers(request(Gpu(min_vram_gb=24), cloud=CloudChoice.ANY), CATALOGUE)
    prices = [offer.usd_per_hr for offer in offered]
    assert prices == sorted(prices, key=lambda price: price or 0)
    assert offered[0].gpu_id == L4
    assert offered[0].cloud is Cloud.COMMUNITY
    assert {offer.gpu_id for offer in offered} == {L4, A40, H100}
    assert offers(request(Gpu(MI300)), CATALOGUE)[0].gpu_id == MI300


def test_cheapest_reorders_a_list() -> None:
    """``prefer="cheapest"`` goes by price and keeps the order of the data centres."""
    offered = offers(request(Gpu(L4, A40, prefer="cheapest")), CATALOGUE)
    assert places(offered)[:2] == [(A40, "secure", None), (L4, "secure", "EU-CZ-1")]


def test_place_goes_data_centre_by_data_centre() -> None:
    """``prefer="place"`` tries every GPU of the list in the first data centre, then in the next."""
    offered = offers(request(Gpu(L4, A40, prefer="place"), datacenters=("EU-RO-1", "us-ks-2")), CATALOGUE)
    assert places(offered) == [
        (L4, "secure", "EU-RO-1"),
        (A40, "secure", "EU-RO-1"),
        (L4, "secure", "US-KS-2"),
        (A40, "secure", "US-KS-2"),
    ]
    # By memory, prices order the GPUs of each place; where no place is named, the list does as ever.
    by_memory = offers(request(Gpu(min_vram_gb=24, prefer="place"), datacenters=("EU-RO-1",)), CATALOGUE)
    assert [offer.gpu_id for offer in by_memory][:2] == [A40, L4]
    assert places(offers(request(Gpu(L4, A40, prefer="place")), CATALOGUE)) == places(
        offers(request(Gpu(L4, A40)), CATALOGUE)
    )


def test_memory_narrows_a_list() -> None:
    """Ids that have too little memory are left out."""
    offered = offers(request(Gpu(L4, A40, min_vram_gb=40)), CATALOGUE)
    assert {offer.gpu_id for offer in offered} == {A40}


def test_a_spot_bid_is_the_spot_price_else_the_price_on_demand() -> None:
    """The rate of a spot offer is its bid."""
    row = GpuRow(id=L4, memory_gb=24, secure_usd_per_hr=0.5, secure_spot_usd_per_hr=0.2)
    catalogue = Catalogue(gpus={L4: row, A40: ROWS[1]})
    offered = offers(request(Gpu(L4, A40, count=2), spot=True), catalogue)
    assert [offer.usd_per_hr for offer in offered] == [0.4, 0.8]


def test_a_type_that_nobody_rents_makes_no_offer() -> None:
    """A complete catalogue without the type means no; one that may have missed it means perhaps."""
    assert offers(request(Gpu("Tesla T4")), CATALOGUE) == ()
    perhaps = offers(request(Gpu("Tesla T4")), Catalogue(gpus={}))
    assert [(o.gpu_id, o.usd_per_hr) for o in perhaps] == [("Tesla T4", None)]


def test_an_unknown_price_is_not_below_a_ceiling() -> None:
    """A ceiling lets only known prices pass."""
    shipped = shipped_catalogue()
    assert offers(request(Gpu("Tesla T4")), shipped) != ()
    assert offers(request(Gpu("Tesla T4", max_price_usd=100)), shipped) == ()


def test_a_cpu_pod() -> None:
    """A CPU pod has no GPU, and its rate where it is known."""
    offered = offers(request(None, cloud=CloudChoice.ANY, datacenters=("EU-RO-1",)), CATALOGUE)
    assert offered == (
        Offer(gpu_id=None, count=0, cloud=Cloud.SECURE, datacenter="EU-RO-1", usd_per_hr=0.06),
    )


VOLUMES = (
    NetworkVolume(id="v1", name="weights", datacenter="EU-RO-1"),
    NetworkVolume(id="v2", name="twice", datacenter="EU-RO-1"),
    NetworkVolume(id="v3", name="twice", datacenter="US-KS-2"),
)
WITH_VOLUMES = Catalogue(gpus=CATALOGUE.gpus, stock=STOCK, stock_known=True, complete=True, volumes=VOLUMES)


def test_a_network_volume_pins_its_data_centre_and_secure_cloud() -> None:
    """Nothing is tried elsewhere than where the volume is."""
    wanted = request(Gpu(L4), cloud=CloudChoice.ANY, storage=Storage(network_volume="weights"))
    assert places(offers(wanted, WITH_VOLUMES)) == [(L4, "secure", "EU-RO-1")]
    assert places(offers(wanted, CATALOGUE))[-1] == (L4, "secure", None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"storage": Storage(network_volume="weights"), "cloud": CloudChoice.COMMUNITY},
            "needs Secure Cloud",
        ),
        ({"storage": Storage(network_volume="weights"), "datacenters": ("US-KS-2",)}, "is in EU-RO-1"),
        ({"storage": Storage(network_volume="wieghts")}, "did you mean 'weights'"),
        ({"storage": Storage(network_volume="zzz")}, "it has 'weights'"),
        ({"storage": Storage(network_volume="twice")}, "v2 in EU-RO-1, v3 in US-KS-2"),
        ({"gpu": None, "spot": True}, "CPU pods cannot be spot"),
        ({"gpu": None, "cloud": CloudChoice.COMMUNITY}, "CPU pods are in Secure Cloud only"),
        ({"gpu": None, "min_vcpu": 999}, "no CPU pod has 999 vCPUs"),
    ],
)
def test_a_request_that_contradicts_itself_is_told(changes: dict[str, Any], says: str) -> None:
    """The message says which two wishes do not go together."""
    with pytest.raises(RequestRejected, match=says):
        offers(PodRequest(**{"image": "i", "gpu": Gpu(L4), **changes}), WITH_VOLUMES)


def test_a_volume_is_found_by_its_id() -> None:
    """An id tells two volumes of one name apart."""
    assert find_volume("v3", VOLUMES).datacenter == "US-KS-2"


# --- whatever is asked ----------------------------------------------------------------------------------------------

GPUS = st.builds(
    Gpu,
    *[st.sampled_from(sorted(KNOWN_GPU_TYPES))] * 3,
    count=st.integers(1, 10),
    max_price_usd=st.none() | st.floats(0.1, 20),
    prefer=st.sampled_from(["listed", "cheapest", "place"]),
) | st.builds(
    Gpu,
    min_vram_gb=st.integers(1, 200),
    count=st.integers(1, 10),
    max_price_usd=st.none() | st.floats(0.1, 20),
)
DATACENTERS = st.lists(st.sampled_from(["EU-RO-1", "US-KS-2", "EU-SE-1"]), max_size=3).map(tuple)
REQUESTS = st.builds(
    PodRequest,
    image=st.just("i"),
    gpu=GPUS,
    datacenters=DATACENTERS,
    cloud=st.sampled_from(CloudChoice),
    fallback_cloud=st.none() | st.sampled_from(CloudChoice),
    spot=st.booleans(),
)
LEVELS = st.dictionaries(
    st.sampled_from(sorted(KNOWN_GPU_TYPES)),
    st.dictionaries(
        st.sampled_from(["EU-RO-1", "US-KS-2", "EU-SE-1"]), st.sampled_from(["high", "medium", "low"])
    ),
)


@given(REQUESTS, LEVELS)
def test_whatever_is_asked_the_offers_keep_the_rules(
    asked: PodRequest, stock: dict[str, dict[str, str]]
) -> None:
    """No offer twice, none above the ceiling, none the user did not ask for, none too large; order as preferred."""
    catalogue = Catalogue(gpus=shipped_catalogue().gpus, stock=stock, stock_known=True)
    if asked.cloud is CloudChoice.COMMUNITY and asked.datacenters:
        with pytest.raises(ImpossibleRequest, match="no data centres to choose from"):
            offers(asked, catalogue)
        return
    offered = offers(asked, catalogue)
    assert all(offer.datacenter is None for offer in offered if offer.cloud is Cloud.COMMUNITY)
    gpu = asked.gpu
    assert gpu is not None
    assert len({(o.gpu_id, o.cloud, o.datacenter) for o in offered}) == len(offered)
    for offer in offered:
        row = catalogue.row(str(offer.gpu_id))
        assert row is not None
        assert row.rents(offer.cloud, gpu.count)
        assert not gpu.ids or offer.gpu_id in gpu.ids
        assert gpu.ids or row.memory_gb >= (gpu.min_vram_gb or 0)
        assert not asked.datacenters or offer.datacenter in asked.datacenters
        if gpu.max_price_usd is not None:
            assert offer.usd_per_hr is not None
            assert offer.usd_per_hr <= gpu.max_price_usd
    first = {Cloud.SECURE, Cloud.COMMUNITY} if asked.cloud == "any" else {Cloud(asked.cloud.value)}
    primary = [offer for offer in offered if offer.cloud in first]
    assert offered[: len(primary)] == tuple(primary)
    if gpu.prefer == "place" and asked.datacenters:
        by_place = [
            (asked.datacenters.index(str(offer.datacenter)), gpu.ids.index(str(offer.gpu_id)))
            for offer in primary
        ]
        assert by_place == sorted(by_place)
    elif gpu.ids and gpu.prefer != "cheapest":
        order = [gpu.ids.index(str(offer.gpu_id)) for offer in primary]
        assert order == sorted(order)
    else:
        prices = [float("inf") if o.usd_per_hr is None else o.usd_per_hr for o in primary]
        assert prices == sorted(prices)
