"""The data centres that RunPod is known to have.

Ids: those that RunPod's documentation, REST v1 and public code name (2026-08). There are a few more, so an id that
is not here may be right: offline that is worth a word, and only RunPod itself can say no.
"""

from __future__ import annotations

from collections.abc import Iterable

_NORTH_AMERICA = """
    US-CA-2 US-CO-1 US-DE-1 US-GA-1 US-GA-2 US-IL-1 US-KS-2 US-KS-3 US-MD-1 US-MO-1 US-MO-2 US-NC-1 US-NC-2 US-NE-1
    US-OR-1 US-TX-1 US-TX-3 US-TX-4 US-UT-1 US-WA-1 US-WA-2 CA-MTL-1 CA-MTL-2 CA-MTL-3 CA-MTL-4
"""
_EUROPE = """
    EU-CZ-1 EU-FI-1 EU-FR-1 EU-NL-1 EU-RO-1 EU-SE-1
    EUR-IS-1 EUR-IS-2 EUR-IS-3 EUR-IS-4 EUR-IS-5 EUR-NO-1 EUR-NO-2
"""
_CONTINENTS = frozenset(("EU", "EUR", "AP", "OC", "SEA", "SA", "AF", "ME"))
_ASIA_PACIFIC = "AP-IN-1 AP-IN-2 AP-JP-1 OC-AU-1"

KNOWN_DATACENTERS = frozenset(f"{_NORTH_AMERICA} {_EUROPE} {_ASIA_PACIFIC}".split())


def country_of(datacenter: str) -> str:
    """Return the country of a data centre in two letters: its id begins with it, or with a continent before it."""
    first, _, rest = datacenter.upper().partition("-")
    return rest.partition("-")[0][:2] if first in _CONTINENTS else first


def closest_datacenters(wrong: str, known: Iterable[str] = KNOWN_DATACENTERS) -> tuple[str, ...]:
    """Return up to three known ids that ``wrong`` may have meant, the likeliest first."""
    import difflib  # only somebody's slip is worth loading it

    return tuple(difflib.get_close_matches(wrong.upper(), sorted(known), n=3, cutoff=0.7))
