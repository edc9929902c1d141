"""The output log of a node: the output of its commands here, and the part still to be fetched from the pod."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from rpd.errors import RpdError, is_out_of_room
from rpd.redaction import RedactingStream, Redactor
from rpd.values.frozen import frozen

GIVEN_BYTES = 256 << 10
"""Bytes that a log gives up when the disk is full: the log has a copy on the pod, the journal and the
manifest do not.
"""
SPARE_BYTES = 1 << 20
"""Free bytes, beyond the missing ones, that a disk must have before the rest of a log is fetched."""

Take = Callable[[bytes], None]
Follow = Callable[[Take], object]
"""Passes the whole output of a command, from its first byte, to a ``Take``. Raises RpdError."""


@frozen(kw_only=False)
class _Part:
    """The output of one command: how to fetch it again, and where it starts in the file."""

    follow: Follow
    at: int


class OutputLog:
    """Appends to one file until the disk is full; the rest is then on the pod only, until ``mend`` fetches it.

    ``failed`` is called once with the error. No method but ``settle`` raises OSError: a command on a billing pod goes
    on, whatever the disk of this machine does. Thread-safe.
    """

    def __init__(self, path: Path, failed: Callable[[OSError], object]) -> None:
        self._path = path
        self._failed = failed
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._part: _Part | None = None
        self._missing: list[_Part] = []
        self.missed_bytes = 0
        """Bytes that were received but are not in the file."""

    def begin(self, follow: Follow) -> None:
        """Note that a command starts, and how to fetch its output again."""
        with self._lock:
            self._part = _Part(follow, self._size())
            if self._missing:
                self._missing.append(self._part)

    def write(self, data: bytes) -> None:
        """Append ``data``; if there is no room, leave it to ``mend``."""
        error: OSError | None = None
        with self._lock:
            if not self.missed_bytes:
                error = self._append(data)
            else:
                self.missed_bytes += len(data)
        if error is not None:
            self._failed(error)

    def _append(self, data: bytes) -> OSError | None:
        """Write all of ``data``, or count the rest as missing and return the error."""
        left = memoryview(data)
        try:
            if self._file is None:
                # Unbuffered: a crash of this process loses nothing, and a full disk shows at the write, not
                # at the close.
                self._file = self._path.open("ab", buffering=0)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.missed_bytes += len(left)
            if self._part is not None and not self._missing:
                self._missing = [self._part]
            if is_out_of_room(error):
                self._give_way()
            return error
        return None

    def _give_way(self) -> None:
        """Cut the end of this log, which can be fetched again, to make room for files that cannot."""
        size = self._size()
        kept = max(size - GIVEN_BYTES, self._missing[0].at if self._missing else size)
        with suppress(OSError):
            os.truncate(self._path, kept)
            self.missed_bytes += size - kept

    def mend(self, redactor: Redactor) -> None:
        """Fetch the missing output if there is room for it now, with secrets masked."""
        with self._lock:
            missing = list(self._missing)
        if not missing or not self._has_room(missing[0].at):
            return
        missed = self.missed_bytes
        try:
            self._truncate(missing[0].at)
            for part in missing:
                with self._lock:
                    self._part = _Part(part.follow, self._size())
                self._fetch(part.follow, redactor.stream())
        except (OSError, RpdError):
            # The pod may be gone or the disk full again. Both may change, so the parts stay on the list.
            self.missed_bytes = max(missed, self.missed_bytes)
            return
        if not self.missed_bytes:
            with self._lock:
                self._missing = []

    def _fetch(self, follow: Follow, masked: RedactingStream) -> None:
        follow(lambda data: self.write(masked.feed(data)))
        self.write(masked.flush())

    def _has_room(self, at: int) -> bool:
        try:
            import shutil  # rarely asked

            free = shutil.disk_usage(self._path.parent).free
        except OSError:
            return False
        # The parts that are fetched again free the room they take now.
        return free + max(0, self._size() - at) > self.missed_bytes + SPARE_BYTES

    def _truncate(self, size: int) -> None:
        with self._lock:
            self._close_file()
            if self._path.exists():
                with self._path.open("r+b") as file:
                    file.truncate(size)
            self.missed_bytes = 0

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def settle(self) -> None:
        """Bring the log to the disk. Raise OSError if a part of it may not be there."""
        from rpd.disk.durable import sync_open  # a dry run needs none of it

        with self._lock:
            if self._file is not None:
                sync_open(self._file.fileno())

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        with self._lock:
            self._close_file()
