"""A job's raw output as the lines a person would see."""

from __future__ import annotations

import codecs

from rpd.values.safe_text import colored

_LONGEST = 4096
"""Characters; a line that goes on beyond is shown in pieces."""
_LAST_BYTES = 8 << 10
"""More of a line is not seen anywhere."""


class OutputLines:
    r"""Turns bytes that come in chunks into lines as they look in the end: ``\r`` writes over the line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes and return the lines that are complete now, with colours and no other control codes."""
        *lines, rest = (self._rest + self._decoder.decode(data)).split("\n")
        self._rest = _last_state(rest, keep_end=True)
        if len(self._rest) > _LONGEST:
            lines.append(self._rest)
            self._rest = ""
        return [colored(_last_state(line)) for line in lines]

    @property
    def unfinished(self) -> str:
        """The line that is being written: a progress bar, perhaps."""
        return colored(_last_state(self._rest))

    def flush(self) -> list[str]:
        """Return the last line if nothing ended it."""
        line, self._rest = self.unfinished, ""
        return [line] if line else []


class LastLine:
    """Knows only the last line that an ``OutputLines`` would show: for output that is not streamed, often large."""

    def __init__(self) -> None:
        self._end = b""

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes; no line is shown."""
        self._end = data[-_LAST_BYTES:] if len(data) >= _LAST_BYTES else (self._end + data)[-_LAST_BYTES:]
        return []

    @property
    def unfinished(self) -> str:
        """The line that is being written, or else the one before it."""
        *_, before, last = [b"", *self._end.rsplit(b"\n", 2)]
        return self._visible(last) or self._visible(before)

    def _visible(self, line: bytes) -> str:
        return colored(_last_state(line.decode(errors="replace")))

    def flush(self) -> list[str]:
        """Drop an unfinished line."""
        self._end = b""
        return []


def _last_state(line: str, *, keep_end: bool = False) -> str:
    r"""Return the visible part of a line; ``keep_end`` keeps a ``\r`` that may turn out to be ``\r\n``."""
    written = line.rstrip("\r")
    visible = written.rpartition("\r")[2]
    return f"{visible}\r" if keep_end and line.endswith("\r") else visible
