"""The GPU types that the emulated platform rents, with their prices.

Ids and memory: RunPod's "GPU types" reference page (2026-02-12). Prices and the most GPUs a pod may have: one reading
of 2026-08-27, in dollars per GPU and hour. The table is the emulator's own, so that it needs nothing else of rpd; a
test compares it with the one that rpd plans with.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuType:
    """One row of the table. Prices are USD per GPU and hour; None if that cloud does not rent the type."""

    id: str
    memory_gb: int
    secure_usd_per_hr: float | None
    community_usd_per_hr: float | None
    max_count_secure: int = 8
    max_count_community: int = 8


GPU_TYPES: dict[str, GpuType] = {
    row.id: row
    for row in (
        GpuType("NVIDIA B300 SXM6 AC", 288, 7.89, None, 8, 0),
        GpuType("NVIDIA B200", 180, 6.79, None, 8, 0),
        GpuType("NVIDIA H200", 141, 4.59, 3.59, 8, 8),
        GpuType("NVIDIA H200 NVL", 143, 3.79, None, 8, 0),
        GpuType("NVIDIA H100 80GB HBM3", 80, 3.29, 2.69, 8, 1),
        GpuType("NVIDIA H100 NVL", 94, 3.19, 2.59, 8, 10),
        GpuType("NVIDIA H100 PCIe", 80, 2.39, None, 8, 0),
        GpuType("NVIDIA A100-SXM4-80GB", 80, 1.59, 1.39, 8, 8),
        GpuType("NVIDIA A100 80GB PCIe", 80, 1.39, 1.19, 8, 8),
        GpuType("NVIDIA A100-SXM4-40GB", 40, None, 1.00, 0, 2),
        GpuType("NVIDIA RTX PRO 6000 Blackwell Server Edition", 96, 2.09, 1.69, 9, 9),
        GpuType("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96, 1.89, 1.69, 8, 4),
        GpuType("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 96, None, 1.64, 0, 2),
        GpuType("NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 2g.48gb", 48, 1.09, None, 16, 0),
        GpuType("NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb", 24, 0.59, None, 32, 0),
        GpuType("NVIDIA RTX PRO 4500 Blackwell", 32, 0.72, None, 8, 0),
        GpuType("NVIDIA L40S", 48, 0.99, 0.79, 8, 8),
        GpuType("NVIDIA L40", 48, 0.82, 0.69, 8, 10),
        GpuType("NVIDIA RTX 6000 Ada Generation", 48, 0.84, 0.74, 8, 8),
        GpuType("NVIDIA RTX A6000", 48, 0.53, 0.33, 10, 3),
        GpuType("NVIDIA A40", 48, 0.44, None, 10, 1),
        GpuType("NVIDIA GeForce RTX 5090", 32, 0.99, 0.69, 10, 8),
        GpuType("NVIDIA RTX 5000 Ada Generation", 32, None, 0.49, 0, 4),
        GpuType("NVIDIA GeForce RTX 4090", 24, 0.74, 0.34, 8, 9),
        GpuType("NVIDIA L4", 24, 0.49, None, 9, 1),
        GpuType("NVIDIA RTX A5000", 24, 0.27, 0.16, 10, 10),
        GpuType("NVIDIA RTX 4000 Ada Generation", 20, 0.28, 0.20, 8, 8),
        GpuType("NVIDIA RTX 4000 SFF Ada Generation", 20, 0.28, 0.20, 8, 8),
        GpuType("NVIDIA RTX A4500", 20, 0.25, 0.19, 4, 4),
        GpuType("NVIDIA RTX A4000", 16, 0.25, 0.17, 8, 8),
        GpuType("NVIDIA RTX 2000 Ada Generation", 16, 0.24, None, 8, 0),
        GpuType("NVIDIA GeForce RTX 4080 SUPER", 16, 0.50, 0.28, 8, 8),
        GpuType("NVIDIA RTX A2000", 6, 0.12, None, 8, 0),
        GpuType("AMD Instinct MI300X OAM", 192, 2.39, None, 8, 0),
    )
}
