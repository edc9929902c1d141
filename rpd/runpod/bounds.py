"""Bounds for responses from the network: their total time and size.

A timeout of httpx or requests is for the next byte: an answer that dribbles, or a stream that is kept alive, never
meets it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rpd.threads import Overdue

TOTAL_SECONDS = 40.0
"""For one call in all: connecting, sending and the last byte of the answer."""
MOST_BYTES = 32 << 20
"""For one answer: more than RunPod has reason to say, and less than a laptop has memory."""
_LONGEST_LINE = 1 << 20


class TooLong(Exception):
    """An answer is larger than any that RunPod has reason to give."""


def whole(chunks: Iterable[bytes], *, until: float, most: int) -> bytes:
    """Return all of ``chunks``. Raises Overdue past ``until`` (monotonic), TooLong past ``most`` bytes."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise TooLong(f"an answer of more than {most >> 20} MB")
        if time.monotonic() > until:
            raise Overdue("the answer did not come to its end in time")
    return bytes(body)


def lines(chunks: Iterable[bytes]) -> Iterator[list[str]]:
    """Yield the lines that each of ``chunks`` completes, which may be none; end at a line without an end."""
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        yield [line.decode(errors="replace").rstrip("\r") for line in complete]
        if len(rest) > _LONGEST_LINE:
            return
