"""The journal: an append-only file of events, one JSON object a line, that survives the process."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rpd.errors import LocalError
from rpd.journal.reading import Damage as Damage
from rpd.journal.reading import Event as Event
from rpd.journal.reading import read as read
from rpd.redaction import Redactor

FILE_NAME = "events.jsonl"
PLANNED = "planned"
"""The event that names every node of a run, so that a resumed run does not choose anew."""
STAND_INS = "stand_ins"
"""In that event: the ids of collected nodes in whose place others are added while the run goes on."""
TAKEN = "taken"
"""In that event: the nodes whose results come from earlier runs, by id, each with its folder there."""
STANDS = "stands"
"""In that event: by id of a needed node that has no results of its own, those of ``taken`` that stand for it."""
ADDED = "added"
"""The event of a node that joined the plan while the run went on."""
RESULTS = "results"
"""The event of a collected node in whose place others were added, once they are over: ``ids`` stand for it."""
WIDE_FIXTURE = "fixture_set_up"
"""The event of a module, worker or session fixture that has a value; a killed process takes that with it."""


def planned_ids(events: Iterable[Event]) -> list[str]:
    """Return the ids of the nodes of a run, each once: those that were planned, then those that were added."""
    ids: dict[str, None] = {}
    for event in events:
        if event["event"] == PLANNED:
            ids |= dict.fromkeys(map(str, event["ids"]))
        elif event["event"] == ADDED:
            ids[str(event["id"])] = None
    return list(ids)


class Journal(Protocol):
    """Takes events; ``sync=True`` returns only when the event is on the disk."""

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Append one event with the time now (UTC)."""
        ...

    def check(self) -> None:
        """Raise LocalError if an event that was written is not in the file yet."""
        ...

    def close(self, *, sync: bool = True) -> None:
        """Close the file; without ``sync``, who wants it on the disk sees to that."""
        ...


class FileJournal:
    """A journal in a file. Secrets are masked. Thread-safe.

    With ``failed`` nothing raises OSError: that hears why an event could not be written, and the event is kept and
    written before the next one, once there is room again. Pods outlive a full disk, and so does what is known of them.
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
        self._lock = threading.Lock()
        self._is_synced = True
        self._is_closed = False
        self._waiting = bytearray()
        self._error: OSError | None = None
        """Why the last attempt to write failed; None where it did not."""
        self._file = -1
        self._tell(self._try(sync=False))

    def write(self, event: str, /, *, sync: bool = False, **detail: Any) -> None:
        """Append one event. One write call, so that a killed process leaves at most one torn last line."""
        record = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **detail}
        line = json.dumps(self._redactor.data(record), default=str, separators=(",", ":")) + "\n"
        with self._lock:
            if self._is_closed:
                return
            self._waiting += line.encode()
            error = self._try(sync=sync)
        self._tell(error)

    def _try(self, *, sync: bool) -> OSError | None:
        """Write the events that wait; return the error if that fails. Raises it if nobody takes errors."""
        try:
            if self._file < 0:
                self._open()
            while self._waiting:
                # A disk that fills up takes a part of a line: the rest of it is what comes next.
                del self._waiting[: os.write(self._file, self._waiting)]
            if sync:
                os.fsync(self._file)
            self._is_synced = sync
        except OSError as error:
            if self._failed is None:
                raise
            self._error = error
        else:
            self._error = None
        return self._error

    def _tell(self, error: OSError | None) -> None:
        # Without the lock: a listener may write an event.
        if error is not None and self._failed is not None:
            self._failed(error)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end_torn_line()

    def check(self) -> None:
        """Raise LocalError if an event that was written is not in the file yet."""
        with self._lock:
            error = self._error
        if error is not None:
            raise LocalError(f"the journal {self._path} cannot be written", error)

    def _end_torn_line(self) -> None:
        """End the line a killed process left half written, so that it takes no event of ours with it."""
        size = os.fstat(self._file).st_size
        if size:
            os.lseek(self._file, size - 1, os.SEEK_SET)
            if os.read(self._file, 1) != b"\n":
                os.write(self._file, b"\n")

    def close(self, *, sync: bool = True) -> None:
        """Flush to the disk and close; later events are dropped."""
        error = None
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                if self._waiting or (sync and not self._is_synced):
                    error = self._try(sync=sync)
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
        """Have nothing to write."""

    def close(self, *, sync: bool = True) -> None:
        """Do nothing."""
