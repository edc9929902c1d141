"""Session channels: idle shells, so that starting a program takes one round trip."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from rpd.remote.shell import Program
from rpd.remote.ssh.connection import WINDOW_BYTES
from rpd.remote.ssh.failures import FAILURES, close_quietly
from rpd.values.frozen import frozen

NARROW_BYTES = 1 << 20
"""The window of a session channel: what a job that prints without end may keep in this machine's memory unread."""
_MOST_WAITING = 2
"""One is used while the next one gets ready. OpenSSH allows ten sessions on a connection."""

_END_OF_SCRIPT = "# end of script"
RUNNER = f'''IFS= read -r how
case $how in
all) eval "$(cat)" ;;
lines) script=
while IFS= read -r line && [ "$line" != "{_END_OF_SCRIPT}" ]; do script="$script$line
"; done
[ "$line" != "{_END_OF_SCRIPT}" ] || eval "$script" ;;
esac
'''
"""Runs what comes on standard input: all of it, or the lines before the last one and nothing beyond them.

In that case the rest of the input is the script's own: read takes no byte more than a line.
"""


def input_of(program: Program) -> list[bytes] | Iterator[bytes]:
    """Return what a waiting shell has to be sent to run a program with its standard input."""
    script = program.script.encode("utf-8", "surrogateescape")
    if program.stdin is None:
        return [b"all\n" + script]
    script = b"lines\n%s\n%s\n" % (script, _END_OF_SCRIPT.encode())
    if isinstance(program.stdin, list):
        return [script, *program.stdin]
    return chain([script], program.stdin)


@frozen(kw_only=False)
class StartedShell:
    """A channel on which a shell was started; what it says begins after ``mark``."""

    channel: Any
    mark: bytes

    @classmethod
    def on(cls, channel: Any, script: str = RUNNER) -> StartedShell:
        """Start one on a new channel. Raises FAILURES."""
        # A start-up file of the login shell may print before the script does.
        mark = f"rpd-{secrets.token_hex(8)}\n"
        try:
            begin(channel, f"printf %s {shlex.quote(mark)}; exec sh -c {shlex.quote(script)}")
        except BaseException:
            close_quietly(channel)
            raise
        return cls(channel, mark.encode())

    def is_waiting_on(self, transport: Any) -> bool:
        """Whether it is still there, on that transport."""
        channel = self.channel
        is_over = channel.closed or channel.eof_received or channel.exit_status_ready()
        return channel.get_transport() is transport and not is_over


class WaitingShells:
    """Shells on a pod that wait for a program to run, started ahead. Thread-safe.

    ``open_channel`` opens a channel over the transport it is given. Raises FAILURES.
    """

    def __init__(self, open_channel: Callable[[Any], Any]) -> None:
        self._open = open_channel
        self._lock = threading.Lock()
        self._shells: list[StartedShell] = []
        self._starting = 0
        self._age = 0

    def take(self, transport: Any) -> StartedShell | None:
        """Return one that waits on this transport, if there is one."""
        while True:
            with self._lock:
                if not self._shells:
                    return None
                shell = self._shells.pop(0)
            if shell.is_waiting_on(transport):
                return shell
            close_quietly(shell.channel)

    def prepare(self, transport: Any) -> None:
        """Have those that lack started, on threads. A pod that allows no more costs more round trips, nothing else."""
        with self._lock:
            lacking = _MOST_WAITING - len(self._shells) - self._starting
            self._starting += max(0, lacking)
            age = self._age
        for _ in range(lacking):
            threading.Thread(
                target=self._prepare, args=(transport, age), daemon=True, name="rpd-waiting-shell"
            ).start()

    def _prepare(self, transport: Any, age: int) -> None:
        shell = None
        # Who needs a channel next opens one, and meets the reason why there is none.
        with contextlib.suppress(*FAILURES):
            shell = StartedShell.on(self._open(transport))
        with self._lock:
            self._starting -= 1
            if shell is not None and age == self._age:
                self._shells.append(shell)
                return
        if shell is not None:
            close_quietly(shell.channel)

    def drop(self) -> bool:
        """End those that wait, and those that are being started; return whether any waited."""
        with self._lock:
            shells, self._shells = self._shells, []
            self._age += 1
        for shell in shells:
            close_quietly(shell.channel)
        return bool(shells)


def begin(channel: Any, command: str) -> None:
    """Have a command started on a new channel, without waiting for word that it was. Raises FAILURES.

    Where it cannot be started, the server closes the channel. A session can have one command.
    """
    # paramiko waits for that word in a method of its own, which this attribute hides.
    channel._wait_for_event = lambda: None  # noqa: SLF001
    try:
        channel.exec_command(command)
    finally:
        del channel._wait_for_event  # noqa: SLF001


def widen(channel: Any) -> None:
    """Let more be under way on a channel: for output that is read as fast as it comes. Raises FAILURES."""
    more = WINDOW_BYTES - NARROW_BYTES
    with contextlib.suppress(AttributeError):  # another paramiko: slower over a long line, and nothing else
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
