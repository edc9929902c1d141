"""Blocks of a stream on their way to the pod: joined, or compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

_WORTH_SENDING = 256 << 10


def batched(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small blocks: each piece handed on costs an SSH packet."""
    pending = bytearray()
    for block in blocks:
        if not pending and len(block) >= _WORTH_SENDING:
            yield block
            continue
        pending += block
        if len(pending) >= _WORTH_SENDING:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def gzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress quickly, as gzip does."""
    squeeze = zlib.compressobj(level=1, wbits=31)
    for block in blocks:
        yield squeeze.compress(block)
    yield squeeze.flush()
