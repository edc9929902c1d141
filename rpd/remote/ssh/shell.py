"""The ``Shell`` over SSH: one connection at a time, replaced when it breaks."""

from __future__ import annotations

import secrets
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import paramiko

from rpd.errors import ConnectionLost, KeyRefused, PodLost, PodNotReady, RpdError
from rpd.remote.protocol import Feed
from rpd.remote.shell import DeadlinePassed, Disconnected, Ended, Interrupt, Program, Stream
from rpd.remote.ssh.connection import load_key, open_connection, transport_of
from rpd.remote.ssh.failures import FAILURES, close_quietly, reason
from rpd.remote.ssh.forward import Forward
from rpd.remote.ssh.hostkey import PinnedHostKey
from rpd.remote.ssh.stream import SshStream
from rpd.remote.ssh.telemetry_channel import END_OF_SCRIPT, READ_SCRIPT, SshFeed
from rpd.values.pod import SshEndpoint

GIVE_UP_SECONDS = 300.0
"""How long a lost connection is tried again before the pod counts as unreachable."""

_ATTEMPT_SECONDS = 10.0
_LAST_TRY_SECONDS = 5.0
_ENDING_SECONDS = 30.0
_ALIVE_EVERY_SECONDS = 10.0


class SshShell:
    """The ``Shell`` over one fabric connection at a time; ``reconnect`` replaces a broken one.

    ``interrupt`` cuts the first connecting short, and leaves a moment for mending a connection later.
    """

    def __init__(
        self,
        endpoint: SshEndpoint,
        *,
        private_key: Path,
        known_hosts: Path,
        pod_id: str,
        is_alive: Callable[[], bool | None],
        give_up: float = GIVE_UP_SECONDS,
        interrupt: Interrupt | None = None,
    ) -> None:
        self._endpoint = endpoint
        # Read once: a connection is mended even if the file is gone by then.
        self._private_key = load_key(private_key)
        self._pin = PinnedHostKey(known_hosts, pod_id)
        self._pod_id = pod_id
        self._is_alive = is_alive
        self._give_up = give_up
        self._ending = interrupt or Interrupt()
        """Requested when the run has to end: a connection that is lost then is not waited for much longer."""
        self._connection: Any = None
        self._closing = Interrupt()
        self._is_refused = False
        """Whether the last try to connect met an sshd that does not accept the key."""
        self._mending = threading.Lock()
        self._forwards: list[Forward] = []
        self.preamble = ""
        """Lines of sh that are run before each program; they say nothing and cannot fail it."""

    def open(self, program: Program) -> Stream:
        program = replace(program, script=self.preamble + program.script)
        channel = self.new_channel("session")
        mark = f"rpd-{secrets.token_hex(8)}\n"
        stdin = program.stdin
        # A start-up file of the login shell may print before our script does: what precedes the mark is dropped.
        runner = f"sh -c {shlex.quote(program.script)}" if stdin is not None else """sh -c 'eval "$(cat)"'"""
        try:
            channel.exec_command(f"printf %s {shlex.quote(mark)}; exec {runner}")
        except FAILURES as error:
            close_quietly(channel)
            raise Disconnected(self._say(error)) from error
        data = [program.script.encode("utf-8", "surrogateescape")] if stdin is None else stdin
        return SshStream(self, channel, program, mark=mark.encode(), stdin=data)

    def exec(self, program: Program) -> Ended:
        stream = self.open(program)
        try:
            return stream.finish()
        finally:
            stream.close()

    def feed(self, script: str) -> Feed:
        """Start a script that talks for as long as somebody listens. Raises Disconnected, ConnectionLost."""
        channel = self.new_channel("session")
        try:
            channel.exec_command(f"exec sh -c {shlex.quote(READ_SCRIPT)}")
            channel.sendall(f"{script}\n{END_OF_SCRIPT}\n".encode())
        except FAILURES as error:
            close_quietly(channel)
            raise Disconnected(self._say(error)) from error
        return SshFeed(channel)

    def new_channel(self, kind: str, destination: tuple[str, int] | None = None) -> Any:
        """Return a new channel. Raises Disconnected; ConnectionLost after ``close``."""
        self.check_open()
        used = self._connection
        transport = self._transport()
        if transport is None:
            raise Disconnected(f"pod {self._pod_id}: not connected")
        try:
            return transport.open_channel(
                kind,
                dest_addr=destination,
                src_addr=("127.0.0.1", 0) if destination else None,
                timeout=_ATTEMPT_SECONDS,
            )
        except paramiko.ChannelException as error:
            if destination is None:
                self._drop(used)
            raise Disconnected(self._say(error)) from error
        except FAILURES as error:
            self._drop(used)
            raise Disconnected(self._say(error)) from error

    def check_open(self) -> None:
        """Raise ConnectionLost if ``close`` was called."""
        if self._closing.requested:
            raise ConnectionLost(f"pod {self._pod_id}: the connection was closed")

    def answers(self) -> bool:
        """Whether the other end still answers: a channel is opened, which starts no process there."""
        try:
            close_quietly(self.new_channel("session"))
        except ConnectionLost:
            return False
        return True

    def await_ready(self, timeout: float) -> None:
        """Connect for the first time. Raises PodNotReady, KeyRefused, PodLost, HostKeyChanged, Interrupted."""
        what = f"waiting for SSH on pod {self._pod_id}"
        # Nothing of value is there yet: an interrupt closes the shell, in whatever it waits for.
        with self._ending.waking(self.close):
            self._ending.check(what)
            try:
                last = self._try_until(time.monotonic() + timeout, self._ending, longest_pause=1.0)
            except ConnectionLost:
                self._ending.check(what)
                raise
        self._ending.check(what)
        if last is None:
            return
        kind = KeyRefused if self._is_refused else PodNotReady
        raise kind(
            f"pod {self._pod_id}: no command could be run over SSH at {self._endpoint.host}:{self._endpoint.port} "
            f"within {timeout:g} s; last reason: {last}"
        )

    def reconnect(self, interrupt: Interrupt | None = None) -> None:
        self.check_open()
        with self._mending:
            if self.answers():
                return
            deadline = time.monotonic() + self._give_up
            # A command that is to end anyway is worth less than what is fetched while the run ends.
            last_try = _LAST_TRY_SECONDS if interrupt is not None else _ENDING_SECONDS
            last = self._try_until(deadline, interrupt or self._ending, longest_pause=10.0, last_try=last_try)
        if last is not None:
            raise ConnectionLost(
                f"pod {self._pod_id}: SSH to {self._endpoint.host}:{self._endpoint.port} was lost and did not come "
                f"back within {self._give_up:g} s; last reason: {last}. What ran there may still run."
            )

    def mend(self) -> None:
        """Try once to connect, where there is no connection and nobody else is at it. Raises HostKeyChanged."""
        if self._transport() is None and self._mending.acquire(blocking=False):
            try:
                self.check_open()
                self._try_once(time.monotonic() + _ATTEMPT_SECONDS)
            finally:
                self._mending.release()

    def _try_until(
        self, deadline: float, interrupt: Interrupt, *, longest_pause: float, last_try: float = 0.0
    ) -> str | None:
        """Connect until it works (None) or ``deadline`` (monotonic) passes: the last reason.

        An interrupt leaves ``last_try`` seconds more.
        """
        pause = 0.1
        asked = 0.0
        while True:
            self.check_open()
            if interrupt.requested:
                deadline = min(deadline, time.monotonic() + last_try)
            failure = self._try_once(deadline)
            if failure is None:
                return None
            if time.monotonic() - asked > _ALIVE_EVERY_SECONDS:
                self._check_alive(failure)
                asked = time.monotonic()
            left = deadline - time.monotonic()
            if left <= 0 or (interrupt.requested and last_try <= 0):
                return failure
            self._pause(min(pause, left), interrupt)
            pause = min(pause * 1.6, longest_pause)

    def _pause(self, seconds: float, interrupt: Interrupt) -> None:
        """Wait; ``close`` ends it, and an interrupt that comes meanwhile."""
        woken = threading.Event()
        with self._closing.waking(woken.set), interrupt.waking(woken.set):
            if not self._closing.requested:
                woken.wait(seconds)

    def _try_once(self, deadline: float) -> str | None:
        """Connect and run a first command; return why that failed."""
        seconds = max(1.0, min(_ATTEMPT_SECONDS, deadline - time.monotonic()))
        self._drop()
        self._is_refused = False
        try:
            self._connection = open_connection(
                self._endpoint, self._private_key, self._pin, seconds=seconds, interrupt=self._closing
            )
        except FAILURES as error:
            self._is_refused = isinstance(error, paramiko.AuthenticationException)
            return reason(error)
        try:
            ended = self.exec(Program("echo ready", timeout=seconds))
        except (Disconnected, DeadlinePassed) as error:
            self._drop()
            return str(error)
        return None if ended.stdout == b"ready\n" else f"the first command failed: {ended.reason}"

    def _check_alive(self, failure: str) -> None:
        try:
            alive = self._is_alive()
        except RpdError:
            return
        if alive is False:
            raise PodLost(f"pod {self._pod_id} is gone: RunPod no longer runs it ({failure})")

    def _transport(self) -> Any:
        return transport_of(self._connection)

    def _say(self, error: BaseException) -> str:
        return f"pod {self._pod_id}: the SSH connection broke: {reason(error)}"

    def _drop(self, broken: Any = None) -> None:
        """Give up the connection; not one that has replaced the ``broken`` one meanwhile."""
        connection = broken if broken is not None else self._connection
        if connection is self._connection:
            self._connection = None
        if connection is not None:
            close_quietly(connection)

    def forward(self, remote_port: int, local_port: int = 0) -> int:
        """Forward a local port; it is there until ``close``, over whichever connection is up."""
        self.check_open()
        to_pod = partial(self.new_channel, "direct-tcpip", ("127.0.0.1", remote_port))
        forward = Forward(to_pod, remote_port, local_port)
        self._forwards.append(forward)
        return forward.port

    def close(self) -> None:
        """Close everything, for good; from any thread."""
        self._closing.request()
        for forward in self._forwards:
            forward.close()
        self._drop()
