"""A stream that is compressed where it pays: consecutive gzip members, each at the best level at that moment.

On the way to the pod everything is in members, at level 0 while the line is faster than compression. On the
way here, an empty member announces uncompressed data before the next one; its time field has the length in
units of 64 KB, 0 for all the rest. A stream that does not start like gzip is uncompressed.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rpd.errors import TransferError

# Defines _rpd_pack, a filter with members of 4 MB. dd reads a pipe without taking more than it passes on,
# unlike head on some systems, and reports how much that was. A line is slow if less than 7 MB/s of compressed
# data pass over it: use level 6, unless fewer bytes of the tree pass then. After 8 MB, which may only have
# filled the buffers on the way, a line faster than 8 MB/s gets 4 MB uncompressed, and all the rest if that
# was faster. After a block that shrank by less than a twentieth, 8 blocks go uncompressed, and more each
# time. Times are hundredths of a second.
PACK = r"""
_rpd_as_it_is() { printf "\037\213\010\000\\$1\000\000\000\000\003\003\000\000\000\000\000\000\000\000\000"; }
_rpd_now() { read -r _rpd_time _ </proc/uptime && _rpd_time=${_rpd_time%.*}${_rpd_time#*.}; }
_rpd_plain() {
  _rpd_as_it_is 100
  case $(dd bs=65536 count=64 iflag=fullblock 2>&1 >&4) in *"64+0 records in"*) ;; *) return 1 ;; esac
  _rpd_all=$((_rpd_all + 128))
}
_rpd_block() {
  _rpd_said=$({
    { _rpd_a=$(dd bs=65536 count=64 iflag=fullblock 2>&1 >&5); echo "IN $_rpd_a" >&3; } 5>&1 | gzip "-$1" |
      { _rpd_a=$(dd ibs=65536 obs=32768 2>&1 >&4); echo "OUT $_rpd_a" >&3; }
  } 3>&1)
  _rpd_out=${_rpd_said#*OUT *records in} _rpd_out=${_rpd_out%%+*} _rpd_out=${_rpd_out##*[!0-9]}
  case $_rpd_said in *"IN 64+0 records in"*) [ -n "$_rpd_out" ] ;; *) return 1 ;; esac
}
_rpd_pack() {
  gzip -1 </dev/null >/dev/null 2>&1 || exec cat
  dd if=/dev/null bs=65536 count=64 iflag=fullblock 2>/dev/null && _rpd_now 2>/dev/null || exec gzip -1
  export LC_ALL=C
  exec 4>&1
  _rpd_level=1 _rpd_all=0 _rpd_wire=0 _rpd_blocks=0 _rpd_rate=0 _rpd_hold=0 _rpd_try=0 _rpd_run=4 _rpd_was=$_rpd_time
  while _rpd_block "$_rpd_level"; do
    _rpd_all=$((_rpd_all + _rpd_out)) _rpd_wire=$((_rpd_wire + _rpd_out)) _rpd_blocks=$((_rpd_blocks + 1))
    if [ "$((_rpd_out * 20))" -ge 2432 ]; then
      [ "$_rpd_run" -ge 64 ] || _rpd_run=$((_rpd_run * 2))
      _rpd_n=$_rpd_run; _rpd_now
      while [ "$_rpd_n" -gt 0 ]; do
        _rpd_plain || return 0
        _rpd_n=$((_rpd_n - 1))
      done
      _rpd_was=$_rpd_time; _rpd_now
      # More than 20 MB/s of what does not become less: nothing else pays.
      if [ "$((_rpd_run * 21))" -gt "$((_rpd_time - _rpd_was))" ]; then _rpd_as_it_is 000; exec cat; fi
      _rpd_was=$_rpd_time _rpd_wire=0 _rpd_blocks=0
      continue
    fi
    _rpd_run=4
    _rpd_now; _rpd_wall=$((_rpd_time - _rpd_was))
    [ "$_rpd_wall" -ge 15 ] || continue
    _rpd_speed=$((_rpd_wire * 3276800 / _rpd_wall)) _rpd_last=$_rpd_rate
    _rpd_rate=$((_rpd_blocks * 100000 / _rpd_wall)) _rpd_hold=$((_rpd_hold - 1)) _rpd_try=$((_rpd_try - 1))
    if [ "$_rpd_level" = 6 ] && [ "$_rpd_hold" = 0 ] && [ "$((_rpd_rate * 10))" -lt "$((_rpd_last * 9))" ]; then
      _rpd_level=1 _rpd_hold=16
    elif [ "$_rpd_level" = 1 ] && [ "$_rpd_speed" -lt 7000000 ] && [ "$_rpd_hold" -le 0 ]; then
      _rpd_level=6 _rpd_hold=1
    elif [ "$_rpd_all" -ge 256 ] && [ "$_rpd_speed" -gt 8000000 ] && [ "$_rpd_try" -le 0 ]; then
      _rpd_was=$_rpd_time _rpd_try=32
      _rpd_plain || return 0
      _rpd_now
      if [ "$((100000 / (_rpd_time - _rpd_was + 1)))" -gt "$_rpd_rate" ]; then _rpd_as_it_is 000; exec cat; fi
    fi
    _rpd_was=$_rpd_time _rpd_wire=0 _rpd_blocks=0
  done
  return 0
}
"""

_MAGIC = b"\x1f\x8b"
_UNIT = 64 << 10
_GIVEN = 256 << 10
_PIECE = 1 << 20
_MOST_SILENT = 1 << 20
"""Most bytes of gzip without any content."""


def unpacked(receive: Callable[[], bytes]) -> Iterator[bytes | memoryview]:
    """Yield the content of a packed stream, in pieces of at most a megabyte where it was compressed.

    A cut stream just ends; the reader knows what is missing. Raise TransferError for damaged gzip data.
    """
    source = _Pending(receive)
    while source.has(len(_MAGIC)):
        if source.pending[: len(_MAGIC)] != _MAGIC:
            if source.is_new:
                break
            raise TransferError("the pod sent a damaged gzip stream: something follows that is none")
        units = int.from_bytes(source.pending[4:8], "little") if source.has(8) else 0
        is_empty = True
        for piece in source.member():
            is_empty = False
            yield piece
        if is_empty and not units:
            break
        if is_empty:
            yield from source.plain(units * _UNIT)
    yield from source.plain(None)


class _Pending:
    """The bytes of a stream that have arrived and are not used yet."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self.pending = memoryview(b"")
        self.is_new = True

    def has(self, size: int) -> bool:
        """Return whether ``size`` bytes are here, waiting for them."""
        while len(self.pending) < size and (data := self._receive()):
            self.pending = memoryview(bytes(self.pending) + data if self.pending else data)
        return len(self.pending) >= size

    def member(self) -> Iterator[bytes]:
        """Yield the content of the next gzip member."""
        self.is_new = False
        silent = 0
        unzip = zlib.decompressobj(wbits=31)
        while not unzip.eof and self.has(1):
            chunk = self.pending[:_GIVEN]
            try:
                piece = unzip.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise TransferError(f"the pod sent a damaged gzip stream: {error}") from None
            used = len(chunk) - len(unzip.unused_data if unzip.eof else unzip.unconsumed_tail)
            self.pending = self.pending[used:]
            silent = 0 if piece else silent + used
            if silent > _MOST_SILENT:
                raise TransferError("the pod sent a gzip stream that holds nothing")
            if piece:
                yield piece

    def plain(self, size: int | None) -> Iterator[memoryview]:
        """Yield ``size`` bytes as they arrive, or all."""
        while (size is None or size > 0) and self.has(1):
            data = self.pending if size is None else self.pending[:size]
            self.pending = self.pending[len(data) :]
            size = None if size is None else size - len(data)
            yield data


