"""A stream that is compressed where it pays: gzip members, each at the best level at that moment, and plain bytes.

On the way to the pod it is a row of frames, each announced by a line: a gzip member, or bytes as they are
while the line is faster than compression. A pod whose ``dd`` cannot tell frames apart gets members alone, at
level 0 then. On the way here, an empty member announces uncompressed data before the next one; its time field
has the length in units of 64 KB, 0 for all the rest. A stream that does not start like gzip is uncompressed.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rpd.errors import TransferError

# Defines _rpd_pack, a filter with members of 4 MB. dd reads a pipe without taking more than it passes on,
# unlike head on some systems, and reports how much that was. A line is slow if less than 7 MB/s of compressed
# data pass over it: use level 6, unless fewer bytes of the tree pass then. After 8 MB, which may only have
# filled the buffers on the way, or once there is $_rpd_temp/quick (quick_line.py), a line faster than 8 MB/s
# gets 4 MB uncompressed, and all the rest if that was faster. After a block that shrank by less than a
# twentieth, 8 blocks go uncompressed, and more each time. Times are hundredths of a second.
PACK = r"""
_rpd_as_it_is() { printf "\037\213\010\000\\$1\000\000\000\000\003\003\000\000\000\000\000\000\000\000\000"; }
_rpd_rest() {
  _rpd_as_it_is 000
  # The pages go from one pipe to the other; cat copies each byte twice.
  python3 -I -S -c 'import os
while os.splice(0, 1, 1 << 20): pass' 2>/dev/null || exec cat
}
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
      if [ "$((_rpd_run * 21))" -gt "$((_rpd_time - _rpd_was))" ]; then _rpd_rest; return 0; fi
      _rpd_was=$_rpd_time _rpd_wire=0 _rpd_blocks=0
      continue
    fi
    _rpd_run=4
    _rpd_now; _rpd_wall=$((_rpd_time - _rpd_was))
    if [ -n "$_rpd_temp" ] && [ -e "$_rpd_temp/quick" ]; then
      _rpd_wall=$((_rpd_wall + 1))
      [ "$_rpd_all" -ge 256 ] || _rpd_all=256
    elif [ "$_rpd_wall" -lt 15 ]; then continue; fi
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
      if [ "$((100000 / (_rpd_time - _rpd_was + 1)))" -gt "$_rpd_rate" ]; then _rpd_rest; return 0; fi
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
            raise TransferError("the pod sent a damaged gzip stream: other data follows it")
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
                raise TransferError("the pod sent an empty gzip stream")
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

UNPACK = r"""
_rpd_unpack() {
  while read -r _rpd_kind _rpd_size; do
    case $_rpd_kind in
    z) dd bs="$_rpd_size" count=1 iflag=fullblock | gzip -dc || return 1 ;;
    p) dd bs=65536 count="$_rpd_size" iflag=fullblock || return 1 ;;
    *) return 1 ;;
    esac
  done 2>/dev/null
}
"""
"""Defines ``_rpd_unpack``, a filter that takes the stream of ``framed`` and prints its content.

A line announces each frame: ``z``, and the length of a gzip member, or ``p``, and how many times 64 KB come as they
are, or less at the end of the stream.
"""
CAN_UNPACK = """printf x | gzip -1 | dd bs=65536 count=1 iflag=fullblock 2>/dev/null | gzip -dc"""
"""A pipeline for sh that prints ``x`` where ``_rpd_unpack`` works."""

_FIRST_PLAIN, _LONGEST_PLAIN = 32, 512
"""Units of 64 KB in a frame of bytes as they are; twice as many each time in a row."""
_LEVELS = (0, 1, 6)
_BATCH = 512 << 10
_SAMPLE = 64 << 10
_SAMPLE_EVERY = 8 << 20
_SWALLOWED = 4 << 20
"""Bytes that windows and sockets take at once; they say nothing about the line."""
_UNKNOWN = 1 << 62
"""More bytes under way than any that were sent: nothing was measured."""
_UNSEEN = 192 << 10
"""Bytes that a pod may have taken without having said so yet."""
_BEGUN = 256 << 10
"""Bytes that the pod must have taken before their pace means anything."""
_SURE = 2
"""How many times in a row it must have taken all but the last bytes."""
_WORTH = 0.25
"""What compresses to less than this fraction is not tried uncompressed so soon."""
_WINDOW = 1 << 20
_NEW = 0.5
"""Weight of a new measurement."""
_BETTER = 0.9
"""A higher level must cost less than this fraction of a lower one."""
_TRIED = 1 / 16e6
"""A line that takes longer per byte is the slowest part, whatever the pod does: no trials there."""
_MEASURED = 4 << 20
_AS_QUICK = 1.05
_FIRST_PAUSE, _LONGEST_PAUSE = 64 << 20, 1 << 30
"""For how many bytes of the tree the result of a trial counts; twice as many each time."""


