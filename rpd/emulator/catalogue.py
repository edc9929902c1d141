"""The catalogue of the emulated platform: GPU types, CPU flavours, data centres and the stock in each."""

from __future__ import annotations

from dataclasses import dataclass

from rpd.emulator.gpus import GPU_TYPES, GpuType

GPUS_PER_DATACENTER = 256
"""So that a sweep of many pods fits; make it scarce with a fault or over the control endpoint."""

CUDA_VERSIONS = (
    "11.8",
    "12.0",
    "12.1",
    "12.2",
    "12.3",
    "12.4",
    "12.5",
    "12.6",
    "12.7",
    "12.8",
    "12.9",
    "13.0",
)
_OLDER_DRIVERS = {"OC-AU-1": "12.7", "US-TX-4": "12.4"}
"""Data centres whose machines know CUDA only up to a version."""
VCPU_PER_GPU = 16
MEMORY_GB_PER_GPU = 125
CONTAINER_DISK_USD_PER_GB_MONTH = 0.10
VOLUME_USD_PER_GB_MONTH = 0.10
STOPPED_VOLUME_USD_PER_GB_MONTH = 0.20
NETWORK_VOLUME_USD_PER_GB_MONTH = 0.07
FAST_VOLUME_USD_PER_GB_MONTH = 0.14
HOURS_PER_MONTH = 730.0


@dataclass(frozen=True, slots=True)
class DataCenter:
    """One data centre of the Secure Cloud; ``storage``: whether network volumes can exist there.

    ``fast``: whether those of the high-performance tier can; ``global_network``: whether pods of others reach its pods.
    """

    id: str
    name: str
    location: str
    region: str
    storage: bool
    listed: bool = True
    fast: bool = False
    global_network: bool = False
    compliance: tuple[str, ...] = ()

    @property
    def volume_types(self) -> tuple[str, ...]:
        """The tiers of network volumes."""
        return (("STANDARD",) if self.storage else ()) + (("HIGH_PERFORMANCE",) if self.fast else ())


_EUROPES = ("GDPR", "ISO_IEC_27001")
_AMERICAS = ("HIPAA", "SOC_2_TYPE_2")
DATA_CENTERS: dict[str, DataCenter] = {
    row.id: row
    for row in (
        DataCenter(
            "EU-RO-1",
            "EU-RO-1",
            "Romania",
            "EUROPE",
            True,
            fast=True,
            global_network=True,
            compliance=_EUROPES,
        ),
        DataCenter(
            "EU-CZ-1", "EU-CZ-1", "Czech Republic", "EUROPE", True, global_network=True, compliance=_EUROPES
        ),
        DataCenter("EU-SE-1", "EU-SE-1", "Sweden", "EUROPE", True, compliance=_EUROPES),
        DataCenter(
            "EU-NL-1", "EU-NL-1", "Netherlands", "EUROPE", True, global_network=True, compliance=_EUROPES
        ),
        DataCenter("EU-FR-1", "EU-FR-1", "France", "EUROPE", True, compliance=("GDPR",)),
        DataCenter(
            "EUR-IS-1",
            "EUR-IS-1",
            "Iceland",
            "EUROPE",
            True,
            global_network=True,
            compliance=(*_EUROPES, "RENEWABLE"),
        ),
        DataCenter("EUR-NO-1", "EUR-NO-1", "Norway", "EUROPE", True, compliance=("RENEWABLE",)),
        DataCenter(
            "US-CA-2",
            "US-CA-2",
            "United States",
            "NORTH_AMERICA",
            True,
            fast=True,
            global_network=True,
            compliance=_AMERICAS,
        ),
        DataCenter("US-GA-2", "US-GA-2", "United States", "NORTH_AMERICA", True, global_network=True),
        DataCenter("US-IL-1", "US-IL-1", "United States", "NORTH_AMERICA", True),
        DataCenter(
            "US-KS-2",
            "US-KS-2",
            "United States",
            "NORTH_AMERICA",
            True,
            global_network=True,
            compliance=_AMERICAS,
        ),
        DataCenter(
            "US-TX-3",
            "US-TX-3",
            "United States",
            "NORTH_AMERICA",
            True,
            fast=True,
            compliance=("SOC_2_TYPE_2",),
        ),
        DataCenter("US-TX-4", "US-TX-4", "United States", "NORTH_AMERICA", False),
        DataCenter("US-DE-1", "US-DE-1", "United States", "NORTH_AMERICA", False),
        DataCenter("CA-MTL-3", "CA-MTL-3", "Canada", "NORTH_AMERICA", True),
        DataCenter("AP-JP-1", "AP-JP-1", "Japan", "ASIA", True),
        DataCenter("OC-AU-1", "OC-AU-1", "Australia", "OCEANIA", False),
        DataCenter("US-OR-1", "US-OR-1", "United States", "NORTH_AMERICA", False, listed=False),
    )
}
_COUNTRIES = {
    "Romania": "RO", "Czech Republic": "CZ", "Sweden": "SE", "Netherlands": "NL", "France": "FR", "Iceland": "IS",
    "Norway": "NO", "United States": "US", "Canada": "CA", "Japan": "JP", "Australia": "AU",
}  # fmt: skip
COMMUNITY_COUNTRIES = ("CA", "CZ", "ES", "FR", "NL", "SE", "US")