# --- to the pod -------------------------------------------------------------------------------------------------------

_LEVELS = (0, 1, 6)
_BATCH = 512 << 10
_SAMPLE = 64 << 10
_SAMPLE_EVERY = 8 << 20
_SWALLOWED = 4 << 20
"""Bytes that windows and sockets take at once; they say nothing about the line."""
_WINDOW = 1 << 20
_NEW = 0.5
"""Weight of a new measurement."""
_BETTER = 0.9
"""A higher level must cost less than this fraction of a lower one."""


@dataclass(slots=True)
class _Effort:
    """The cost of compressing at one level: seconds per byte, and the ratio of the result."""

    seconds: float
    ratio: float

    def learn(self, seconds: float, ratio: float) -> None:
        self.seconds += (seconds - self.seconds) * _NEW
        self.ratio += (ratio - self.ratio) * _NEW


class Gauge:
    """Chooses the level of compression by the speed of the line and of the compression.

    It assumes a slow line until it has measured one.
    """

    def __init__(self) -> None:
        self._line = 1 / 6e6
        self._efforts = {0: _Effort(2e-9, 1.0), 1: _Effort(15e-9, 0.5), 6: _Effort(40e-9, 0.47)}
        self._sent = 0
        self._window = [0, 0.0, 0.0]
        """Bytes, seconds to compress them, seconds to send them."""
        self._packing = 0.0

    @property
    def level(self) -> int:
        """The cheapest level per byte; compressing and sending overlap, so the longer of the two counts."""
        best = 0
        for level in _LEVELS[1:]:
            if self._cost(level) < self._cost(best) * _BETTER:
                best = level
        return best

    def _cost(self, level: int) -> float:
        effort = self._efforts[level]
        return max(effort.seconds, self._line * effort.ratio) + effort.seconds / 4

    def packed(self, level: int, size: int, result: int, seconds: float, elapsed: float) -> None:
        """Take a measurement: ``size`` bytes became ``result`` at ``level``, in processor time and by the clock."""
        self.sampled(level, size, result, seconds)
        self._packing += elapsed

    def sampled(self, level: int, size: int, result: int, seconds: float) -> None:
        """Take the same for bytes that are not sent.

        Uses processor time, so that a busy machine makes no difference.
        """
        self._efforts[level].learn(seconds / max(1, size), result / max(1, size))

    def sent(self, size: int, seconds: float) -> None:
        """Take a measurement: the line took ``seconds`` for ``size`` bytes."""
        self._sent += size
        if self._sent < _SWALLOWED:
            self._packing = 0.0
            return
        window = self._window
        window[0] += size
        window[1] += self._packing
        window[2] += seconds
        self._packing = 0.0
        if window[0] >= _WINDOW:
            both = window[1] + window[2]
            # If it had to be waited for at all, the line was busy all the time.
            spent = both if window[2] > both / 5 else window[2]
            self._line += (spent / window[0] - self._line) * _NEW
            self._window = [0, 0.0, 0.0]


