"""The disk of this machine: a notice names files that cannot be written, and a full disk lets nothing new start."""

from __future__ import annotations

import threading
from pathlib import Path

from rpd.errors import is_out_of_room
from rpd.events import Events
from rpd.redaction import NO_SECRETS, Redactor
from rpd.stop import Stop, StopLevel


class Disk:
    """Names each file that could not be written, once, and drains the run where there is no room. Thread-safe.

    A run whose disk is full goes on with what it has begun: commands on pods, their pulls and releases.
    """

    def __init__(self, stop: Stop, events: Events, redactor: Redactor = NO_SECRETS) -> None:
        self._stop = stop
        self._events = events
        self._redactor = redactor
        self._lock = threading.Lock()
        self._warned: set[Path] = set()

    def failed(self, path: Path, error: OSError, then: str = "") -> None:
        """Note that ``path`` could not be written, and ``then`` what becomes of the content."""
        with self._lock:
            is_new = path not in self._warned
            self._warned.add(path)
        if is_new:
            text = f"{path} cannot be written: {error.strerror or error}{f'; {then}' if then else ''}"
            self._events.notice(self._redactor.text(text))
        if is_out_of_room(error):
            self._stop.request(
                StopLevel.DRAIN, f"the disk of this machine takes nothing more ({error.strerror})"
            )
