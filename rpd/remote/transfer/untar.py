"""The files of a tar stream, one after the other as it arrives."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any

_PIECE = 64 << 10


class _Reader:
    """A file that tarfile can read, from a function that returns the next bytes."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._pending = memoryview(b"")

    def read(self, size: int) -> bytes:
        if not self._pending:
            self._pending = memoryview(self._receive())
        data, self._pending = self._pending[:size], self._pending[size:]
        return bytes(data)


def members(receive: Callable[[], bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield the files of a tar stream, each to be read before the next. Raises tarfile.ReadError if it is cut."""
    source: Any = _Reader(receive)
    # tarfile copies what it has buffered at each read: a small buffer is a fast one.
    with tarfile.open(fileobj=source, mode="r|", bufsize=_PIECE, ignore_zeros=True) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member, content
