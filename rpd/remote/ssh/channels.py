"""Session channels: idle shells, started ahead so that starting a program takes one round trip."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from rpd.remote.shell import Program
from rpd.remote.ssh.error_wording import FAILURES, close_quietly
from rpd.threads import begun
from rpd.values.frozen import frozen

_MOST_WAITING = 2
"""One is used while the next one gets ready. OpenSSH allows ten sessions per connection."""

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
"""Runs the script on standard input: all of it, or only the lines before the last one.

In the latter case the rest of the input is the script's own: read takes no byte beyond a line.
"""


def input_of(program: Program) -> list[bytes] | Iterator[bytes]:
    """Return the bytes that make a waiting shell run a program with its standard input."""
    script = program.script.encode("utf-8", "surrogateescape")
    if program.stdin is None:
        return [b"all\n" + script]
    script = b"lines\n%s\n%s\n" % (script, _END_OF_SCRIPT.encode())
    if isinstance(program.stdin, list):
        return [script, *program.stdin]
    return chain([script], program.stdin)


@frozen(kw_only=False)
class StartedShell:
    """A channel on which a shell was started; its output begins after ``mark``."""

    channel: Any
    mark: bytes

    @classmethod
    def on(cls, channel: Any, script: str = RUNNER) -> StartedShell:
        """Start a shell on a new channel. Raise FAILURES."""
        # A start-up file of the login shell may print before the script does: output before the mark is
        # dropped.
        mark = f"rpd-{secrets.token_hex(8)}\n"
        try:
            begin(channel, f"printf %s {shlex.quote(mark)}; exec sh -c {shlex.quote(script)}")
        except BaseException:
            close_quietly(channel)
            raise
        return cls(channel, mark.encode())

    @property
    def is_there(self) -> bool:
        """Whether the shell has not ended."""
        channel = self.channel
        return not (channel.closed or channel.eof_received or channel.exit_status_ready())


class WaitingShells:
    """Shells on a pod that wait for a program to run, started ahead. Thread-safe.

    ``open_channel`` opens a channel over the given transport. Raises FAILURES.
    """

    def __init__(self, open_channel: Callable[[Any], Any]) -> None:
        self._open = open_channel
        self._lock = threading.Lock()
        self._shells: list[tuple[Any, StartedShell]] = []
        """Each with its transport."""
        self._starting = 0
        self._age = 0

    def take(self, transport: Any) -> StartedShell | None:
        """Return a shell that waits on this transport, None if there is none."""
        while True:
            with self._lock:
                if not self._shells:
                    return None
                over, shell = self._shells.pop(0)
            if over is transport and shell.is_there:
                return shell
            close_quietly(shell.channel)

    def prepare(self, transport: Any) -> None:
        """Start missing shells on threads.

        If the pod refuses more sessions, that costs round trips and nothing else.
        """
        with self._lock:
            lacking = _MOST_WAITING - len(self._shells) - self._starting
            self._starting += max(0, lacking)
            age = self._age
        for _ in range(lacking):
            begun(partial(self._prepare, transport, age), name="rpd-waiting-shell")

    def _prepare(self, transport: Any, age: int) -> None:
        shell = None
        # The next caller that needs a channel opens one, and sees why there is none.
        with contextlib.suppress(*FAILURES):
            shell = StartedShell.on(self._open(transport))
        with self._lock:
            self._starting -= 1
            if shell is not None and age == self._age:
                self._shells.append((transport, shell))
                return
        if shell is not None:
            close_quietly(shell.channel)

    def drop(self) -> bool:
        """Close waiting shells, and those being started; return whether any were waiting."""
        with self._lock:
            shells, self._shells = self._shells, []
            self._age += 1
        for _, shell in shells:
            close_quietly(shell.channel)
        return bool(shells)


def begin(channel: Any, command: str) -> None:
    """Start a command on a new channel, without waiting for the server's confirmation. Raise FAILURES.

    If it cannot be started, the server closes the channel. A session can run one command.
    """
    # paramiko waits for the confirmation in a method that this attribute hides.
    channel._wait_for_event = lambda: None  # noqa: SLF001
    try:
        channel.exec_command(command)
    finally:
        del channel._wait_for_event  # noqa: SLF001
