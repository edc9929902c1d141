"""The catalogue of REST v2: the parameters to send, and the meaning of the responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rpd.runpod.catalogue.model import IN_STOCK, Catalogue, GpuRow
from rpd.runpod.response import identifier, needed_table, needed_tables, price, table, tables, text, whole
from rpd.values.pod import Place

GPUS = "/catalog/gpus"
CPUS = "/catalog/cpus"
DATACENTERS = "/catalog/datacenters"


def gpu_params(
    count: int, cuda: tuple[str, ...] = (), min_cuda: str | None = None, *, cluster: bool = False
) -> dict[str, str]:
    """Return the parameters for ``GPUS``: types, prices and stock of ``count`` GPUs per pod in Secure Cloud.

    ``cluster``: the stock for the members of clusters.
    """
    product = "CLUSTER" if cluster else "POD"
    params = {"include": "AVAILABILITY", "product": product, "count": str(count), "cloud": "SECURE"}
    if min_cuda:
        return {**params, "minCudaVersion": min_cuda}
    return {**params, "cudaVersions": ",".join(cuda)} if cuda else params


def read_gpus(answer: object, *, is_limited: bool = False) -> Catalogue:
    """Return the catalogue in a response of ``GPUS``; ``is_limited`` if only some CUDA versions were requested.

    Raise Misshapen for other shapes.
    """
    rows = needed_tables(needed_table(answer).get("gpus"))
    return Catalogue(
        gpus=MappingProxyType({row.id: row for row in map(_row, rows) if row.id and row.memory_gb > 0}),
        stock=MappingProxyType(dict(_stock(rows))),
        stock_known=True,
        complete=True,
        offered=MappingProxyType(dict(_offered(rows))) if is_limited else None,
    )


def _row(raw: Mapping[str, Any]) -> GpuRow:
    # Required: without them a row would mean that the type cannot be rented.
    prices, most = needed_table(raw.get("price")), needed_table(raw.get("maxCount"))
    return GpuRow(
        id=text(raw.get("id")),
        memory_gb=whole(raw.get("memory")) or 0,
        secure_usd_per_hr=price(prices.get("secure")),
        community_usd_per_hr=price(prices.get("community")),
        max_secure=whole(most.get("secure")) if raw.get("secure") else 0,
        max_community=whole(most.get("community")) if raw.get("community") else 0,
    )


def _stock(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, Mapping[str, str]]]:
    for row in rows:
        places = {
            text(place.get("id")): level
            for place in tables(row.get("dataCenters"))
            if (level := text(place.get("availability")).lower()) in IN_STOCK
        }
        if places:
            yield text(row.get("id")), places


def _offered(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, frozenset[str]]]:
    """Yield the data centres that have a GPU type at all, in stock or not; types sold out everywhere list none."""
    for row in rows:
        if places := tables(row.get("dataCenters")):
            yield text(row.get("id")), frozenset(text(place.get("id")) for place in places)


def read_cpus(answer: object) -> Mapping[str, float]:
    """Return CPU flavour -> USD per vCPU and hour. Raise as ``read_gpus`` does."""
    rows = needed_tables(needed_table(answer).get("cpus"))
    prices = {text(row.get("id")): price(table(row.get("price")).get("securePerVcpu")) for row in rows}
    return MappingProxyType({flavour: usd for flavour, usd in prices.items() if usd is not None})


def read_places(answer: object) -> tuple[Place, ...]:
    """Return the data centres in a response of ``DATACENTERS``. Raise as ``read_gpus`` does."""
    return tuple(
        Place(
            id=identifier(row.get("id")),
            certificates=_words(row.get("compliance")),
            tiers=frozenset(word.lower() for word in _words(row.get("networkVolumeTypes"))),
            global_network=row.get("globalNetwork") is True,
        )
        for row in needed_tables(needed_table(answer).get("dataCenters"))
    )


def _words(value: object) -> frozenset[str]:
    return frozenset(map(text, value)) if isinstance(value, list) else frozenset()