@dataclass(frozen=True, slots=True)
class CpuFlavor:
    """One CPU flavour: GB of memory per vCPU and USD per vCPU and hour."""

    id: str
    name: str
    memory_gb_per_vcpu: int
    usd_per_vcpu_hr: float
    min_vcpu: int = 2
    max_vcpu: int = 32
    disk_gb_per_vcpu: int = 10


CPU_FLAVORS: dict[str, CpuFlavor] = {
    row.id: row
    for row in (
        CpuFlavor("cpu3c", "Compute-Optimized", 2, 0.03),
        CpuFlavor("cpu3g", "General Purpose", 4, 0.04),
        CpuFlavor("cpu3m", "Memory-Optimized", 8, 0.055),
        CpuFlavor("cpu5c", "Compute-Optimized", 2, 0.035),
        CpuFlavor("cpu5g", "General Purpose", 4, 0.0475),
        CpuFlavor("cpu5m", "Memory-Optimized", 8, 0.06),
    )
}


def price(gpu: GpuType, cloud: str) -> float | None:
    """Return the USD per GPU and hour in ``secure`` or ``community``; None if that cloud does not rent the type."""
    return gpu.secure_usd_per_hr if cloud == "secure" else gpu.community_usd_per_hr


def most(gpu: GpuType, cloud: str) -> int:
    """Return the most GPUs one pod may have."""
    return gpu.max_count_secure if cloud == "secure" else gpu.max_count_community


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def cuda_versions(place: str | None) -> tuple[str, ...]:
    """Return the CUDA versions that machines in a data centre (or ``community``, or anywhere: None) know, in order."""
    newest = _OLDER_DRIVERS.get(place or "", CUDA_VERSIONS[-1])
    return tuple(version for version in CUDA_VERSIONS if _number(version) <= _number(newest))


def cuda_from(floor: str) -> list[str]:
    """Return the CUDA versions from ``floor`` (``12`` or ``12.4``) on."""
    return [version for version in CUDA_VERSIONS if _number(version) >= _number(floor)]


def country(place: str) -> str:
    """Return the country of a data centre as ISO 3166-1 alpha-2."""
    return _COUNTRIES[DATA_CENTERS[place].location] if place in DATA_CENTERS else COMMUNITY_COUNTRIES[0]


def is_in(place: str, wanted: str) -> bool:
    """Return whether there are machines in that country, in a data centre or among the Community hosts."""
    return wanted in COMMUNITY_COUNTRIES if place not in DATA_CENTERS else country(place) == wanted


def volume_usd_per_gb_month(tier: str) -> float:
    """Return the monthly price of a network volume of a tier, in USD per GB."""
    return FAST_VOLUME_USD_PER_GB_MONTH if tier == "HIGH_PERFORMANCE" else NETWORK_VOLUME_USD_PER_GB_MONTH


def display_name(gpu_id: str) -> str:
    """Return the short name RunPod shows, such as ``RTX A6000`` or ``H100 SXM``."""
    names = {
        "NVIDIA H100 80GB HBM3": "H100 SXM",
        "NVIDIA A100-SXM4-80GB": "A100 SXM",
        "NVIDIA A100 80GB PCIe": "A100 PCIe",
        "NVIDIA H200": "H200 SXM",
    }
    short = gpu_id.removeprefix("NVIDIA ").removeprefix("GeForce ").removesuffix(" Generation")
    return names.get(gpu_id, short)


def stock_word(free: int, wanted: int) -> str | None:
    """Return ``High``, ``Medium``, ``Low`` or None for ``free`` GPUs where ``wanted`` are asked for at once."""
    pods = free // max(wanted, 1)
    return "High" if pods >= 16 else "Medium" if pods >= 4 else "Low" if pods >= 1 else None


def gpu_types() -> dict[str, GpuType]:
    """Return every GPU type that is rented."""
    return dict(GPU_TYPES)
