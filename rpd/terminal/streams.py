"""The standard streams of a run: its own copies, because a job may close, replace or redirect those of the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


class OwnCopy:
    """Writes to the target that a stream of the process had when the copy was made.

    Output of user code keeps its order: the stream itself is flushed first, as long as it exists.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._own = os.fdopen(
            os.dup(stream.fileno()),
            "w",
            encoding=getattr(stream, "encoding", None) or "utf-8",
            errors=getattr(stream, "errors", None) or "backslashreplace",
        )
        self.encoding = self._own.encoding

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.flush()
        return self._own.write(text)

    def flush(self) -> None:
        self._own.flush()

    def isatty(self) -> bool:
        return self._own.isatty()

    def fileno(self) -> int:
        return self._own.fileno()

    def close(self) -> None:
        with suppress(OSError):
            self._own.close()


@contextmanager
def own_streams() -> Iterator[tuple[TextIO, TextIO]]:
    """Yield copies of standard output and error; afterwards both are there again, whatever a job did to them."""
    before = sys.stdout, sys.stderr
    copies = [_copy(stream) for stream in before]
    try:
        yield copies[0], copies[1]
    finally:
        for name, stream, copy in zip(("stdout", "stderr"), before, copies, strict=True):
            setattr(sys, name, stream if _works(stream) else copy)


def _copy(stream: TextIO) -> TextIO:
    try:
        return OwnCopy(stream)  # type: ignore[return-value]  # as much of one as the screen and print need
    except (AttributeError, OSError, ValueError):
        return stream  # no file of the system: a test captures it


def _works(stream: TextIO) -> bool:
    try:
        stream.flush()
        os.fstat(stream.fileno())
    except (AttributeError, ValueError, OSError):
        return not hasattr(stream, "closed") or (not stream.closed and not hasattr(stream, "buffer"))
    return True
