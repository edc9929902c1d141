"""Patches a large file from the blocks that changed, found by the checksums of its blocks.

The sums of one of the two files are known, the other one lies here and is read: on the way to the pod the sums were
noted when the old file was sent, on the way here the pod makes them of the new one. Blocks lie at the same place in
both files or, where one file is longer, as far from the end: that finds what changed in place, what was appended, and
one insertion or deletion. Whether the file made of it is right, its sha256 tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TypeVar

from rpd.values.frozen import frozen

LEAST_BYTES = 8 << 20
"""A smaller file goes whole: over 50 Mbit/s that is a second."""

_LEAST_BLOCK = 128 << 10
"""A change of a megabyte that begins anywhere then costs an eighth more, and the sums a thousandth of the file."""
_MOST_BLOCKS = 4096
_READ = 1 << 20
_DD = 64 << 10
SUM_DIGITS = 32
"""Of a sha256: what decides in the end is the sha256 of the file."""

D = TypeVar("D", bytes, memoryview)
SumAt = Callable[[int, int], str]
"""The sum of so many bytes (second) of a file from a place on (first)."""


@frozen(kw_only=False)
class Blocks:
    """The sums of a file's blocks, all of ``block`` bytes but the last."""

    size: int
    block: int
    sums: Sequence[str]

    def is_sound(self) -> bool:
        """Whether there is a sum for each block, and not more of them than rpd makes."""
        return (
            self.size >= 0
            and self.block >= _LEAST_BLOCK
            and len(self.sums) == -(-self.size // self.block)
            and len(self.sums) <= _MOST_BLOCKS
        )


@frozen(kw_only=False)
class Piece:
    """So many bytes of a new file from ``start`` on: those of the old one at ``source``, or None for new ones."""

    start: int
    length: int
    source: int | None


def block_size(size: int) -> int:
    """Return how long the blocks of a file of ``size`` bytes are."""
    block = _LEAST_BLOCK
    while size > block * _MOST_BLOCKS:
        block *= 2
    return block


def sum_at(file: BinaryIO) -> SumAt:
    """Return what sums a part of an open file; it raises OSError."""

    def add_up(start: int, length: int) -> str:
        file.seek(start)
        digest = hashlib.sha256()
        while length and (data := file.read(min(length, _READ))):
            length -= len(data)
            digest.update(data)
        return digest.hexdigest()[:SUM_DIGITS]

    return add_up


class Summing:
    """Sums the blocks of a file of ``size`` bytes as it goes by in pieces of any size."""

    def __init__(self, size: int) -> None:
        self.block = block_size(size)
        self._size = size
        self._sums: list[str] = []
        self._digest = hashlib.sha256()
        self._left = self.block

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while view:
            piece, view = view[: self._left], view[self._left :]
            self._digest.update(piece)
            self._left -= len(piece)
            if not self._left:
                self._end()

    def _end(self) -> None:
        self._sums.append(self._digest.hexdigest()[:SUM_DIGITS])
        self._digest, self._left = hashlib.sha256(), self.block

    def blocks(self) -> Blocks:
        """Return the sums once all has gone by."""
        if self._left != self.block:
            self._end()
        return Blocks(self._size, self.block, self._sums)


def pieces_of_new(new: Blocks, sum_new: SumAt, old: Blocks) -> list[Piece]:
    """Return what a new file, which lies here, is made of; of the old one the sums are known."""
    noted = {}
    if new.block == old.block:
        places = range(0, new.size, new.block)
        noted = {
            (at, min(new.block, new.size - at)): wanted for at, wanted in zip(places, new.sums, strict=True)
        }
    alike = _alike(lambda start, length: noted.get((start, length)) or sum_new(start, length), new.size, old)
    return _pieces(new.size, [(here, there, length) for there, here, length in alike])


def pieces_of_known(sum_old: SumAt, size: int, new: Blocks) -> list[Piece]:
    """Return what a new file, whose sums are known, is made of; the old one, of ``size`` bytes, lies here."""
    return _pieces(new.size, list(_alike(sum_old, size, new)))


def _alike(sum_here: SumAt, size: int, known: Blocks) -> Iterator[tuple[int, int, int]]:
    """Yield blocks that both files have: where in the known one, where in the one that is here, how long."""
    missing = []
    for number, wanted in enumerate(known.sums):
        start = number * known.block
        length = min(known.block, known.size - start)
        if start + length <= size and sum_here(start, length) == wanted:
            yield start, start, length
        else:
            missing.append((start, length, wanted))
    shift = size - known.size
    # From the end on, until the first that differs: all before it is there at its own place, or has changed.
    for start, length, wanted in reversed(missing) if shift else ():
        if start + shift < 0 or sum_here(start + shift, length) != wanted:
            return
        yield start, start + shift, length


def _pieces(size: int, alike: Sequence[tuple[int, int, int]]) -> list[Piece]:
    """Return the pieces of a new file of ``size`` bytes from what was ``alike``: new place, old place, length."""
    pieces: list[Piece] = []
    at = 0
    for start, source, length in sorted(alike):
        if start < at:
            continue  # lies over another
        if start > at:
            pieces.append(Piece(at, start - at, None))
        last = pieces[-1] if pieces else None
        if last is not None and last.source is not None and last.source + last.length == source:
            pieces[-1] = Piece(last.start, last.length + length, last.source)
        else:
            pieces.append(Piece(start, length, source))
        at = start + length
    if at < size:
        pieces.append(Piece(at, size - at, None))
    return pieces


def new_bytes(pieces: Sequence[Piece]) -> int:
    """Return how many bytes are new."""
    return sum(piece.length for piece in pieces if piece.source is None)


def remaining(pieces: Sequence[Piece], done: int) -> list[Piece]:
    """Return what is left of the pieces once the first ``done`` bytes of the new file are there."""
    left = []
    for piece in pieces:
        gone = max(0, done - piece.start)
        if gone < piece.length:
            source = None if piece.source is None else piece.source + gone
            left.append(Piece(piece.start + gone, piece.length - gone, source))
    return left


def parts_of(read: Callable[[int], D], length: int) -> Iterator[D]:
    """Yield so many bytes as ``read`` gives them, fewer if it gives none any more."""
    while length and (data := read(min(length, _READ))):
        length -= len(data)
        yield data


def copy_words(path: str, start: int, length: int) -> str:
    """Return words for sh that write so many bytes of a file (``path`` is quoted) from ``start`` on."""
    if start % _DD or length % _DD:
        return f"tail -c +{start + 1} -- {path} | head -c {length}"
    return f"dd if={path} bs={_DD} skip={start // _DD} count={length // _DD} 2>/dev/null"
