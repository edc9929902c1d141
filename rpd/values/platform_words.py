"""Words that RunPod lists: CPU flavours, countries, certificates of data centres, versions of CUDA.

Each function returns the word in RunPod's spelling. It raises DefinitionError, with the closest word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rpd.errors import DefinitionError
from rpd.values.suggestions import closest

CPU_FLAVOURS = ("cpu3c", "cpu3g", "cpu3m", "cpu5c", "cpu5g", "cpu5m")
"""Generation and kind: compute (2 GB per vCPU), general purpose (4 GB) or memory (8 GB)."""
CERTIFICATES = (
    *("GDPR", "HIPAA", "HITRUST", "ISO_IEC_27001", "ISO_14001", "PCI_DSS", "SOC_1_TYPE_2", "SOC_2_TYPE_2"),
    *("SOC_3_TYPE_2", "ITAR", "FISMA_HIGH", "RENEWABLE"),
)
_CUDA = r"[0-9]{1,2}\.[0-9]{1,2}"


def cpu_flavour(word: str) -> str:
    """Return a CPU flavour."""
    return _listed("cpu", word.lower(), word, CPU_FLAVOURS)


def compliance(word: str) -> str:
    """Return a certificate that data centres may hold."""
    return _listed("compliance", re.sub(r"[^A-Z0-9]+", "_", word.upper()), word, CERTIFICATES)


def country(word: str) -> str:
    """Return a country as ISO 3166-1 has it in two letters."""
    if not re.fullmatch(r"[A-Za-z]{2}", word):
        hint = "For example US, CA, NL or JP"
        raise DefinitionError(
            "Job", "countries", "expected countries in two letters (ISO 3166)", word, hint=hint
        )
    return "GB" if word.upper() == "UK" else word.upper()


def check_cuda(version: object) -> None:
    """Raise DefinitionError unless ``version`` is a version such as ``12.8``."""
    if not isinstance(version, str) or not re.fullmatch(_CUDA, version):
        raise DefinitionError("Job", "min_cuda", 'expected a version of CUDA such as "12.8"', version)


def _listed(field: str, word: str, written: str, known: Sequence[str]) -> str:
    if word in known:
        return word
    close = closest(word, known)
    hint = f"Did you mean {close!r}?" if close else ""
    raise DefinitionError("Job", field, f"expected any of {', '.join(known)}", written, hint=hint)
