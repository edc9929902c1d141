"""A script that writes for as long as somebody listens: a session channel that is read and written now and then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from rpd.remote.ssh.connection import PACKET_BYTES
from rpd.remote.ssh.error_wording import FAILURES, close_quietly


class SshFeed:
    """The ``Feed`` over one channel, from ``mark`` on; ``heard`` is called whenever something arrives."""

    def __init__(self, channel: Any, mark: bytes, heard: Callable[[], None]) -> None:
        self._channel = channel
        self._mark = mark
        self._before = b""
        self._heard = heard

    def read(self, seconds: float) -> bytes | None:
        while True:
            self._channel.settimeout(seconds)
            try:
                data: bytes = self._channel.recv(PACKET_BYTES)
            except TimeoutError:
                return None
            except FAILURES:
                return b""
            if not data:
                return data
            self._heard()
            if not self._mark:
                return data
            if rest := self._after_mark(data):
                return rest

    def _after_mark(self, data: bytes) -> bytes:
        """Return the bytes after the mark, once it has arrived: a login shell may print something before it."""
        self._before += data
        before, mark, rest = self._before.partition(self._mark)
        self._before = b"" if mark else before[-len(self._mark) :]
        if mark:
            self._mark = b""
        return rest

    def send(self, data: bytes) -> None:
        # Never wait for a pod that does not read: all that is lost is one heartbeat.
        with contextlib.suppress(*FAILURES):
            if self._channel.send_ready():
                self._channel.send(data)

    def close(self) -> None:
        close_quietly(self._channel)
