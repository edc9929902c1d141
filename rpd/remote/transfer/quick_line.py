"""A word to the pod that the line is quick: only this end sees how fast data arrive.

The pod sees buffers on the way that take megabytes at any speed, so by itself it compresses 8 MB before it trusts a
line. The word comes over the standard input of its program, after the names of the files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

# $4 the length of the names in bytes. Takes them from standard input into $_rpd_temp/names, and then hears
# the word in the background, until it comes or the input ends: then there is $_rpd_temp/quick. dd takes no
# byte more than it was asked for; without it, names and input end together.
HEAR = r"""
_rpd_take() {
  : >"$_rpd_temp/names"
  _rpd_left=$1
  while [ "$_rpd_left" -gt 0 ]; do
    _rpd_size=65536
    [ "$_rpd_left" -ge 65536 ] || _rpd_size=$_rpd_left
    dd bs="$_rpd_size" count="$((_rpd_left / _rpd_size))" iflag=fullblock 2>/dev/null >>"$_rpd_temp/names" ||
      dd bs="$_rpd_size" count=1 2>/dev/null >>"$_rpd_temp/names"
    _rpd_had=$_rpd_left _rpd_left=$(($1 - $(wc -c <"$_rpd_temp/names")))
    if [ "$_rpd_left" = "$_rpd_had" ]; then echo "the names of the files do not fit into $_rpd_temp" >&2; exit 1; fi
  done
}
if command -v dd >/dev/null && command -v wc >/dev/null; then
  _rpd_take "$4"
  exec 6<&0 </dev/null
  # It must hold no copy of standard output, also none that a shell saves: the stream ends with the last one.
  (read -r _rpd_word <&6 && : >"$_rpd_temp/quick") >/dev/null 2>&1 &
  exec 6<&-
  # The word may come just when the folder is removed.
  trap '{ rm -rf -- "$_rpd_temp" || rm -rf -- "$_rpd_temp"; } 2>/dev/null' EXIT
else cat >"$_rpd_temp/names"; fi
"""

_WORD = b"quick\n"
_ENOUGH = 1 << 20
"""Bytes that must have arrived before their pace means anything."""
_QUICK = 12e6
"""Bytes per second, from the moment the pod was asked: more than a line of 100 Mbit/s carries."""
_PATIENCE = 2.0
"""Seconds until the input ends without the word: later it is of little use; a pod without ``dd`` waits for the end."""


class QuickLine:
    """Standard input of a program that begins with ``HEAR``: the names, and the word once the line proved quick."""

    def __init__(self, names: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._names = names
        self._clock = clock
        self._began = clock()
        self._came = 0
        self._is_quick = False
        self._changed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield self._names
        self._changed.wait(_PATIENCE)
        if self._is_quick:
            yield _WORD

    def passed(self, data: bytes) -> bytes:
        """Take a measurement, as ``data`` arrives; return it."""
        self._came += len(data)
        # Since the very beginning: after a pause of any kind, all that waited meanwhile comes at once.
        seconds = self._clock() - self._began
        if self._came >= max(_ENOUGH, seconds * _QUICK) and not self._changed.is_set():
            self._is_quick = True
            self._changed.set()
        return data

    def end(self) -> None:
        """Say nothing any more; safe to call twice."""
        self._changed.set()
