"""The windows of session channels: how much output that nobody has read yet this machine keeps in memory."""

from __future__ import annotations

import contextlib
from typing import Any

from rpd.remote.ssh.connection import WINDOW_BYTES

START_BYTES = 128 << 10
"""The window of a new channel. It grows with the first read, so that shells that wait cost nothing."""
ALL_BYTES = 16 << 20
"""The windows of all programs that are read, together."""
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


def widen(channel: Any) -> None:
    """Allow far more data in flight on a new channel: for output that is read as fast as it arrives. Raise FAILURES."""
    more = WINDOW_BYTES - START_BYTES
    # Another paramiko version: slower over a long line, and nothing else.
    with contextlib.suppress(AttributeError):
        with channel.lock:
            channel.in_window_size += more
            channel.in_window_threshold = channel.in_window_size // 10
        channel.transport._send_user_message(_window_adjust(channel.remote_chanid, more))  # noqa: SLF001


def _window_adjust(number: int, size: int) -> Any:
    from paramiko.common import cMSG_CHANNEL_WINDOW_ADJUST
    from paramiko.message import Message

    message = Message()
    message.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
    message.add_int(number)
    message.add_int(size)
    return message
