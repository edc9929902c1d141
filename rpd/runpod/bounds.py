"""Bounds for responses from the network: their total time and size.

A timeout of httpx or requests applies to the next byte: a response that trickles, or a stream that is kept
alive, never reaches it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rpd.threads import Overdue

TOTAL_SECONDS = 40.0
"""Limit for one call: connecting, sending, and the last byte of the response."""
MOST_BYTES = 32 << 20
"""Limit for one response: more than RunPod has reason to send, and less than a laptop has memory."""
_LONGEST_LINE = 1 << 20


class TooLong(Exception):
    """A response is larger than RunPod has any reason to send."""


def whole(chunks: Iterable[bytes], *, until: float, most: int) -> bytes:
    """Return all of ``chunks``. Raise Overdue past ``until`` (monotonic), TooLong past ``most`` bytes."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise TooLong(f"a response of more than {most >> 20} MB")
        if time.monotonic() > until:
            raise Overdue("the response did not end in time")
    return bytes(body)


def lines(chunks: Iterable[bytes]) -> Iterator[list[str]]:
    """Yield the lines completed by each of ``chunks``, maybe none; stop at a line that does not end."""
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        yield [line.decode(errors="replace").rstrip("\r") for line in complete]
        if len(rest) > _LONGEST_LINE:
            return
