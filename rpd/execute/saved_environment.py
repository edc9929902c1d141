"""What rpd uses of its process, as it was when the run began: a job may put something else in its place."""

from __future__ import annotations

import builtins
import datetime
import io
import json
import os
import pathlib
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_USED: Mapping[Any, tuple[str, ...]] = {
    builtins: ("open", "print", "isinstance", "len", "sorted"),
    io: ("open",),
    datetime: ("datetime", "date", "timedelta"),
    json: ("dumps", "loads", "dump", "load"),
    os: (
        "open",
        "write",
        "read",
        "close",
        "fsync",
        "replace",
        "rename",
        "stat",
        "lstat",
        "scandir",
        "getpid",
        "kill",
    ),
    os.path: ("exists", "isfile", "isdir", "join", "relpath", "abspath", "lexists"),
    pathlib.Path: ("open", "exists", "is_file", "is_dir", "stat", "mkdir", "read_text", "write_text", "glob"),
    socket: ("socket", "create_connection", "create_server", "getaddrinfo"),
    threading: ("Thread", "Event", "Lock"),
    time: ("time", "monotonic", "sleep", "perf_counter"),
}


class _Originals:
    """What stood under those names before the first of the runs that go on now began.

    One for the process, since the names are the process's: a run that begins while the job of another has put a mock
    into place must not take that for what was there.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # also taken when a run is collected as garbage, at any moment
        self.inside = 0
        self.aside: dict[tuple[Any, str], Any] = {}
        self._runs = 0
        self._then: dict[tuple[Any, str], Any] = {}

    def begin(self) -> None:
        """Note them, if no run goes on."""
        with self.lock:
            if not self._runs:
                self._then = {
                    (owner, name): getattr(owner, name) for owner, names in _USED.items() for name in names
                }
            self._runs += 1

    def end(self) -> None:
        """Have one run less."""
        with self.lock:
            self._runs -= 1

    def put_back(self) -> dict[tuple[Any, str], Any]:
        """Put everything back; return what stood there instead."""
        replaced = {}
        for (owner, name), value in self._then.items():
            now = getattr(owner, name, None)
            if now is not value:
                replaced[owner, name] = now
                setattr(owner, name, value)
        return replaced


_originals = _Originals()


class Surroundings:
    """Remembers those names when it is made, which is after conftests were imported: what they set up stays.

    A mock that a job or fixture left, or that works for another node meanwhile, must not keep a pod from being given
    back. So it is put aside while rpd rents or releases, and put into its place again. Thread-safe.
    """

    def __init__(self) -> None:
        _originals.begin()
        self._forget = weakref.finalize(self, _originals.end)

    def as_at_start(self) -> AbstractContextManager[None]:
        """Return a context that has everything as it was then for as long as anybody is inside."""
        return self._as_at_start()

    @contextmanager
    def _as_at_start(self) -> Iterator[None]:
        with _originals.lock:
            _originals.inside += 1
            _originals.aside.update(_originals.put_back())
        try:
            yield
        finally:
            with _originals.lock:
                _originals.inside -= 1
                if not _originals.inside:
                    for (owner, name), value in _originals.aside.items():
                        setattr(owner, name, value)
                    _originals.aside = {}

    def restore(self) -> None:
        """Put everything back."""
        with _originals.lock:
            _originals.put_back()

    def close(self) -> None:
        """Put everything back, and remember it no longer."""
        self.restore()
        self._forget()


class TrustedSurroundings(Surroundings):
    """Those of a dry run: it rents nothing, so a mock may stay until the end."""

    def as_at_start(self) -> AbstractContextManager[None]:
        return nullcontext()
