"""Prints a log file, and follows it while it grows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rpd.disk.regular import open_regular

_BYTES = 1 << 20


class LogFile:
    """Hands the bytes of a log to ``write``, from byte ``at`` on."""

    def __init__(self, path: Path, write: Callable[[bytes], None]) -> None:
        self._path = path
        self.write = write
        self.at = 0

    def skip_to_last(self, lines: int) -> None:
        """Pass over all but the last ``lines`` lines that are there; the log is read from its end."""
        try:
            file = open_regular(self._path)
        except OSError:
            return
        with file:
            at = file.seek(0, os.SEEK_END)
            # The newline that ends the last line begins none.
            missing, self.at = lines + 1, at
            if at and lines:
                file.seek(at - 1)
                missing -= file.read(1) != b"\n"
            while at and lines:
                size = min(_BYTES, at)
                at -= size
                file.seek(at)
                block = file.read(size)
                newlines = block.count(b"\n")
                if newlines >= missing:
                    self.at = at + _position(block, missing) + 1
                    return
                missing -= newlines
                self.at = at

    def print_new(self) -> None:
        """Print the text added since the last call."""
        try:
            file = open_regular(self._path)
        except OSError:
            return
        with file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                self.at = 0  # a node that starts over also starts its log over
            if size <= self.at:
                return
            file.seek(self.at)
            while data := file.read(_BYTES):
                self.at += len(data)
                self.write(data)


def _position(block: bytes, number: int) -> int:
    """Return where the newline is that is the ``number``th from the end."""
    at = len(block)
    for _ in range(number):
        at = block.rindex(b"\n", 0, at)
    return at
