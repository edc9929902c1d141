"""The pace of a line: measured once, to tell whether what goes over it had better be compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable

_SLOW_BYTES_PER_SECOND = 20e6
_PACE_SECONDS = 1.0
# How many times faster than the line this machine must compress.
_QUICK = 4
# What the socket and the SSH window swallow at once says nothing about the line.
_BUFFERED_BYTES = 8 << 20


class SlowLine(Exception):
    """The line is slow enough, and what is sent soft enough, that compression pays."""


class Pace:
    """Measures once how fast the line takes bytes, past what its buffers swallow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: tuple[float, int] | None = None
        self._is_known = False

    def passed(self, done: int, total: int, block: bytes) -> None:
        """Hear that ``done`` bytes of ``total`` went over, the last of them ``block``. Raises SlowLine, once."""
        if self._is_known or done < _BUFFERED_BYTES:
            return
        now = self._clock()
        if self._since is None:
            self._since = (now, done)
            return
        seconds = now - self._since[0]
        if seconds < _PACE_SECONDS:
            return
        self._is_known = True
        rate = (done - self._since[1]) / seconds
        if rate < _SLOW_BYTES_PER_SECOND and self._pays(rate, done, total - done, block):
            raise SlowLine

    def _pays(self, rate: float, done: int, left: int, block: bytes) -> bool:
        """Whether compression saves more than ``done`` bytes sent again cost, and this machine is not the slow one."""
        began = self._clock()
        ratio = len(zlib.compress(block, 1)) / max(1, len(block))
        is_quick = (self._clock() - began) * rate * _QUICK < len(block)
        return is_quick and left * (1 - ratio) > done