@dataclass(slots=True)
class _Effort:
    """The cost of compressing at one level: seconds per byte, and the ratio of the result."""

    seconds: float
    ratio: float

    def learn(self, seconds: float, ratio: float) -> None:
        self.seconds += (seconds - self.seconds) * _NEW
        self.ratio += (ratio - self.ratio) * _NEW


@dataclass(slots=True)
class _Window:
    """A stretch of the stream: bytes of the tree, uncompressed ones among them, bytes sent, and seconds for each."""

    size: int = 0
    plain: int = 0
    sent: int = 0
    packing: float = 0.0
    sending: float = 0.0

    @property
    def seconds(self) -> float:
        return self.packing + self.sending

    @property
    def pace(self) -> float:
        """Seconds per byte of the tree."""
        return self.seconds / max(1, self.size)

    def add(self, other: _Window) -> None:
        self.size += other.size
        self.plain += other.plain
        self.sent += other.sent
        self.packing += other.packing
        self.sending += other.sending


class Gauge:
    """Chooses the level of compression by the speed of the line and of the compression.

    It assumes a slow line until it has measured one. A line that seems slow may be a pod that is busy unpacking, which
    compression does not help. Unless the line is really slow, it sends a part uncompressed to see if that is as fast;
    at once, if the pod takes the first bytes as fast as they are compressed.
    """

    def __init__(self) -> None:
        self._line = 1 / 6e6
        self._efforts = {0: _Effort(2e-9, 1.0), 1: _Effort(15e-9, 0.5), 6: _Effort(40e-9, 0.47)}
        self._sent = 0
        self._under_way = _UNKNOWN
        """Bytes sent that the pod has not taken yet, or not said so."""
        self._start = _Window()
        """What was sent first, before the buffers on the way were full."""
        self._in_step = 0
        """How many times in a row the pod had taken all but the last bytes."""
        self._window = _Window()
        self._is_plain = False
        self._before = 0
        """Bytes sent since the last change between compressed and uncompressed."""
        self._steady = _Window()
        """Measured after that change, without the bytes that only filled or emptied buffers."""
        self._pace = 0.0
        """Seconds per byte of the tree when it was last compressed."""
        self._plain = 0
        """How many more bytes of the tree to send uncompressed, whatever the line seems to be."""
        self._in_trial = False
        self._until_trial = 0
        self._pause = _FIRST_PAUSE

    @property
    def level(self) -> int:
        """The cheapest level per byte; compressing and sending overlap, so the longer of the two counts."""
        return 0 if self._plain > 0 else self._cheapest

    @property
    def _cheapest(self) -> int:
        best = 0
        for level in _LEVELS[1:]:
            if self._cost(level) < self._cost(best) * _BETTER:
                best = level
        return best

    def _cost(self, level: int) -> float:
        effort = self._efforts[level]
        return max(effort.seconds, self._line * effort.ratio) + effort.seconds / 4

    @property
    def worth_sampling(self) -> Sequence[int]:
        """The levels that may become the cheapest, here or further on.

        Where even the lowest takes longer than the line, higher ones only take longer.
        """
        lowest = self._efforts[_LEVELS[1]]
        return _LEVELS[1:2] if self._line * lowest.ratio < lowest.seconds else _LEVELS[1:]

    def packed(self, level: int, size: int, result: int, seconds: float, elapsed: float) -> None:
        """Take a measurement: ``size`` bytes became ``result`` at ``level``, in processor time and by the clock."""
        self.sampled(level, size, result, seconds)
        self._window.size += size
        self._window.plain += size if level == 0 else 0
        self._window.packing += elapsed
        self._plain -= size

    def sampled(self, level: int, size: int, result: int, seconds: float) -> None:
        """Take the same for bytes that are not sent.

        Uses processor time, so that a busy machine makes no difference.
        """
        self._efforts[level].learn(seconds / max(1, size), result / max(1, size))

    def sent(self, size: int, seconds: float) -> None:
        """Take a measurement: the line took ``seconds`` for ``size`` bytes."""
        self._sent += size
        window = self._window
        if self._sent < _SWALLOWED:
            window.sent, window.sending = size, seconds
            self._start.add(window)
            self._window = _Window()
            self._look(size)
            return
        window.sent += size
        window.sending += seconds
        if window.sent >= _WINDOW:
            self._window = _Window()
            # If it had to be waited for at all, the line was busy all the time.
            spent = window.seconds if window.sending > window.seconds / 5 else window.sending
            self._line += (spent / window.sent - self._line) * _NEW
            self._compare(window)

    def under_way(self, size: int) -> None:
        """Take a measurement, before ``sent``: of the bytes sent the pod has not taken ``size``, or not said so."""
        self._under_way = size

    def _look(self, last: int) -> None:
        """Start a trial if the first bytes were taken as fast as they came, the ``last`` ones apart."""
        start = self._start
        has_begun = start.sent - self._under_way > _BEGUN and start.sent > start.size * _WORTH
        self._in_step = self._in_step + 1 if has_begun and self._under_way < last + _UNSEEN else 0
        if self._in_step == _SURE and not start.plain:
            self._pace, self._in_trial, self._plain = start.pace, True, _LONGEST_PAUSE

    def _compare(self, window: _Window) -> None:
        """Start a trial if it is time for one, or take its result."""
        self._until_trial -= window.size
        is_plain = window.plain == window.size
        if is_plain != self._is_plain or 0 < window.plain < window.size:
            self._is_plain, self._before, self._steady = is_plain, 0, _Window()
        self._before += window.sent
        if self._before > _SWALLOWED:
            self._steady.add(window)
        if self._steady.size < _MEASURED:
            return
        if not is_plain:
            self._pace = self._steady.pace
            if self._until_trial <= 0 and self._line < _TRIED:
                self._in_trial, self._plain = True, _LONGEST_PAUSE
        elif self._in_trial:
            is_as_quick = self._steady.pace < self._pace * _AS_QUICK
            self._in_trial, self._plain = False, self._pause if is_as_quick else 0
            self._until_trial, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        self._steady = _Window()


