"""The GPU types that RunPod is known to rent, with the prices of one day.

Ids and memory: RunPod's "GPU types" reference page (2026-02-12). Prices and the most GPUs per pod: one
reading of 2026-08-27, in dollars per GPU and hour. They are for collection (is this id right?) and dry runs
(what would this cost at most?), which make no calls. A live run asks RunPod.
"""

from __future__ import annotations

from collections.abc import Iterable

from rpd.values.frozen import frozen

PRICES_READ_ON = "2026-08-27"


@frozen(kw_only=False)
class GpuType:
    """One row of the catalogue. Prices are USD per GPU and hour; None if that cloud does not rent the type."""

    id: str
    memory_gb: int
    secure_usd_per_hr: float | None
    community_usd_per_hr: float | None
    max_count_secure: int = 8
    max_count_community: int = 8


KNOWN_GPU_TYPES: dict[str, GpuType] = {
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
        GpuType("NVIDIA RTX PRO 5000 Blackwell", 48, None, None, 0, 0),
        GpuType("NVIDIA RTX PRO 4000 Blackwell", 24, None, None, 0, 0),
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
        GpuType("NVIDIA GeForce RTX 3090", 24, None, None, 0, 0),
        GpuType("NVIDIA GeForce RTX 3090 Ti", 24, None, None, 0, 0),
        GpuType("NVIDIA A30", 24, None, None, 0, 0),
        GpuType("NVIDIA RTX 4000 Ada Generation", 20, 0.28, 0.20, 8, 8),
        GpuType("NVIDIA RTX 4000 SFF Ada Generation", 20, 0.28, 0.20, 8, 8),
        GpuType("NVIDIA RTX A4500", 20, 0.25, 0.19, 4, 4),
        GpuType("NVIDIA RTX A4000", 16, 0.25, 0.17, 8, 8),
        GpuType("NVIDIA RTX 2000 Ada Generation", 16, 0.24, None, 8, 0),
        GpuType("NVIDIA GeForce RTX 5080", 16, None, None, 0, 0),
        GpuType("NVIDIA GeForce RTX 4080", 16, None, None, 0, 0),
        GpuType("NVIDIA GeForce RTX 4080 SUPER", 16, 0.50, 0.28, 8, 8),
        GpuType("NVIDIA GeForce RTX 4070 Ti", 12, None, None, 0, 0),
        GpuType("NVIDIA GeForce RTX 3080 Ti", 12, None, None, 0, 0),
        GpuType("NVIDIA GeForce RTX 3080", 10, None, None, 0, 0),
        GpuType("NVIDIA GeForce RTX 3070", 8, None, None, 0, 0),
        GpuType("NVIDIA RTX A2000", 6, 0.12, None, 8, 0),
        GpuType("Tesla V100-SXM2-32GB", 32, None, None, 0, 0),
        GpuType("Tesla V100-PCIE-32GB", 32, None, None, 0, 0),
        GpuType("Tesla V100-SXM2-16GB", 16, None, None, 0, 0),
        GpuType("Tesla V100-PCIE-16GB", 16, None, None, 0, 0),
        GpuType("Tesla V100-FHHL-16GB", 16, None, None, 0, 0),
        GpuType("Tesla T4", 16, None, None, 0, 0),
        GpuType("AMD Instinct MI300X OAM", 192, 2.39, None, 8, 0),
    )
}


def closest_gpu_ids(wrong: str, known: Iterable[str] = KNOWN_GPU_TYPES) -> tuple[str, ...]:
    """Return up to three known ids that ``wrong`` may have meant.

    Those that hold all its words come first, then the likeliest as a whole; else those with a word like one of its.
    """
    import difflib  # only somebody's slip is worth loading it

    ids = list(known)
    words = wrong.lower().replace("-", " ").split()
    containing = [i for i in ids if all(word in i.lower() for word in words)] if words else []
    lowered = {i.lower(): i for i in ids}
    similar = [lowered[m] for m in difflib.get_close_matches(wrong.lower(), lowered, n=3, cutoff=0.5)]
    return tuple(dict.fromkeys([*containing, *similar] or _with_similar_words(words, ids)))[:3]


_LOOKALIKES = str.maketrans("oil", "011")
"""Letters that are typed, or read, for a digit: H1OO."""


def _with_similar_words(words: Iterable[str], ids: Iterable[str]) -> list[str]:
    """Return the ids that have, for the first of ``words`` that is like any, the name of a model most like it."""
    from difflib import get_close_matches

    models: dict[str, list[str]] = {}
    for gpu_id in ids:
        for model in gpu_id.lower().replace("-", " ").split():
            if any(sign.isdigit() for sign in model):
                models.setdefault(model.translate(_LOOKALIKES), []).append(gpu_id)
    for word in words:
        close = get_close_matches(word.translate(_LOOKALIKES), models, n=1, cutoff=0.7)
        if close:
            return models[close[0]]
    return []
