"""The catalogue: the GPU types that RunPod rents, with prices and places; live or as shipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rpd.runpod.response import identifier, needed_tables, price, tables, text, whole
from rpd.values.frozen import EMPTY, frozen
from rpd.values.gpus import KNOWN_GPU_TYPES, GpuType
from rpd.values.pod import Cloud, NetworkVolume, Place

STOCK_ORDER = ("high", "medium", "low", "unknown", "none")
"""Best first. ``unknown``: nobody asked."""

IN_STOCK = STOCK_ORDER[:3]


@frozen
class GpuRow:
    """One GPU type. Prices are USD per GPU and hour, None if unknown.

    ``max_…``: GPUs per pod in that cloud; 0: not rented there, None: unknown.
    """

    id: str
    memory_gb: int
    secure_usd_per_hr: float | None = None
    community_usd_per_hr: float | None = None
    secure_spot_usd_per_hr: float | None = None
    community_spot_usd_per_hr: float | None = None
    max_secure: int | None = None
    max_community: int | None = None

    def rents(self, cloud: Cloud, count: int) -> bool:
        """Return whether that cloud rents ``count`` in one pod, as far as is known."""
        most = self.max_secure if cloud is Cloud.SECURE else self.max_community
        return most is None or most >= count

    def price(self, cloud: Cloud, *, spot: bool = False) -> float | None:
        """Return USD per GPU and hour; for a spot pod the spot price, else the on-demand price."""
        secure = cloud is Cloud.SECURE
        on_demand = self.secure_usd_per_hr if secure else self.community_usd_per_hr
        bid = self.secure_spot_usd_per_hr if secure else self.community_spot_usd_per_hr
        return bid if spot and bid is not None else on_demand


@frozen
class Catalogue:
    """Everything that RunPod offers.

    ``stock``: GPU id -> data centre -> ``high``, ``medium`` or ``low``, for one count.

    ``complete``: a GPU type that is absent is not rented. ``volumes`` None: they were not read. ``offered``:
    GPU id -> data centres that have it with the requested CUDA versions, in stock or not; an absent type may
    be anywhere, and so may all types if it is None. ``cpu_usd_per_vcpu_hr``: flavour -> price. ``places``
    None: the data centres were not read.
    """

    gpus: Mapping[str, GpuRow]
    stock: Mapping[str, Mapping[str, str]] = EMPTY
    stock_known: bool = False
    complete: bool = False
    volumes: tuple[NetworkVolume, ...] | None = None
    offered: Mapping[str, frozenset[str]] | None = None
    cpu_usd_per_vcpu_hr: Mapping[str, float] = EMPTY
    places: tuple[Place, ...] | None = None

    def row(self, gpu_id: str) -> GpuRow | None:
        """Return the row of a GPU type; an empty one if this catalogue may lack it."""
        gpu = self.gpus.get(gpu_id)
        return gpu if gpu or self.complete else GpuRow(id=gpu_id, memory_gb=0)

    def datacenters_with(self, gpu_id: str) -> tuple[tuple[str, str], ...]:
        """Return (data centre, stock) pairs for a GPU type that is in stock, the fullest first."""
        places = self.stock.get(gpu_id, {}).items()
        return tuple(sorted(places, key=lambda item: (STOCK_ORDER.index(item[1]), item[0])))

    def may_be_in(self, gpu_id: str, datacenter: str | None) -> bool:
        """Return whether the GPU type, with the requested CUDA versions, can be in that data centre."""
        places = (self.offered or {}).get(gpu_id)
        return datacenter is None or places is None or datacenter in places

    def stock_in(self, gpu_id: str, datacenter: str | None) -> str:
        """Return the stock in that data centre, or the best of all for None."""
        if not self.stock_known:
            return "unknown"
        places = self.stock.get(gpu_id, {})
        levels = places.values() if datacenter is None else [places.get(datacenter, "none")]
        return min(levels, key=STOCK_ORDER.index, default="none")


def shipped_catalogue() -> Catalogue:
    """Return the catalogue shipped with rpd: ids, memory, prices of one day; no stock."""
    return Catalogue(gpus=MappingProxyType({row.id: _shipped_row(row) for row in KNOWN_GPU_TYPES.values()}))


def _shipped_row(row: GpuType) -> GpuRow:
    priced = row.secure_usd_per_hr is not None or row.community_usd_per_hr is not None
    return GpuRow(
        id=row.id,
        memory_gb=row.memory_gb,
        secure_usd_per_hr=row.secure_usd_per_hr,
        community_usd_per_hr=row.community_usd_per_hr,
        # A type without any price is one without known facts, not one that cannot be rented.
        max_secure=row.max_count_secure if priced else None,
        max_community=row.max_count_community if priced else None,
    )


# --- live ---------------------------------------------------------------------------------------------------


def catalogue_query(count: int) -> str:
    """Return the query for types, prices and stock of ``count`` GPUs per pod; the stock is Secure Cloud's."""
    return (
        "query { gpuTypes { id memoryInGb secureCloud communityCloud "
        "maxGpuCountSecureCloud maxGpuCountCommunityCloud "
        "securePrice communityPrice secureSpotPrice communitySpotPrice } "
        "dataCenters { id listed gpuAvailability(input: "
        f"{{ gpuCount: {count}, secureCloud: true }}) {{ gpuTypeId stockStatus available }} }} }}"
    )