def packed(
    blocks: Iterable[bytes], gauge: Gauge, clock: Callable[[], float] = time.perf_counter
) -> Iterator[bytes]:
    """Yield ``blocks`` as gzip members; the time until the next one is requested shows how busy the line is."""
    since_sample = _SAMPLE_EVERY
    for block in blocks:
        since_sample += len(block)
        if since_sample >= _SAMPLE_EVERY and len(block) >= 2 * _SAMPLE:
            since_sample = 0
            middle = len(block) // 2
            for level in _LEVELS[1:]:
                member, seconds = _member(block[middle - _SAMPLE // 2 : middle + _SAMPLE // 2], level)
                gauge.sampled(level, _SAMPLE, len(member), seconds)
        level = gauge.level
        began = clock()
        member, seconds = _member(block, level)
        gauge.packed(level, len(block), len(member), seconds, clock() - began)
        began = clock()
        yield member
        gauge.sent(len(member), clock() - began)


def _member(block: bytes, level: int) -> tuple[bytes, float]:
    """Return a gzip member, and the processor time it took."""
    began = time.thread_time()
    squeeze = zlib.compressobj(level=level, wbits=31)
    member = squeeze.compress(block) + squeeze.flush()
    return member, time.thread_time() - began


def batched(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small blocks: each yielded piece costs an SSH packet or a gzip member."""
    pending = bytearray()
    for block in blocks:
        if not pending and len(block) >= _BATCH:
            yield block
            continue
        pending += block
        if len(pending) >= _BATCH:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)
