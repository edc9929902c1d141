"""Silence: while a failed job is called a second time, the output of its code is dropped; it has been printed before.

The streams of the process belong to all of its threads, so they are not redirected: for the time of such a call they
are wrapped, and a wrapper drops the output of the thread of that call.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_quiet: set[int] = set()
"""The threads that print nothing."""
_wrapped: list[tuple[object, str, _Wrapper]] = []
"""Where a wrapper was put: the object and the name of its attribute."""


class _Wrapper:
    """A text stream that takes nothing of quiet threads; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() in _quiet else int(self.stream.write(text))

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def silenced() -> Iterator[None]:
    """Drop all that this thread prints, or logs to a standard stream; bytes and output of C code are not caught."""
    thread = threading.get_ident()
    with _lock:
        if not _quiet:
            _wrap()
        _quiet.add(thread)
    try:
        yield
    finally:
        with _lock:
            _quiet.discard(thread)
            if not _quiet:
                _unwrap()


def _wrap() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            continue
        wrapper = _Wrapper(stream)
        _put(sys, name, wrapper)
        logging = sys.modules.get("logging")  # its handlers keep the stream that they were made with
        for handler in logging.root.handlers if logging else ():
            if getattr(handler, "stream", None) is stream:
                _put(handler, "stream", wrapper)


def _put(where: object, name: str, wrapper: _Wrapper) -> None:
    setattr(where, name, wrapper)
    _wrapped.append((where, name, wrapper))


def _unwrap() -> None:
    """Put the streams back, but for those that somebody has replaced meanwhile."""
    while _wrapped:
        where, name, wrapper = _wrapped.pop()
        if getattr(where, name, None) is wrapper:
            setattr(where, name, wrapper.stream)
