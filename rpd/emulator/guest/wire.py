"""Wire: JSON messages, that may carry open descriptors, over one end of a stream socket pair."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

_CHUNK_BYTES = 1 << 16
_MOST_DESCRIPTORS = 16

Message = dict[str, Any]


class Wire:
    """One end. Messages arrive whole, in order, of any size; descriptors arrive with or before their message."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unread = b""
        self._descriptors: list[int] = []

    @classmethod
    def pair(cls) -> tuple[Wire, Wire]:
        """Return two connected ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), cls(theirs)

    @classmethod
    def of(cls, descriptor: int) -> Wire:
        """Return the end that was inherited as ``descriptor``."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Return the descriptor, so that selectors and event loops can watch this end."""
        return self._end.fileno()

    def send(self, message: Mapping[str, Any], *descriptors: int) -> None:
        """Send a message; block while the other end is behind. Raise OSError when the other end is gone."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        sent = socket.send_fds(self._end, [data], descriptors) if descriptors else 0
        self._end.sendall(data[sent:])

    def receive(self) -> list[Message] | None:
        """Read once and return the messages that are now complete; None when the other end is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, _CHUNK_BYTES, _MOST_DESCRIPTORS)
        except ConnectionResetError:
            data, descriptors = b"", []
        if not data:
            return None
        self._descriptors += descriptors
        *complete, self._unread = (self._unread + data).split(b"\n")
        return [json.loads(line) for line in complete]

    def take_descriptors(self, count: int) -> list[int]:
        """Return the ``count`` descriptors that arrived first."""
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return taken

    def close(self) -> None:
        """Close this end."""
        self._end.close()
