"""Silence: while a failed job is called a second time, the output of its code is dropped; it has been printed before.

The streams of the process belong to all of its threads, so they are not redirected: for the time of such a call they
are wrapped, and a wrapper drops the output of the thread of that call and of threads that it starts. So is
``os.write``, for the descriptors of the two streams. Processes, which have them too, the guard does not let start.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rpd.execute import no_network

_lock = threading.Lock()
_quiet: set[int] = set()
"""The threads that print nothing."""
_DESCRIPTORS = (1, 2)
_wrapped: list[tuple[object, str, object, object]] = []
"""Where a wrapper was put: the object, the name of its attribute, the wrapper, and what was there."""


def _is_quiet() -> bool:
    return threading.get_ident() in _quiet or no_network.inherited() == no_network.SALVAGE


class _Wrapper:
    """A stream that takes nothing of quiet threads; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    @property
    def buffer(self) -> _Wrapper:
        return _Wrapper(self.stream.buffer)

    def write(self, data: str | bytes) -> int:
        return len(data) if _is_quiet() else int(self.stream.write(data))

    def writelines(self, lines: Iterable[str | bytes]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def silenced() -> Iterator[None]:
    """Drop all that this thread prints, or logs to a standard stream; the output of C code is not caught."""
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
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        stream = getattr(sys, name)
        if stream is None:
            continue
        wrapper = _Wrapper(stream)
        _put(sys, name, wrapper)
        logging = sys.modules.get("logging")  # its handlers keep the stream that they were made with
        for handler in logging.root.handlers if logging else ():
            if getattr(handler, "stream", None) is stream:
                _put(handler, "stream", wrapper)
    _put(os, "write", _writing(os.write))


def _writing(write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
    """Return ``os.write`` that takes nothing of quiet threads for the standard streams."""

    def wrapper(descriptor: int, data: Any, /) -> int:
        if descriptor in _DESCRIPTORS and _is_quiet():
            return memoryview(data).nbytes
        return write(descriptor, data)

    return wrapper


def _put(where: object, name: str, wrapper: object) -> None:
    _wrapped.append((where, name, wrapper, getattr(where, name)))
    setattr(where, name, wrapper)


def _unwrap() -> None:
    """Put the streams back, but for those that somebody has replaced meanwhile."""
    while _wrapped:
        where, name, wrapper, before = _wrapped.pop()
        if getattr(where, name, None) is wrapper:
            setattr(where, name, before)
