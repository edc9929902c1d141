"""The bytes that arrived on a channel and that nobody has read yet, as the packets in which they came."""

from __future__ import annotations

import threading
from collections import deque

from paramiko.buffered_pipe import PipeTimeout


class Arrived:
    """Takes the place of paramiko's ``BufferedPipe``, which copies each byte four times; here they are joined once.

    Thread-safe: one thread feeds it, others read.
    """

    def __init__(self) -> None:
        self._packets: deque[bytes] = deque()
        self._size = 0
        self._is_closed = False
        self._changed = threading.Condition(threading.Lock())
        self._event: threading.Event | None = None

    def __len__(self) -> int:
        return self._size

    def set_event(self, event: threading.Event) -> None:
        """Keep an event set while there is something to read, or nothing will come any more."""
        with self._changed:
            self._event = event
            self._tell()

    def _tell(self) -> None:
        if self._event is not None:
            (self._event.set if self._size or self._is_closed else self._event.clear)()

    def feed(self, data: bytes) -> None:
        """Take the next packet."""
        if not data:
            return
        with self._changed:
            self._packets.append(data)
            self._size += len(data)
            self._tell()
            self._changed.notify_all()

    def read_ready(self) -> bool:
        """Return whether there is something to read."""
        return self._size > 0

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Return up to ``nbytes``, waiting for the first; empty after ``close``. Raise PipeTimeout."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._size or self._is_closed, timeout):
                raise PipeTimeout
            return self._take(nbytes)

    def empty(self) -> bytes:
        """Return all that there is to read."""
        with self._changed:
            return self._take(self._size)

    def _take(self, nbytes: int) -> bytes:
        """Remove whole packets as far as they fit, but at least a part of the first."""
        taken: list[bytes] = []
        left = nbytes
        while self._packets and len(self._packets[0]) <= left:
            left -= len(self._packets[0])
            taken.append(self._packets.popleft())
        if self._packets and not taken:
            first = self._packets[0]
            taken, self._packets[0] = [first[:left]], first[left:]
        data = b"".join(taken)
        self._size -= len(data)
        self._tell()
        return data

    def close(self) -> None:
        """Take the end of the stream: once all is read, reads return nothing."""
        with self._changed:
            self._is_closed = True
            self._tell()
            self._changed.notify_all()
