"""The order of a channel's messages: its close is the last, whichever thread sends what.

paramiko answers a close on the thread that reads from the connection, while other threads may be about to acknowledge
output or to end the input of that channel. What they send after the close is for no channel, or for the next one with
that number: dropbear and asyncssh end the whole connection then, with everything that runs over it.
"""

from __future__ import annotations

import threading
from typing import Any

from paramiko.common import cMSG_CHANNEL_CLOSE


class CloseLast:
    """Stands between a channel and its transport, which it otherwise equals. Thread-safe; never waits for a thread.

    A close waits for what is being sent; the thread that sends it sends the close too. What comes later is dropped.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._sending = 0
        self._close: Any = None
        """The close, until it is sent."""
        self._is_closing = False

    def _send_user_message(self, message: Any) -> None:  # the name that paramiko calls
        with self._lock:
            if self._is_closing:
                return
            if message.asbytes()[:1] == cMSG_CHANNEL_CLOSE:
                self._is_closing = True
                if self._sending:
                    self._close = message
                    return
            self._sending += 1
        try:
            self._transport._send_user_message(message)  # noqa: SLF001
        finally:
            with self._lock:
                self._sending -= 1
                close = None if self._sending else self._close
                if close is not None:
                    self._close = None
            if close is not None:
                self._transport._send_user_message(close)  # noqa: SLF001

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
