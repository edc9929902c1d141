"""The door to standard output and standard error: nothing that is printed can act on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

_PIECE = 1 << 16
"""Characters of a long text that are printed at once."""


def say(text: object = "", *, end: str = "\n") -> None:
    """Print to standard output, without anything a terminal acts on."""
    _write(sys.stdout, f"{_legible(str(text))}{end}")


def say_parts(parts: Iterable[str]) -> None:
    """Print a long text to standard output as it is made, as ``say`` prints it whole."""
    waiting: list[str] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= _PIECE:
            say("".join(waiting), end="")
            waiting, size = [], 0
    say("".join(waiting))


def note(text: object) -> None:
    """Print to standard error, for people: standard output contains only the requested data."""
    _write(sys.stderr, f"{_legible(str(text))}\n")


def hand_over(text: str) -> None:
    """Print a document for another program: as it is, unless a terminal would read it."""
    _write(sys.stdout, _legible(text) if sys.stdout.isatty() else text)


def terminal_width() -> int | None:
    """Return the columns of the terminal, one less to spare; None if output goes elsewhere."""
    if not sys.stdout.isatty():
        return None
    pinned = os.environ.get("COLUMNS", "")
    try:
        width = int(pinned) if pinned.isdigit() else os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        width = 80
    return max(width, 20) - 1


def _legible(text: str) -> str:
    if text.replace("\n", "").isprintable():
        return text
    from rpd.values.safe_text import (
        plain,  # next to no text needs it, and every start would pay for its patterns
    )

    return plain(text)


def _write(file: TextIO, text: str) -> None:
    try:
        file.write(text)
    except UnicodeEncodeError as error:  # a terminal without UTF-8, a file name that is no text
        file.write(text.encode(error.encoding, "replace").decode(error.encoding))
    file.flush()


class RawOutput:
    """A log on its way to standard output: byte for byte, but on a terminal its colours and progress bars only."""

    def __init__(self) -> None:
        from rpd.values.safe_text import TerminalBytes

        self._filter = TerminalBytes() if sys.stdout.isatty() else None

    def write(self, data: bytes) -> None:
        """Write at once."""
        if self._filter is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            _write(sys.stdout, self._filter.feed(data))

    def close(self) -> None:
        """Write the rest."""
        if self._filter is not None:
            _write(sys.stdout, self._filter.flush())
