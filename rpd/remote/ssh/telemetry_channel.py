"""A script that talks for as long as somebody listens: a session channel read now and then, and written to a little."""

from __future__ import annotations

import contextlib
from typing import Any

from rpd.remote.ssh.connection import PACKET_BYTES
from rpd.remote.ssh.failures import FAILURES, close_quietly

END_OF_SCRIPT = "# end of script"

READ_SCRIPT = f'''script=
while IFS= read -r line && [ "$line" != "{END_OF_SCRIPT}" ]; do script="$script$line
"; done
[ "$line" != "{END_OF_SCRIPT}" ] || eval "$script"
'''
"""Runs what comes on standard input up to END_OF_SCRIPT; read takes no byte more, so the rest is the script's own."""


class SshFeed:
    """The ``Feed`` over one channel."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def read(self, seconds: float) -> bytes | None:
        self._channel.settimeout(seconds)
        try:
            data: bytes = self._channel.recv(PACKET_BYTES)
        except TimeoutError:
            return None
        except FAILURES:
            return b""
        return data

    def send(self, data: bytes) -> None:
        # Without waiting for a pod that does not read: what is lost is only a sign of life.
        with contextlib.suppress(*FAILURES):
            if self._channel.send_ready():
                self._channel.send(data)

    def close(self) -> None:
        close_quietly(self._channel)
