"""The journal: an append-only file of events, one JSON object per line, that survives the process."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rpd.disk.durable import sync_open
from rpd.errors import LocalError
from rpd.journal.reading import Damage as Damage
from rpd.journal.reading import Event as Event
from rpd.journal.reading import read as read
from rpd.redaction import Redactor

_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
FILE_NAME = "events.jsonl"
MOST_UNSAFE = 4 << 20
"""A journal with this many bytes that may not be on the disk is synced at the next event: they are kept in memory."""
PLANNED = "planned"
"""The event with every node of a run, so that a resumed run does not select again."""
STAND_INS = "stand_ins"
"""In that event: ids of collected nodes that are replaced by others during the run."""
TAKEN = "taken"
"""In that event: nodes whose results come from earlier runs, by id, each with its folder there."""
STANDS = "stands"
"""In that event: for each needed node without results of its own, the ids in ``taken`` that replace it."""
ADDED = "added"
"""The event of a node that joined the plan during the run."""
RESULTS = "results"
"""The event of a collected node that was replaced by others, once they are over: ``ids`` replace it."""
STOP_ASKED = "stop_asked"
"""The event of ``rpd stop`` in the journal of a run that goes on: its pod is not lost, somebody ended it."""
WIDE_FIXTURE = "fixture_set_up"
"""The event of a module, worker or session fixture that got a value; a killed process takes the value with it."""


def planned_ids(events: Iterable[Event]) -> list[str]:
    """Return the ids of the nodes of a run, each once: planned ones first, then added ones."""
    ids: dict[str, None] = {}
    for event in events:
        if event["event"] == PLANNED:
            ids |= dict.fromkeys(map(str, event["ids"]))
        elif event["event"] == ADDED:
            ids[str(event["id"])] = None
    return list(ids)


class Journal(Protocol):
    """Takes events; with ``sync=True`` it returns only when the event is on disk."""

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Append one event with the current time (UTC)."""
        ...

    def check(self) -> None:
        """Raise LocalError if a written event is not in the file yet."""
        ...

    def close(self, *, sync: bool = True) -> None:
        """Close the file; without ``sync``, flushing it to disk is the caller's task."""
        ...


class FileJournal:
    """A journal in a file, with secrets masked. Thread-safe.

    With ``failed`` no method raises OSError: ``failed`` is called with the error, and the event is kept and
    written before the next one, once there is room again. Pods outlive a full disk, and so must the knowledge
    of them. Threads that want their events on the disk at the same time share one sync. After a sync that failed,
    everything since the last one that succeeded is written again before the next.

    A forked process that writes an event is ended: it came out of a hook or the like, and would go on to rent and
    release the pods of the run, each of which begins with an event.
    """

    def __init__(
        self,
        path: Path,
        redactor: Redactor,
        failed: Callable[[OSError], object] | None = None,
    ) -> None:
        self._path = path
        self._redactor = redactor
        self._failed = failed
        self._lock = threading.RLock()
        self._syncing = threading.Lock()
        """Held during a sync, ``_lock`` is not: other threads may write meanwhile."""
        self._written = self._synced = 0
        """The number of writes to the file, and of those that are certainly on the disk."""
        self._unsafe = bytearray()
        """What was written since the last sync that succeeded."""
        self._safe_size = 0
        """The size of the file up to that sync."""
        self._process = os.getpid()
        self._is_closed = False
        self._waiting = bytearray()
        self._error: OSError | None = None
        """The error of the last attempt to write; None if it succeeded."""
        self._unsynced: OSError | None = None
        """The error of the last sync. One that succeeds says nothing about what could not be written."""
        self._file = -1
        self._tell(self._try())

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Append one event, in one write call: a killed process leaves at most one torn last line."""
        if os.getpid() != self._process:
            os.write(2, b"rpd: a forked process ends here: only the one that was started drives the run\n")
            os._exit(1)
        record = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **detail}
        line = _encode(self._redactor.data(record)) + "\n"
        with self._lock:
            if self._is_closed:
                return
            self._waiting += line.encode()
            error = self._try()
            number = self._written
            sync = sync or len(self._unsafe) > MOST_UNSAFE
        if sync and error is None:
            with self._syncing:
                error = self._sync(number)
        self._tell(error)

    def _try(self) -> OSError | None:
        """Write the waiting events; return the error if that fails. Raise it if there is no ``failed``."""
        try:
            if self._file < 0:
                self._open()
            while self._waiting:
                # A full disk may take only a part of a line: the rest is written next.
                count = os.write(self._file, self._waiting)
                self._unsafe += self._waiting[:count]
                del self._waiting[:count]
            self._written += 1
        except OSError as error:
            if self._failed is None:
                raise
            self._error = error
        else:
            self._error = None
        return self._error

    def _sync(self, number: int) -> OSError | None:
        """Sync unless another thread's sync covered ``number`` writes already; return the error as ``_try`` does."""
        if self._synced >= number or self._file < 0:
            return None
        try:
            with self._lock:
                if self._unsynced is not None:
                    self._write_again()
                written, kept, size = self._written, len(self._unsafe), os.fstat(self._file).st_size
            sync_open(self._file)
        except OSError as error:
            self._unsynced = error
            if self._failed is None:
                raise
        else:
            with self._lock:
                self._synced, self._unsynced = written, None
                self._safe_size = size
                del self._unsafe[:kept]
        return self._unsynced

    def _write_again(self) -> None:
        """Write what a failed sync may have lost, in its place. Raise OSError.

        Through a descriptor of its own, since one that appends cannot do anything else. Where another process
        wrote meanwhile (``rpd stop``), nobody knows what is where, and the error remains.
        """
        descriptor = os.open(self._path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        try:
            if os.fstat(descriptor).st_size != self._safe_size + len(self._unsafe):
                raise OSError(errno.EIO, "another process wrote to it after a sync had failed")
            os.lseek(descriptor, self._safe_size, os.SEEK_SET)
            left = memoryview(bytes(self._unsafe))
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)

    def _tell(self, error: OSError | None) -> None:
        # Outside the lock: a listener may write an event.
        if error is not None and self._failed is not None:
            self._failed(error)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end_torn_line()

    def check(self) -> None:
        """Raise LocalError if a written event is not in the file yet."""
        with self._lock:
            error = self._error or self._unsynced
        if error is not None:
            raise LocalError(f"cannot write the journal {self._path}", error)

    def _end_torn_line(self) -> None:
        """End the line that a killed process left half written, so that it does not damage our first event."""
        size = self._safe_size = os.fstat(self._file).st_size
        if size:
            os.lseek(self._file, size - 1, os.SEEK_SET)
            if os.read(self._file, 1) != b"\n":
                self._unsafe += b"\n"[: os.write(self._file, b"\n")]

    def close(self, *, sync: bool = True) -> None:
        """Flush to disk and close; later events are dropped."""
        error = None
        with self._syncing, self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                if self._waiting:
                    error = self._try()
                if error is None and sync:
                    error = self._sync(self._written)
            finally:
                if self._file >= 0:
                    os.close(self._file)
                    self._file = -1
        self._tell(error)


class NoJournal:
    """The journal of a dry run: nothing is written."""

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Drop the event."""

    def check(self) -> None:
        """Do nothing: no event is written."""

    def close(self, *, sync: bool = True) -> None:
        """Do nothing."""