def packed(
    blocks: Iterable[bytes], gauge: Gauge, clock: Callable[[], float] = time.perf_counter
) -> Iterator[bytes]:
    """Yield ``blocks`` as gzip members; the time until the next one is requested shows how busy the line is."""
    for block in _sampled(blocks, gauge):
        level = gauge.level
        member = _packed_block(block, level, gauge, clock)
        began = clock()
        yield member
        gauge.sent(len(member), clock() - began)


def framed(
    blocks: Iterable[bytes], gauge: Gauge, clock: Callable[[], float] = time.perf_counter
) -> Iterator[bytes | memoryview]:
    """Yield ``blocks`` as frames for ``UNPACK``; times count as for ``packed``."""
    units, left = _FIRST_PLAIN, 0
    for block in _sampled(blocks, gauge):
        rest = memoryview(block)
        while rest:
            piece: bytes | memoryview
            if not left and (level := gauge.level):
                member = _packed_block(rest, level, gauge, clock)
                piece, rest, units = b"z %d\n%b" % (len(member), member), rest[:0], _FIRST_PLAIN
            elif not left:
                piece, left, units = b"p %d\n" % units, units * _UNIT, min(2 * units, _LONGEST_PLAIN)
            else:
                piece, rest = rest[:left], rest[left:]
                left -= len(piece)
                gauge.packed(0, len(piece), len(piece), 0.0, 0.0)
            began = clock()
            yield piece
            gauge.sent(len(piece), clock() - began)


def _sampled(blocks: Iterable[bytes], gauge: Gauge) -> Iterator[bytes]:
    """Yield ``blocks``; now and then let ``gauge`` know how well compression does there."""
    since_sample = _SAMPLE_EVERY
    for block in blocks:
        since_sample += len(block)
        if since_sample >= _SAMPLE_EVERY and len(block) >= 2 * _SAMPLE:
            since_sample = 0
            middle = len(block) // 2
            for level in gauge.worth_sampling:
                member, seconds = _member(block[middle - _SAMPLE // 2 : middle + _SAMPLE // 2], level)
                gauge.sampled(level, _SAMPLE, len(member), seconds)
        yield block


def _packed_block(block: bytes | memoryview, level: int, gauge: Gauge, clock: Callable[[], float]) -> bytes:
    """Return a block as a gzip member, and let ``gauge`` know what that took."""
    began = clock()
    member, seconds = _member(block, level)
    gauge.packed(level, len(block), len(member), seconds, clock() - began)
    return member


def _member(block: bytes | memoryview, level: int) -> tuple[bytes, float]:
    """Return a gzip member, and the processor time it took."""
    began = time.thread_time()
    squeeze = zlib.compressobj(level=level, wbits=31)
    member = squeeze.compress(block) + squeeze.flush()
    return member, time.thread_time() - began


def batched(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small blocks: each yielded piece costs an SSH packet or a gzip member."""
    pending: list[bytes] = []
    size = 0
    for block in blocks:
        pending.append(block)
        size += len(block)
        if size >= _BATCH:
            yield b"".join(pending)  # the very block if it is alone
            pending, size = [], 0
    if pending:
        yield b"".join(pending)
