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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


class Surroundings:
    """Remembers those names when it is made, which is after conftests were imported: what they set up stays.

    A mock that a job or fixture left, or that works for another node meanwhile, must not keep a pod from being given
    back. So it is put aside while rpd rents or releases, and put into its place again. Thread-safe.
    """

    def __init__(self) -> None:
        self._then = {(owner, name): getattr(owner, name) for owner, names in _USED.items() for name in names}
        self._lock = threading.Lock()
        self._inside = 0
        self._aside: dict[tuple[Any, str], Any] = {}

    @contextmanager
    def as_at_start(self) -> Iterator[None]:
        """Have everything as it was then for as long as anybody is inside."""
        with self._lock:
            self._inside += 1
            self._aside.update(self.restore())
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    for (owner, name), value in self._aside.items():
                        setattr(owner, name, value)
                    self._aside = {}

    def restore(self) -> dict[tuple[Any, str], Any]:
        """Put everything back; return what stood there instead."""
        found = {}
        for (owner, name), value in self._then.items():
            now = getattr(owner, name, None)
            if now is not value:
                found[owner, name] = now
                setattr(owner, name, value)
        return found
