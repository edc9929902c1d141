"""The catalogue of REST v2: what is asked, and what the answers mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rpd.runpod.catalogue import IN_STOCK, Catalogue, GpuRow, NetworkVolume, tables

GPUS = "/catalog/gpus"
CPUS = "/catalog/cpus"
VOLUMES = "/network-volumes"
DATACENTERS = "/catalog/datacenters"


def gpu_params(count: int, cuda: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what to ask ``GPUS`` for: types, prices and stock of ``count`` GPUs per pod in Secure Cloud."""
    params = {"include": "AVAILABILITY", "product": "POD", "count": str(count), "cloud": "SECURE"}
    return {**params, "cudaVersions": ",".join(cuda)} if cuda else params


def read_gpus(answer: Mapping[str, Any], cuda: tuple[str, ...] = ()) -> Catalogue:
    """Return the catalogue in an answer of ``GPUS``. Raises KeyError, TypeError or ValueError for other shapes."""
    found = tables(answer["gpus"])
    return Catalogue(
        gpus=MappingProxyType({row.id: row for row in map(_row, found) if row.memory_gb > 0}),
        stock=MappingProxyType(dict(_stock(found))),
        stock_known=True,
        complete=True,
        offered=MappingProxyType(dict(_offered(found))) if cuda else None,
    )


def _row(raw: Mapping[str, Any]) -> GpuRow:
    price, most = raw["price"], raw["maxCount"]
    return GpuRow(
        id=str(raw["id"]),
        memory_gb=int(raw["memory"]),
        secure_usd_per_hr=float(price["secure"]) or None,
        community_usd_per_hr=float(price["community"]) or None,
        max_secure=int(most["secure"]) if raw["secure"] else 0,
        max_community=int(most["community"]) if raw["community"] else 0,
    )


def _stock(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, Mapping[str, str]]]:
    for row in rows:
        places = {
            str(place["id"]): level
            for place in tables(row.get("dataCenters"))
            if (level := str(place.get("availability")).lower()) in IN_STOCK
        }
        if places:
            yield str(row["id"]), places


def _offered(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, frozenset[str]]]:
    """Yield the data centres that have a GPU type at all, in stock or not; types sold out everywhere tell none."""
    for row in rows:
        if row.get("dataCenters"):
            yield str(row["id"]), frozenset(str(place["id"]) for place in tables(row["dataCenters"]))


def read_cpus(answer: Mapping[str, Any]) -> Mapping[str, float]:
    """Return CPU flavour -> USD per vCPU and hour. Raises as ``read_gpus`` does."""
    return MappingProxyType(
        {
            str(row["id"]): float(row["price"]["securePerVcpu"])
            for row in tables(answer["cpus"])
            if float(row["price"]["securePerVcpu"]) > 0
        }
    )


def read_datacenters(answer: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids in an answer of ``DATACENTERS``. Raises as ``read_gpus`` does."""
    return frozenset(str(row["id"]) for row in tables(answer["dataCenters"]))


def read_volumes(answer: Mapping[str, Any]) -> tuple[NetworkVolume, ...]:
    """Return the network volumes in an answer of ``VOLUMES``. Raises as ``read_gpus`` does."""
    return tuple(
        NetworkVolume(
            id=str(row["id"]),
            name=str(row.get("name") or ""),
            datacenter=row.get("dataCenter") or None,
            size_gb=int(row.get("size") or 0),
        )
        for row in tables(answer["networkVolumes"])
    )
