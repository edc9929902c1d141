"""Masking: no message repeats the API key or the secrets of a request."""

from __future__ import annotations

import json
from collections.abc import Iterable

MASK = "***"
_SHORTEST_SECRET = 4
"""Shorter texts are not masked: an environment value of "1" would mask half of every message."""


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without the secrets, as they are and as they stand in a document that was sent."""
    hidden = set(secrets)
    hidden |= {json.dumps(secret, ensure_ascii=ascii_)[1:-1] for secret in hidden for ascii_ in (True, False)}
    for secret in sorted(hidden, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text
