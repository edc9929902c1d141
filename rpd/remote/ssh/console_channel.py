"""The console connected to a program on the pod, over a session channel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from rpd.remote.console import Console
from rpd.remote.ssh.connection import PACKET_BYTES
from rpd.remote.ssh.error_wording import FAILURES
from rpd.threads import started

NO_EXIT_CODE = 255


def lend(console: Console, channel: Any) -> int:
    """Connect the console to a program until it ends; return its exit code, 255 if it has none."""
    with console.lent(_Typing(channel)):
        # Standard error is read on another thread: a window that nobody empties would stop the program.
        errors = started(partial(_pour, channel.recv_stderr, console.write_error), name="rpd-stderr")
        _pour(channel.recv, console.write)
        errors.join()
        code: int = channel.recv_exit_status()
    return code if code >= 0 else NO_EXIT_CODE


def _pour(receive: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    while data := receive(PACKET_BYTES):
        write(data)


class _Typing:
    """Passes the console's input to the program; broken connections are left to the reading side."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def typed(self, data: bytes) -> None:
        with contextlib.suppress(*FAILURES):
            self._channel.sendall(data)

    def ended(self) -> None:
        with contextlib.suppress(*FAILURES):
            self._channel.shutdown_write()

    def resized(self, columns: int, lines: int) -> None:
        with contextlib.suppress(*FAILURES):
            self._channel.resize_pty(width=columns, height=lines)
