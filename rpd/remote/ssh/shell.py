"""The ``Shell`` over SSH: one connection at a time, replaced when it breaks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import paramiko

from rpd.errors import ConnectionLost, KeyRefused, PodLost, PodNotReady, RemoteError, RpdError
from rpd.remote.protocol import Feed
from rpd.remote.shell import DeadlinePassed, Disconnected, Ended, Interrupt, Program
from rpd.remote.ssh.arrived import Arrived
from rpd.remote.ssh.channels import StartedShell, WaitingShells, input_of
from rpd.remote.ssh.connection import load_key, open_connection, transport_of
from rpd.remote.ssh.error_wording import FAILURES, close_quietly, reason
from rpd.remote.ssh.forward import Forward
from rpd.remote.ssh.hostkey import PinnedHostKey
from rpd.remote.ssh.stream import SshStream
from rpd.remote.ssh.telemetry_channel import SshFeed
from rpd.remote.ssh.window import START_BYTES, WideWindow
from rpd.values.frozen import replace
from rpd.values.pod import SshEndpoint

GIVE_UP_SECONDS = 300.0
"""Seconds for which a lost connection is retried before the pod counts as unreachable."""

_ATTEMPT_SECONDS = 10.0
_SHORTEST_ATTEMPT_SECONDS = 1.0
_LAST_TRY_SECONDS = 5.0
_ENDING_SECONDS = 30.0
_ALIVE_EVERY_SECONDS = 10.0
_READY = b"ready\n"
_THEN_SECONDS = 30.0
_SURE_SECONDS = 10.0
"""Seconds for which a connection counts as alive after something arrived, so that no channel is opened to
find out.
"""


class SshShell:
    """The ``Shell`` over one fabric connection at a time; ``reconnect`` replaces a broken one.

    ``interrupt`` cuts the first connecting short, and leaves a moment for reconnecting later.
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
        # Read once: the connection can be re-established even if the file is gone by then.
        self._private_key = load_key(private_key)
        self._pin = PinnedHostKey(known_hosts, pod_id)
        self._pod_id = pod_id
        self._is_alive = is_alive
        self._give_up = give_up
        self._ending = interrupt or Interrupt()
        """Requested when the run has to end: a connection that is lost then is retried only briefly."""
        self._connection: Any = None
        self._closing = Interrupt()
        self._is_refused = False
        """Whether the last attempt to connect met an sshd that does not accept the key."""
        self._is_given_up = False
        """Whether reconnecting failed for as long as an ending run allows: from then on each call tries once."""
        self._mending = threading.Lock()
        self._forwards: list[Forward] = []
        self._waiting = WaitingShells(self._open_session)
        self._then = ""
        self._first: tuple[SshStream, bytes] | None = None
        """The first program, while it is running, and the part of its output that was read."""
        self._heard_at = -math.inf
        """When something last arrived from the pod (monotonic)."""
        self._round_trip = math.inf
        """The shortest time in which a channel was opened, in seconds."""
        self.preamble = ""
        """Lines of sh that run before each program; they print nothing and cannot fail it."""

    def open(self, program: Program) -> SshStream:
        shell = self._waiting_shell()
        program = replace(program, script=self.preamble + program.script)
        wide = None
        if program.is_wide:
            with self._breaking(shell.channel):
                wide = WideWindow(shell.channel, self._round_trip)
        return SshStream(self, shell.channel, program, mark=shell.mark, stdin=input_of(program), wide=wide)

    def _waiting_shell(self) -> StartedShell:
        """Return a shell that was started ahead if the pod was heard from just now, else a new one.

        Raise Disconnected; ConnectionLost after ``close``.
        """
        transport = self._checked_transport()
        is_sure = time.monotonic() - self._heard_at < _SURE_SECONDS
        shell = self._waiting.take(transport) if is_sure else None
        if shell is None:
            channel = self.new_channel()
            with self._breaking(channel):
                shell = StartedShell.on(channel)
        self._waiting.prepare(transport)
        return shell

    @contextmanager
    def _breaking(self, channel: Any) -> Iterator[None]:
        """Turn a failure of a new channel into Disconnected."""
        try:
            yield
        except FAILURES as error:
            close_quietly(channel)
            raise Disconnected(self._say(error)) from error

    def exec(self, program: Program) -> Ended:
        stream = self.open(program)
        try:
            return stream.finish()
        finally:
            stream.close()

    def feed(self, script: str) -> Feed:
        """Start a script that writes for as long as somebody listens. Raise Disconnected, ConnectionLost."""
        shell = self._waiting_shell()
        with self._breaking(shell.channel):
            for data in input_of(Program(script, stdin=[])):
                shell.channel.sendall(data)
        return SshFeed(shell.channel, shell.mark, self.heard)

    def new_channel(self) -> Any:
        """Return a new session channel. Raise Disconnected; ConnectionLost after ``close``."""
        return self._opened(self._open_session)

    def renew(self) -> None:
        self._waiting.drop()

    def _open_session(self, transport: Any) -> Any:
        began = time.monotonic()
        channel = transport.open_channel("session", window_size=START_BYTES, timeout=_ATTEMPT_SECONDS)
        self._round_trip = min(self._round_trip, time.monotonic() - began)
        channel.in_buffer = Arrived()  # nothing has arrived yet: no program runs there
        if channel.closed or channel.eof_received:  # only the buffer before knows
            channel.in_buffer.close()
        return channel

    def _to_port(self, port: int) -> Any:
        """Return a new channel to a port of the pod. Raise Disconnected, ConnectionLost."""
        return self._opened(
            lambda transport: transport.open_channel(
                "direct-tcpip",
                dest_addr=("127.0.0.1", port),
                src_addr=("127.0.0.1", 0),
                timeout=_ATTEMPT_SECONDS,
            ),
            refusal_is_local=True,
        )

    def _opened(self, open_channel: Callable[[Any], Any], *, refusal_is_local: bool = False) -> Any:
        """Open a channel.

        Drop a connection that refuses one, unless the refusal says nothing about the connection.
        """
        used, transport = self._connection, self._checked_transport()
        try:
            channel = self._opened_at_last(open_channel, transport)
        except paramiko.ChannelException as error:
            if not refusal_is_local:
                self._drop(used)
            raise Disconnected(self._say(error)) from error
        except FAILURES as error:
            self._drop(used)
            raise Disconnected(self._say(error)) from error
        self.heard()
        return channel

    def _opened_at_last(self, open_channel: Callable[[Any], Any], transport: Any) -> Any:
        """Open a channel, closing waiting shells if necessary: a server allows only so many."""
        try:
            return open_channel(transport)
        except paramiko.ChannelException:
            if not self._waiting.drop():
                raise
            return open_channel(transport)

    def _checked_transport(self) -> Any:
        self.check_open()
        transport = self._transport()
        if transport is None:
            raise Disconnected(f"pod {self._pod_id}: not connected")
        return transport

    def heard(self) -> None:
        """Note that something just arrived from the pod."""
        self._heard_at = time.monotonic()

    def check_open(self) -> None:
        """Raise ConnectionLost if ``close`` was called."""
        if self._closing.requested:
            raise ConnectionLost(f"pod {self._pod_id}: the connection was closed")

    def answers(self) -> bool:
        """Return whether the pod still answers: a channel is opened, which starts no process there."""
        try:
            close_quietly(self.new_channel())
        except ConnectionLost:
            return False
        return True

    def await_ready(self, timeout: float, *, then: str = "") -> None:
        """Connect for the first time. Raise PodNotReady, KeyRefused, PodLost, HostKeyChanged, Interrupted.

        The first program also runs the script ``then``, whose output ``take_first`` returns.
        """
        self._then = then
        what = f"waiting for SSH on pod {self._pod_id}"
        # Nothing of value is there yet: an interrupt closes the shell, whatever it is waiting for.
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
            f"pod {self._pod_id}: cannot run a command over SSH at {self._endpoint.host}:{self._endpoint.port} "
            f"within {timeout:g} s; last reason: {last}"
        )

    def reconnect(self, interrupt: Interrupt | None = None) -> None:
        self.check_open()
        with self._mending:
            if self.answers():
                return
            began = time.monotonic()
            # A command that has to end anyway matters less than the results that are fetched while the run
            # ends.
            last_try = (
                _LAST_TRY_SECONDS if interrupt is not None else 0.0 if self._is_given_up else _ENDING_SECONDS
            )
            last = self._try_until(
                began + self._give_up, interrupt or self._ending, longest_pause=10.0, last_try=last_try
            )
            self._is_given_up = last is not None and interrupt is None and self._ending.requested
        if last is not None:
            tried = min(self._give_up, round(time.monotonic() - began, 1))
            raise ConnectionLost(
                f"pod {self._pod_id}: SSH to {self._endpoint.host}:{self._endpoint.port} was lost and did not come "
                f"back within {tried:g} s; last reason: {last}. What ran there may still run."
            )

    def mend(self) -> None:
        """Try once to connect if there is no connection and no other thread is trying. Raise HostKeyChanged."""
        if self._transport() is None and self._mending.acquire(blocking=False):
            try:
                self.check_open()
                self._try_once(time.monotonic() + _ATTEMPT_SECONDS)
            finally:
                self._mending.release()

    def _try_until(
        self, deadline: float, interrupt: Interrupt, *, longest_pause: float, last_try: float = 0.0
    ) -> str | None:
        """Connect, retrying until ``deadline`` (monotonic); return None, or the last reason for failure.

        An interrupt leaves ``last_try`` more seconds.
        """
        pause = 0.1
        asked_at = 0.0
        while True:
            self.check_open()
            if interrupt.requested:
                deadline = min(deadline, time.monotonic() + last_try)
            failure = self._try_once(deadline)
            if failure is None:
                return None
            # Not at every failure, since this is a call to RunPod's API.
            if time.monotonic() - asked_at > _ALIVE_EVERY_SECONDS:
                self._check_alive(failure)
                asked_at = time.monotonic()
            left = deadline - time.monotonic()
            if left <= 0 or (interrupt.requested and last_try <= 0):
                return failure
            self._pause(min(pause, left), interrupt)
            pause = min(pause * 1.6, longest_pause)

    def _pause(self, seconds: float, interrupt: Interrupt) -> None:
        """Wait; ``close`` or an interrupt ends the wait."""
        woken = threading.Event()
        with self._closing.waking(woken.set), interrupt.waking(woken.set):
            if not self._closing.requested:
                woken.wait(seconds)

    def _try_once(self, deadline: float) -> str | None:
        """Connect and run a first command; return the reason if that failed, else None."""
        seconds = max(_SHORTEST_ATTEMPT_SECONDS, min(_ATTEMPT_SECONDS, deadline - time.monotonic()))
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
            return self._greet(seconds)
        except (Disconnected, DeadlinePassed) as error:
            self._drop()
            return str(error)

    def _greet(self, seconds: float) -> str | None:
        """Run a first command within ``seconds``; return the reason if that failed.

        Its second part may take longer.
        """
        then = self._then
        # It travels in the request itself, which saves a round trip; it contains no secret. So it may be over before
        # the end of its input is sent, and sshd ends a connection on which something comes for a closed channel.
        program = Program(f"exec </dev/null\necho ready\n{then}", timeout=seconds)
        channel = self.new_channel()
        with self._breaking(channel):
            shell = StartedShell.on(channel, program.script)
        self._waiting.prepare(self._transport())
        stream = SshStream(self, channel, program, mark=shell.mark, stdin=None)
        try:
            said = bytearray()
            while b"\n" not in said and (data := stream.read()):
                said += data
            if not then or not said.startswith(_READY):
                ended = stream.finish()
                stream.close()
                return None if said == _READY else f"the first command failed: {ended.reason}"
        except BaseException:
            stream.close()
            raise
        stream.extend(_THEN_SECONDS)
        self._then, self._first = "", (stream, bytes(said[len(_READY) :]))
        return None

    def take_first(self) -> bytes | None:
        """Return the output of the script given to ``await_ready``, once; None if it is not available (any more)."""
        first, self._first = self._first, None
        if first is None:
            return None
        stream, said = first
        try:
            return said + stream.finish().stdout
        except RemoteError:
            return None
        finally:
            stream.close()

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
        """Close the connection, unless another has already replaced the ``broken`` one."""
        connection = broken if broken is not None else self._connection
        if connection is self._connection:
            self._connection = None
        if connection is not None:
            close_quietly(connection)

    def forward(self, remote_port: int, local_port: int = 0) -> int:
        """Forward a local port until ``close``, over whichever connection is up."""
        self.check_open()
        forward = Forward(partial(self._to_port, remote_port), remote_port, local_port)
        self._forwards.append(forward)
        return forward.port

    def close(self) -> None:
        """Close everything for good; from any thread."""
        self._closing.request()
        for forward in self._forwards:
            forward.close()
        self._waiting.drop()
        self._drop()
