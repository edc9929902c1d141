"""The windows of session channels: how much output that nobody has read yet this machine keeps in memory."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from rpd.remote.ssh.connection import WINDOW_BYTES

START_BYTES = 128 << 10
"""The window of a new channel. It grows with the first read, so that shells that wait cost nothing."""
ALL_BYTES = 16 << 20
"""The windows of all programs that are read, together."""
WIDE_BYTES = 4 << 20
"""The first window of output that is read as fast as it arrives.

A pod that is faster than this machine prints all that is allowed ahead of time into the memory of its sshd, which
copies it each time it needs more: 16 MB can cost a pull seconds.
"""
MOST_BYTES = 1 << 20
LEAST_BYTES = 64 << 10
"""A window is at least as long, however many programs are read: enough for 640 KB/s each at 100 ms."""


class Windows:
    """Shares ``all_bytes`` among the channels that are read at once. Thread-safe."""

    def __init__(self, all_bytes: int = ALL_BYTES) -> None:
        self._all = all_bytes
        self._reading: set[Any] = set()

    def open(self, channel: Any) -> None:
        """Count a channel, until ``close``."""
        self._reading.add(channel)

    def close(self, channel: Any) -> None:
        """Count a channel no more; safe to call twice."""
        self._reading.discard(channel)

    @property
    def share(self) -> int:
        """The window of each channel, in bytes."""
        return min(MOST_BYTES, max(LEAST_BYTES, self._all // max(1, len(self._reading))))

    def fit(self, channel: Any) -> None:
        """Make the window of a channel as long as its share.

        The pod learns it with what the next read acknowledges. A window that shrinks acknowledges less.
        """
        share = self.share
        # Another paramiko version: the window stays as it is, and nothing else.
        with contextlib.suppress(AttributeError):
            if channel.in_window_size != share:
                with channel.lock:
                    channel.in_window_sofar += share - channel.in_window_size
                    channel.in_window_size = share
                    channel.in_window_threshold = share // 4


WINDOWS = Windows()
"""Those of this process, whose memory they share."""


class WideWindow:
    """The window of a channel whose output is read as fast as it arrives: it grows as long as the line needs more.

    ``round_trip`` is that of the line, in seconds. Raises ``FAILURES`` where it cannot tell the pod.
    """

    def __init__(self, channel: Any, round_trip: float = 0.0) -> None:
        self._channel = channel
        self._round_trip = round_trip
        self._size = START_BYTES
        self._began = time.monotonic()
        self._came = 0
        self._grow(WIDE_BYTES)

    def passed(self, size: int) -> None:
        """Count bytes that were read. A window that passes within two round trips may be what limits them: it grows."""
        self._came += size
        if self._came < self._size:
            return
        now = time.monotonic()
        if self._size < WINDOW_BYTES and now - self._began < 2 * self._round_trip:
            self._grow(min(2 * self._size, WINDOW_BYTES))
        self._began, self._came = now, 0

    def _grow(self, size: int) -> None:
        more, self._size = size - self._size, size
        # Another paramiko version: slower over a long line, and nothing else.
        with contextlib.suppress(AttributeError):
            with self._channel.lock:
                self._channel.in_window_size += more
                self._channel.in_window_threshold = self._channel.in_window_size // 10
            adjust = _window_adjust(self._channel.remote_chanid, more)
            self._channel.transport._send_user_message(adjust)  # noqa: SLF001


def _window_adjust(number: int, size: int) -> Any:
    from paramiko.common import cMSG_CHANNEL_WINDOW_ADJUST
    from paramiko.message import Message

    message = Message()
    message.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
    message.add_int(number)
    message.add_int(size)
    return message
