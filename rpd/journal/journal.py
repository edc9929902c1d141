"""The journal: an append-only file of events, one JSON object a line, that survives the process."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rpd.disk.nested import is_deeper
from rpd.disk.regular import lines_of

FILE_NAME = "events.jsonl"
_DEEPEST = 100
_LONGEST_LINE = 64 << 20
"""Bytes; the event that names every node of a large run is the longest."""
PLANNED = "planned"
"""The event that names every node of a run, so that a resumed run does not choose anew."""


class Journal(Protocol):
    """Takes events; ``sync=True`` returns only when the event is on the disk."""

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Append one event with the time now (UTC)."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class FileJournal:
    """A journal in a file. ``redact`` masks secrets in what is written. Thread-safe."""

    def __init__(self, path: Path, redact: Callable[[Any], Any]) -> None:
        self._redact = redact
        self._lock = threading.Lock()
        self._is_synced = True
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end_torn_line()

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Append one event. One write call, so that a killed process leaves at most one torn last line."""
        record = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **detail}
        line = json.dumps(self._redact(record), default=str, separators=(",", ":")) + "\n"
        with self._lock:
            if self._file < 0:
                return
            os.write(self._file, line.encode())
            if sync:
                os.fsync(self._file)
            self._is_synced = sync

    def _end_torn_line(self) -> None:
        """End the line a killed process left half written, so that it takes no event of ours with it."""
        size = os.fstat(self._file).st_size
        if size:
            os.lseek(self._file, size - 1, os.SEEK_SET)
            if os.read(self._file, 1) != b"\n":
                os.write(self._file, b"\n")

    def close(self) -> None:
        """Flush to the disk and close; later events are dropped."""
        with self._lock:
            if self._file >= 0:
                if not self._is_synced:
                    os.fsync(self._file)
                os.close(self._file)
                self._file = -1


class NoJournal:
    """The journal of a dry run: nothing is written."""

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Drop the event."""

    def close(self) -> None:
        """Do nothing."""


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal in order; a line torn by a crash is passed over.

    It may come from anywhere: a link, a FIFO or a device is none, and a line may be so long and no longer.
    Raises OSError.
    """
    for line in lines_of(path, _LONGEST_LINE):
        try:
            event = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str) and not is_deeper(event, _DEEPEST):
            yield event


def read_any(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal; none where there is none that can be read."""
    with contextlib.suppress(OSError):
        yield from read(path)