def read_catalogue(data: Mapping[str, Any]) -> Catalogue:
    """Return the catalogue in the response to ``catalogue_query``. Raise Misshapen for other shapes."""
    rows = [_row(raw) for raw in needed_tables(data.get("gpuTypes"))]
    return Catalogue(
        # RunPod lists a placeholder named "unknown" with no memory and no price.
        gpus=MappingProxyType(
            {row.id: row for row in rows if row.id not in ("", "unknown") and row.memory_gb > 0}
        ),
        stock=_stock(tables(data.get("dataCenters"))),
        stock_known=True,
        complete=True,
    )


def read_volumes(rows: object) -> tuple[NetworkVolume, ...]:
    """Return the network volumes in ``myself { networkVolumes { id name size dataCenterId } }``."""
    return tuple(
        NetworkVolume(
            id=identifier(row.get("id")),
            name=text(row.get("name")),
            datacenter=text(row.get("dataCenterId")) or None,
            size_gb=whole(row.get("size")) or 0,
        )
        for row in tables(rows)
    )


def _row(raw: Mapping[str, Any]) -> GpuRow:
    def most(name: str, count: str) -> int | None:
        return 0 if raw.get(name) is False else whole(raw.get(count))

    return GpuRow(
        id=text(raw.get("id")),
        memory_gb=whole(raw.get("memoryInGb")) or 0,
        secure_usd_per_hr=price(raw.get("securePrice")),
        community_usd_per_hr=price(raw.get("communityPrice")),
        secure_spot_usd_per_hr=price(raw.get("secureSpotPrice")),
        community_spot_usd_per_hr=price(raw.get("communitySpotPrice")),
        max_secure=most("secureCloud", "maxGpuCountSecureCloud"),
        max_community=most("communityCloud", "maxGpuCountCommunityCloud"),
    )


def _stock(datacenters: Iterable[Mapping[str, Any]]) -> Mapping[str, Mapping[str, str]]:
    stock: dict[str, dict[str, str]] = {}
    for datacenter in datacenters:
        name = text(datacenter.get("id"))
        if datacenter.get("listed") is False or not name:
            continue
        for entry in tables(datacenter.get("gpuAvailability")):
            level = text(entry.get("stockStatus")).lower()
            if level in IN_STOCK and entry.get("available") is not False:
                stock.setdefault(text(entry.get("gpuTypeId")), {})[name] = level
    return MappingProxyType(stock)
