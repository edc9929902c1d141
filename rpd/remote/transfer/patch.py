"""Patches a large file: finds its changed blocks by their checksums.

The sums of one of the two files are known; the other file is here and is read. On the way to the pod the sums
were noted when the old file was sent; on the way here the pod computes them from the new one. Blocks are
compared at the same place in both files or, if one file is longer, at the same distance from the end. That
finds changes in place, appended data, and one insertion or deletion. The sha256 of the result proves that it
is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TypeVar

from rpd.values.frozen import frozen

LEAST_BYTES = 8 << 20
"""Smaller files are sent whole: over 50 Mbit/s that takes a second."""

_LEAST_BLOCK = 128 << 10
"""With this size a changed megabyte, wherever it starts, costs an eighth more, and the sums a thousandth of
the file.
"""
_MOST_BLOCKS = 4096
_READ = 1 << 20
_DD = 64 << 10
SUM_DIGITS = 32
"""Digits kept of a block's sha256: the sha256 of the whole file decides in the end."""

D = TypeVar("D", bytes, memoryview)
SumAt = Callable[[int, int], str]
"""Returns the sum of a part of a file: from a place (first) on, so many bytes (second)."""


@frozen(kw_only=False)
class Blocks:
    """The sums of a file's blocks, all of ``block`` bytes but the last."""

    size: int
    block: int
    sums: Sequence[str]

    def is_sound(self) -> bool:
        """Return whether there is a sum for each block, and no more of them than rpd makes."""
        return (
            self.size >= 0
            and self.block >= _LEAST_BLOCK
            and len(self.sums) == -(-self.size // self.block)
            and len(self.sums) <= _MOST_BLOCKS
        )


@frozen(kw_only=False)
class Piece:
    """``length`` bytes of a new file from ``start`` on: those of the old file at ``source``, or None for new ones."""

    start: int
    length: int
    source: int | None


def block_size(size: int) -> int:
    """Return the block size for a file of ``size`` bytes."""
    block = _LEAST_BLOCK
    while size > block * _MOST_BLOCKS:
        block *= 2
    return block


def sum_at(file: BinaryIO) -> SumAt:
    """Return a function that sums a part of an open file; it raises OSError."""

    def add_up(start: int, length: int) -> str:
        file.seek(start)
        digest = hashlib.sha256()
        while length and (data := file.read(min(length, _READ))):
            length -= len(data)
            digest.update(data)
        return digest.hexdigest()[:SUM_DIGITS]

    return add_up


class Summing:
    """Sums the blocks of a file of ``size`` bytes as it passes in pieces of any size."""

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
        """Return the sums, after the whole file has passed."""
        if self._left != self.block:
            self._end()
        return Blocks(self._size, self.block, self._sums)


def pieces_of_new(new: Blocks, sum_new: SumAt, old: Blocks) -> list[Piece]:
    """Return the pieces of a new file that is here; only the sums of the old one are known."""
    noted = {}
    if new.block == old.block:
        places = range(0, new.size, new.block)
        noted = {
            (at, min(new.block, new.size - at)): known_sum
            for at, known_sum in zip(places, new.sums, strict=True)
        }
    alike = _alike(lambda start, length: noted.get((start, length)) or sum_new(start, length), new.size, old)
    return _pieces(new.size, [(here, there, length) for there, here, length in alike])


def pieces_of_known(sum_old: SumAt, size: int, new: Blocks) -> list[Piece]:
    """Return the pieces of a new file whose sums are known; the old one, of ``size`` bytes, is here."""
    return _pieces(new.size, list(_alike(sum_old, size, new)))


def _alike(sum_here: SumAt, size: int, known: Blocks) -> Iterator[tuple[int, int, int]]:
    """Yield blocks that both files have: place in the known one, place in the one here, length."""
    missing = []
    for number, known_sum in enumerate(known.sums):
        start = number * known.block
        length = min(known.block, known.size - start)
        if start + length <= size and sum_here(start, length) == known_sum:
            yield start, start, length
        else:
            missing.append((start, length, known_sum))
    shift = size - known.size
    # From the end backwards to the first difference: blocks before it are at their own place, or have
    # changed.
    for start, length, known_sum in reversed(missing) if shift else ():
        if start + shift < 0 or sum_here(start + shift, length) != known_sum:
            return
        yield start, start + shift, length


def _pieces(size: int, alike: Sequence[tuple[int, int, int]]) -> list[Piece]:
    """Return the pieces of a new file of ``size`` bytes, given the equal blocks: new place, old place, length."""
    pieces: list[Piece] = []
    at = 0
    for start, source, length in sorted(alike):
        if start < at:
            continue  # overlaps another block
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
    """Return the number of new bytes."""
    return sum(piece.length for piece in pieces if piece.source is None)


def remaining(pieces: Sequence[Piece], done: int) -> list[Piece]:
    """Return the remaining pieces after the first ``done`` bytes of the new file."""
    left = []
    for piece in pieces:
        gone = max(0, done - piece.start)
        if gone < piece.length:
            source = None if piece.source is None else piece.source + gone
            left.append(Piece(piece.start + gone, piece.length - gone, source))
    return left


def parts_of(read: Callable[[int], D], length: int) -> Iterator[D]:
    """Yield ``length`` bytes from ``read``, fewer if it ends early."""
    while length and (data := read(min(length, _READ))):
        length -= len(data)
        yield data


def copy_words(path: str, start: int, length: int) -> str:
    """Return sh commands that write ``length`` bytes of a file (``path`` is quoted) from ``start`` on."""
    if start % _DD or length % _DD:
        return f"tail -c +{start + 1} -- {path} | head -c {length}"
    return f"dd if={path} bs={_DD} skip={start // _DD} count={length // _DD} 2>/dev/null"
