"""The catalogue as REST v2 shows it: GPU types, CPU flavours and data centres, with stock where it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rpd.emulator import catalogue
from rpd.emulator.account import Account
from rpd.emulator.gpus import GpuType
from rpd.emulator.rest_body import Problem
from rpd.emulator.stock import places

_POOLS = {"NVIDIA A40": "AMPERE_48", "NVIDIA L4": "ADA_24", "NVIDIA H100 80GB HBM3": "HOPPER_141"}
_GPU_FILTERS = ("count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuQuery:
    """The query of a request for GPU types."""

    stock: bool
    count: int = 1
    cloud: str = "secure"
    countries: tuple[str, ...] = ()
    cuda: tuple[str, ...] = ()
    """Any of these versions will do; empty: any at all."""


def listed(text: str | None) -> tuple[str, ...]:
    """Return the entries of a comma-separated parameter."""
    return tuple(filter(None, (text or "").split(",")))


def read_gpu_query(query: Mapping[str, str]) -> GpuQuery:
    """Return the parameters of a request for GPU types. Raise Problem."""
    stock = _wants_stock(query, _GPU_FILTERS, ("POD", "CLUSTER", "SERVERLESS"))
    exact, floor = listed(query.get("cudaVersions")), query.get("minCudaVersion")
    if exact and floor:
        raise Problem(400, "cudaVersions and minCudaVersion are mutually exclusive")
    _each_matches("cudaVersions", exact, r"\d+\.\d+")
    _each_matches("minCudaVersion", (floor,) if floor else (), r"\d+(\.\d+)?")
    countries = listed(query.get("countryCodes"))
    _each_matches("countryCodes", countries, r"[A-Z]{2}")
    cloud = query.get("cloud", "SECURE")
    _each_of("cloud", (cloud,), ("SECURE", "COMMUNITY"))
    return GpuQuery(
        stock=stock,
        count=_whole("count", query.get("count", "1"), 1),
        cloud=cloud.lower(),
        countries=countries,
        cuda=exact or (tuple(catalogue.cuda_from(floor)) if floor else ()),
    )


def _wants_stock(query: Mapping[str, str], filters: Iterable[str], products: tuple[str, ...]) -> bool:
    include, product = listed(query.get("include")), listed(query.get("product"))
    _each_of("include", include, ("AVAILABILITY",))
    _each_of("product", product, products)
    if bool(include) != bool(product):
        raise Problem(400, "include=AVAILABILITY and product are valid only together")
    alone = [name for name in filters if name in query]
    if alone and not include:
        raise Problem(400, f"{alone[0]} is valid only with include=AVAILABILITY")
    return bool(include)


def _each_of(name: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    for value in values:
        if value not in known:
            raise Problem(422, "validation failed", (f"query.{name}: expected one of {', '.join(known)}",))


def _each_matches(name: str, values: tuple[str, ...], pattern: str) -> None:
    for value in values:
        if not re.fullmatch(pattern, value):
            raise Problem(422, "validation failed", (f"query.{name}: expected {pattern}, got {value}",))


def _whole(name: str, value: str, least: int) -> int:
    if not value.isdigit() or int(value) < least:
        raise Problem(422, "validation failed", (f"query.{name}: expected integer >= {least}",))
    return int(value)


def level(free: int, wanted: int) -> str:
    """Return the availability of ``free`` GPUs where ``wanted`` are asked for at once."""
    return (catalogue.stock_word(free, wanted) or "None").upper()


class Catalogue:
    """Answers about the stock that ``account`` can rent."""

    def __init__(self, account: Account) -> None:
        self._account = account

    # --- GPU types ------------------------------------------------------------------------------------------------

    def gpus(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the GPU types."""
        gpu_query = read_gpu_query(query)
        gpus = [self._gpu(gpu, gpu_query) for gpu in catalogue.gpu_types().values()]
        return {"gpus": [row for row in gpus if not gpu_query.countries or row.get("dataCenters")]}

    def gpu(self, gpu_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one GPU type. Raise Problem."""
        gpu_query = read_gpu_query(query)
        if gpu_id not in catalogue.gpu_types():
            raise Problem(404, f"GPU type {gpu_id} not found")
        return self._gpu(catalogue.gpu_types()[gpu_id], gpu_query)

    def _gpu(self, gpu: GpuType, asked: GpuQuery) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": gpu.id, "name": catalogue.display_name(gpu.id), "pool": _POOLS.get(gpu.id),
            "manufacturer": "AMD" if gpu.id.startswith("AMD") else "NVIDIA", "memory": gpu.memory_gb,
            "secure": gpu.secure_usd_per_hr is not None, "community": gpu.community_usd_per_hr is not None,
            "price": {"secure": gpu.secure_usd_per_hr or 0.0, "community": gpu.community_usd_per_hr or 0.0},
            "maxCount": {"secure": gpu.max_count_secure, "community": gpu.max_count_community},
        }  # fmt: skip
        return {**row, **self._stock(gpu, asked)} if asked.stock else row

    def _stock(self, gpu: GpuType, asked: GpuQuery) -> dict[str, Any]:
        """Return availability in all, in each data centre that offers the GPU so, and for each CUDA version."""
        free = self._free(gpu, asked)
        accepted = asked.cuda or catalogue.CUDA_VERSIONS
        versions = [
            v for v in catalogue.CUDA_VERSIONS if v in accepted and any(self._has(p, v) for p in free)
        ]
        stock: dict[str, Any] = {"availability": level(max(free.values(), default=0), asked.count)}
        if any(left >= asked.count for left in free.values()) and asked.cloud == "secure":
            stock["dataCenters"] = [
                {"id": place, "name": place, "availability": level(left, asked.count)}
                for place, left in free.items()
            ]
        if versions and not gpu.id.startswith("AMD"):
            stock["cudaVersions"] = [
                {
                    "version": v,
                    "available": any(n >= asked.count and self._has(p, v) for p, n in free.items()),
                }
                for v in versions
            ]
        return stock

    def _has(self, place: str, version: str) -> bool:
        return version in catalogue.cuda_versions(place)

    def _free(self, gpu: GpuType, asked: GpuQuery) -> dict[str, int]:
        """Return place -> free GPUs, for the places that offer this GPU so."""
        if catalogue.price(gpu, asked.cloud) is None or asked.count > catalogue.most(gpu, asked.cloud):
            return {}
        return {
            place: self._account.stock.free(gpu.id, place, asked.cloud)
            for place in places(asked.cloud)
            if (not asked.cuda or any(self._has(place, version) for version in asked.cuda))
            and (not asked.countries or catalogue.country(place) in asked.countries)
        }

    # --- CPU flavours ---------------------------------------------------------------------------------------------

    def cpus(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the CPU flavours."""
        stock = self._cpu_stock(query)
        return {"cpus": [self._cpu(flavor, stock=stock) for flavor in catalogue.CPU_FLAVORS.values()]}

    def cpu(self, flavor_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one CPU flavour. Raise Problem."""
        stock = self._cpu_stock(query)
        if flavor_id not in catalogue.CPU_FLAVORS:
            raise Problem(404, f"CPU flavor {flavor_id} not found")
        return self._cpu(catalogue.CPU_FLAVORS[flavor_id], stock=stock)

    def _cpu_stock(self, query: Mapping[str, str]) -> bool:
        if "vcpuCount" in query:
            count = _whole("vcpuCount", query["vcpuCount"], 2)
            if count & (count - 1):
                raise Problem(422, "validation failed", ("query.vcpuCount: expected a power of two",))
        return _wants_stock(query, ("vcpuCount",), ("POD", "SERVERLESS"))

    def _cpu(self, flavor: catalogue.CpuFlavor, *, stock: bool) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": flavor.id, "name": flavor.name, "group": flavor.id[:4],
            "vcpu": {"min": flavor.min_vcpu, "max": flavor.max_vcpu}, "ramGbPerVcpu": float(flavor.memory_gb_per_vcpu),
            "price": {"securePerVcpu": flavor.usd_per_vcpu_hr, "serverlessPerVcpu": flavor.usd_per_vcpu_hr},
        }  # fmt: skip
        if stock:
            row["availability"] = "HIGH"
            row["dataCenters"] = [
                {"id": place, "name": place, "availability": "HIGH"} for place in places("secure")
            ]
        return row

    # --- data centres ---------------------------------------------------------------------------------------------

    def datacenters(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the data centres that pass the filters."""
        include = self._include(query)
        rows = [self._datacenter(place, include) for place in catalogue.DATA_CENTERS.values() if place.listed]
        regions, volumes = listed(query.get("regions")), set(listed(query.get("networkVolumeTypes")))
        compliance, network = set(listed(query.get("compliance"))), query.get("globalNetwork")
        return {
            "dataCenters": [
                row
                for row in rows
                if (not regions or row["region"] in regions)
                and volumes <= set(row["networkVolumeTypes"])
                and compliance <= set(row["compliance"])
                and (network is None or row["globalNetwork"] is (network == "true"))
            ]
        }

    def datacenter(self, place_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one data centre. Raise Problem."""
        include = self._include(query)
        place = catalogue.DATA_CENTERS.get(place_id)
        if place is None or not place.listed:
            raise Problem(404, f"data center {place_id} not found")
        return self._datacenter(place, include)

    def _include(self, query: Mapping[str, str]) -> tuple[str, ...]:
        include = listed(query.get("include"))
        _each_of("include", include, ("GPU_AVAILABILITY", "CPU_AVAILABILITY"))
        return include

    def _datacenter(self, place: catalogue.DataCenter, include: tuple[str, ...]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": place.id, "name": place.name, "region": place.region, "globalNetwork": place.global_network,
            "networkVolumeTypes": list(place.volume_types), "compliance": list(place.compliance),
        }  # fmt: skip
        if "GPU_AVAILABILITY" in include:
            row["gpuAvailability"] = [
                {"id": gpu.id, "name": catalogue.display_name(gpu.id),
                 "availability": level(self._account.stock.free(gpu.id, place.id, "secure"), 1)}
                for gpu in catalogue.gpu_types().values()
                if gpu.secure_usd_per_hr is not None
            ]  # fmt: skip
        if "CPU_AVAILABILITY" in include:
            row["cpuAvailability"] = [
                {"id": flavor.id, "name": flavor.name, "availability": "HIGH"}
                for flavor in catalogue.CPU_FLAVORS.values()
            ]
        return row
