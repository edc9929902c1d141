"""The disk of this machine: names the files that cannot be written, and drains the run if the disk is full."""

from __future__ import annotations

import threading
from pathlib import Path

from rpd.errors import is_out_of_room
from rpd.events import Events
from rpd.redaction import NO_SECRETS, Redactor
from rpd.stop import Stop, StopLevel


class Disk:
    """Reports each file that could not be written once, and drains the run when the disk is full. Thread-safe.

    A full disk does not stop the nodes that already run: their commands, pulls and releases go on.
    """

    def __init__(self, stop: Stop, events: Events, redactor: Redactor = NO_SECRETS) -> None:
        self._stop = stop
        self._events = events
        self._redactor = redactor
        self._lock = threading.Lock()
        self._warned: set[Path] = set()

    def failed(self, path: Path, error: OSError, then: str = "") -> None:
        """Report that ``path`` could not be written; ``then`` says in words where its content goes instead."""
        with self._lock:
            is_new = path not in self._warned
            self._warned.add(path)
        if is_new:
            text = f"cannot write {path}: {error.strerror or error}{f'; {then}' if then else ''}"
            self._events.notice(self._redactor.text(text))
        if is_out_of_room(error):
            self._stop.request(StopLevel.DRAIN, f"the disk of this machine is full ({error.strerror})")
