"""The market: turns a request and a catalogue into the offers to try, best first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rpd.errors import ImpossibleRequest
from rpd.runpod.catalogue.cpu import cpu_price
from rpd.runpod.catalogue.model import IN_STOCK, Catalogue, GpuRow
from rpd.values.datacenters import KNOWN_DATACENTERS, country_of
from rpd.values.frozen import replace
from rpd.values.job import CloudChoice, Cluster, Gpu
from rpd.values.pod import Cloud, NetworkVolume, Offer, Place, PodRequest

_CLOUDS = {
    CloudChoice.SECURE: (Cloud.SECURE,),
    CloudChoice.COMMUNITY: (Cloud.COMMUNITY,),
    CloudChoice.ANY: (Cloud.SECURE, Cloud.COMMUNITY),
}


def offers(request: PodRequest, catalogue: Catalogue) -> tuple[Offer, ...]:
    """Return the offers to try for ``request``, best first; empty if nothing that RunPod rents fits.

    The order is the user's GPU order, then cloud, then data centre: requested ones in their order, else those
    in stock, the fullest first, and finally any (stock is a hint that lags). Data centres known not to have
    the GPU with the requested CUDA versions are left out. ``prefer="cheapest"`` and a request by memory sort
    by price first, ``prefer="place"`` by the requested data centres. The fallback cloud comes after
    everything else. No offer exceeds ``max_price_usd``, a price per pod and hour; offers without a known
    price are left out then. Community hosts are in no data centre that could be requested: a request for data
    centres, certificates or the global network has none of them, and a request for countries has one offer
    per country. Raise ImpossibleRequest for a request that contradicts itself.
    """
    placed = _at_its_volume(request, catalogue)
    if placed.gpu is None:
        return tuple(_cpu_offers(placed, catalogue))
    if placed.cloud is CloudChoice.COMMUNITY and placed.datacenters:
        raise ImpossibleRequest(
            "Community Cloud has no data centres to choose from, but the job asks for "
            f"{', '.join(placed.datacenters)}: "
            'set cloud="secure" or "any", or leave datacenters out'
        )
    first = _CLOUDS[placed.cloud]
    second = _CLOUDS[placed.fallback_cloud] if placed.fallback_cloud else ()
    groups = (first, tuple(cloud for cloud in second if cloud not in first))
    return tuple(offer for clouds in groups for offer in _gpu_offers(placed, placed.gpu, clouds, catalogue))


def is_particular(request: PodRequest) -> bool:
    """Return whether the request needs facts that only the list of data centres has."""
    return bool(request.compliance or request.global_network)


def _allowed(request: PodRequest, catalogue: Catalogue) -> tuple[str, ...] | None:
    """Return the data centres in Secure Cloud where the pod may be, in the order of the request; None: anywhere.

    Raise ImpossibleRequest if none of them is in its countries, holds its certificates, and so on.
    """
    if not (request.countries or is_particular(request)):
        return tuple(dict.fromkeys(request.datacenters)) or None
    every_place = catalogue.places or tuple(Place(id=name) for name in sorted(KNOWN_DATACENTERS))
    rules = dict(_rules(request, places_known=catalogue.places is not None))
    candidates = request.datacenters or tuple(place.id for place in every_place)
    by_id = {place.id: place for place in every_place}
    allowed = tuple(
        name
        for name in dict.fromkeys(candidates)
        if name in by_id and all(rule(by_id[name]) for rule in rules.values())
    )
    if allowed or (request.cloud is not CloudChoice.SECURE and _may_be_community(request)):
        return allowed
    where = ", ".join(request.datacenters) or "none of RunPod's data centres"
    raise ImpossibleRequest(f"{where}: not {' and '.join(rules)}; `rpd gpus` shows where there are GPUs")


def _rules(request: PodRequest, *, places_known: bool) -> Iterator[tuple[str, Callable[[Place], bool]]]:
    """Yield the conditions for a data centre, in words and as a test; its properties only if ``places_known``."""
    countries, certificates = request.countries, frozenset(request.compliance)
    if countries:
        yield f"in {' or '.join(countries)}", lambda place: country_of(place.id) in countries
    if certificates and places_known:
        yield f"certified {', '.join(sorted(certificates))}", lambda place: certificates <= place.certificates
    if request.global_network and places_known:
        yield "in the global network", lambda place: place.global_network


def of_clusters(request: PodRequest, cluster: Cluster, catalogue: Catalogue) -> tuple[Offer, ...]:
    """Return the offers to try for a cluster, at the rate of all its members. Raise as ``offers`` does."""
    secure = replace(request, cloud=CloudChoice.SECURE, fallback_cloud=None)
    return tuple(
        replace(
            offer,
            nodes=cluster.nodes,
            usd_per_hr=None if offer.usd_per_hr is None else round(offer.usd_per_hr * cluster.nodes, 4),
        )
        for offer in offers(secure, catalogue)
    )


def find_volume(id_or_name: str, volumes: Sequence[NetworkVolume]) -> NetworkVolume:
    """Return the network volume with that id or name. Raise ImpossibleRequest for none and for several."""
    matching = [v for v in volumes if v.id == id_or_name] or [v for v in volumes if v.name == id_or_name]
    if len(matching) == 1:
        return matching[0]
    if matching:
        ids = ", ".join(f"{v.id} in {v.datacenter}" for v in matching)
        raise ImpossibleRequest(
            f"{len(matching)} network volumes are named {id_or_name!r}: use the id of the one you mean ({ids})"
        )
    names = [v.name for v in volumes]
    import difflib  # for a mistake only

    close = difflib.get_close_matches(id_or_name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(map(repr, names)) or 'none'}"
    raise ImpossibleRequest(f"the account has no network volume {id_or_name!r}: {hint}")


def _at_its_volume(request: PodRequest, catalogue: Catalogue) -> PodRequest:
    """Return ``request`` limited to the location of its network volume: one data centre, and Secure Cloud."""
    name = request.storage.network_volume
    if name is None:
        return replace(request, datacenters=tuple(dc.upper() for dc in request.datacenters))
    if request.cloud is CloudChoice.COMMUNITY:
        raise ImpossibleRequest('a network volume needs Secure Cloud: set cloud="secure"')
    volume = None if catalogue.volumes is None else find_volume(name, catalogue.volumes)
    home = volume.datacenter if volume else None
    if volume and request.storage.tier and volume.tier not in (None, request.storage.tier):
        raise ImpossibleRequest(
            f"network volume {name!r} is {volume.tier}, but the job asks for {request.storage.tier}: a volume keeps "
            f"the tier that it was made with (`rpd volume create --tier {request.storage.tier}` makes another)"
        )
    requested = tuple(dc.upper() for dc in request.datacenters)
    if home and requested and home not in requested:
        raise ImpossibleRequest(
            f"network volume {name!r} is in {home}, but the job asks for {', '.join(requested)}"
        )
    return replace(
        request, cloud=CloudChoice.SECURE, fallback_cloud=None, datacenters=(home,) if home else requested
    )


def _cpu_offers(request: PodRequest, catalogue: Catalogue) -> Iterator[Offer]:
    if request.spot:
        raise ImpossibleRequest("CPU pods cannot be spot pods: set spot=False or ask for a gpu")
    choices = {request.cloud, request.fallback_cloud}
    if not choices & {CloudChoice.SECURE, CloudChoice.ANY}:
        raise ImpossibleRequest('CPU pods are in Secure Cloud only: set cloud="secure" or "any"')
    for flavour in dict.fromkeys(request.cpu or (None,)):
        rate = cpu_price(request.min_vcpu, request.min_memory_gb, catalogue.cpu_usd_per_vcpu_hr, flavour)
        for datacenter in _allowed(request, catalogue) or (None,):
            yield Offer(
                gpu_id=None, count=0, cloud=Cloud.SECURE, datacenter=datacenter, usd_per_hr=rate, cpu=flavour
            )


def _gpu_offers(
    request: PodRequest, gpu: Gpu, clouds: tuple[Cloud, ...], catalogue: Catalogue
) -> list[Offer]:
    fitting = [
        offer
        for row in _candidates(gpu, catalogue)
        for cloud in clouds
        if row.rents(cloud, gpu.count)
        for offer in _places(request, gpu.count, row, cloud, catalogue)
        if _affordable(gpu, offer)
    ]
    if gpu.prefer == "cheapest" or not gpu.ids:
        fitting.sort(key=lambda offer: float("inf") if offer.usd_per_hr is None else offer.usd_per_hr)
    if gpu.prefer == "place" and request.datacenters:
        fitting.sort(key=lambda offer: request.datacenters.index(offer.datacenter or request.datacenters[0]))
    return fitting


def _candidates(gpu: Gpu, catalogue: Catalogue) -> Iterator[GpuRow]:
    """Yield the GPU types that are requested by id, or that have enough memory.

    By memory there are only NVIDIA types, because images are made for CUDA, and only those with a known
    price.
    """
    if gpu.ids:
        rows = [row for row in map(catalogue.row, dict.fromkeys(gpu.ids)) if row]
    else:
        rows = [row for row in catalogue.gpus.values() if not row.id.startswith("AMD") and _priced(row)]
    least = gpu.min_vram_gb or 0
    yield from (row for row in rows if row.memory_gb >= least or row.memory_gb == 0)


def _priced(row: GpuRow) -> bool:
    return row.secure_usd_per_hr is not None or row.community_usd_per_hr is not None


def _places(
    request: PodRequest, count: int, row: GpuRow, cloud: Cloud, catalogue: Catalogue
) -> Iterator[Offer]:
    per_gpu = row.price(cloud, spot=request.spot)
    rate = None if per_gpu is None else round(per_gpu * count, 4)
    # RunPod reports stock per data centre, and data centres belong to Secure Cloud; Community hosts are
    # anywhere.
    secure = cloud is Cloud.SECURE
    if not secure:
        yield from _community(request, count, row, rate)
        return
    in_stock = [name for name, _ in catalogue.datacenters_with(row.id)]
    for place in _in_order(request, _allowed(request, catalogue), in_stock):
        if not catalogue.may_be_in(row.id, place):
            continue
        stock = catalogue.stock_in(row.id, place)
        yield Offer(gpu_id=row.id, count=count, cloud=cloud, datacenter=place, usd_per_hr=rate, stock=stock)


def _in_order(
    request: PodRequest, allowed: tuple[str, ...] | None, in_stock: Sequence[str]
) -> tuple[str | None, ...]:
    """Return the places to try: in the order of the request, else the fullest first."""
    if request.datacenters and allowed is not None:
        return allowed
    if allowed is None:
        return (*in_stock, None)
    return tuple(dict.fromkeys((*(place for place in in_stock if place in allowed), *allowed)))


def _may_be_community(request: PodRequest) -> bool:
    """Return whether the request needs nothing that only data centres have."""
    return not (request.datacenters or is_particular(request))


def _community(request: PodRequest, count: int, row: GpuRow, usd_per_hr: float | None) -> Iterator[Offer]:
    """Yield the offers in Community Cloud: its hosts are in countries, and its stock is unknown."""
    for country in (dict.fromkeys(request.countries) or (None,)) if _may_be_community(request) else ():
        yield Offer(
            gpu_id=row.id,
            count=count,
            cloud=Cloud.COMMUNITY,
            datacenter=None,
            usd_per_hr=usd_per_hr,
            country=country,
        )


def _affordable(gpu: Gpu, offer: Offer) -> bool:
    if gpu.max_price_usd is None:
        return True
    return offer.usd_per_hr is not None and offer.usd_per_hr <= gpu.max_price_usd


def is_sold_out(found: Sequence[Offer]) -> bool:
    """Return whether there are offers, all of which RunPod reports as sold out."""
    return bool(found) and can_be_rented(found) is False


def can_be_rented(found: Sequence[Offer]) -> bool | None:
    """Return whether any offer is in stock, None if RunPod does not say."""
    if any(offer.stock in IN_STOCK for offer in found):
        return True
    return None if any(offer.stock == "unknown" for offer in found) else False
