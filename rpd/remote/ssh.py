"""The only door to fabric: one SSH connection to a pod that mends itself.

What fabric, paramiko and sockets raise ends here, as Disconnected, ConnectionLost or PodLost.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fabric
import paramiko

from rpd.errors import ConnectionLost, PodLost, PodNotReady, RpdError
from rpd.remote import commands, session, transfer
from rpd.remote.console import Console
from rpd.remote.protocol import Command, Feed, Output, Progress, Remote
from rpd.remote.shell import DeadlinePassed, Disconnected, Ended, Interrupt, Stream
from rpd.values.pod import SshEndpoint
from rpd.values.step import Completed, Pulled, Staged

GIVE_UP_SECONDS = 300.0
"""How long a lost connection is tried again before the pod counts as unreachable."""

_ATTEMPT_SECONDS = 10.0
_LAST_TRY_SECONDS = 5.0
_SCRIPT_TRIES = 3
_QUIET_SECONDS = 20.0
_KEEPALIVE_SECONDS = 15
_ALIVE_EVERY_SECONDS = 10.0
_DEAD_MILLISECONDS = 45_000
_WINDOW_BYTES = 64 << 20
_PACKET_BYTES = 32 << 10
# AES-GCM does in one pass what AES-CTR and HMAC do in two; paramiko offers it last.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
_LOG_CHANNEL = "rpd.paramiko"

# What fabric, paramiko and the socket raise when a connection fails. EOFError: the peer closed in mid-message.
_FAILURES = (OSError, EOFError, paramiko.SSHException)

logging.getLogger(_LOG_CHANNEL).addHandler(logging.NullHandler())
logging.getLogger(_LOG_CHANNEL).propagate = False


_END_OF_SCRIPT = "# end of script"
# A shell's read takes no byte too many, so that the rest of standard input is left to the script.
_READ_SCRIPT = f'''script=
while IFS= read -r line && [ "$line" != "{_END_OF_SCRIPT}" ]; do script="$script$line
"; done
[ "$line" != "{_END_OF_SCRIPT}" ] || eval "$script"
'''


class HostKeyChanged(ConnectionLost):
    """The machine answers with another host key than the one pinned for this pod."""


def connect(
    endpoint: SshEndpoint,
    *,
    private_key: Path,
    known_hosts: Path,
    pod_id: str,
    timeout: float,
    is_alive: Callable[[], bool | None],
    give_up: float = GIVE_UP_SECONDS,
    interrupt: Interrupt | None = None,
) -> Remote:
    """Return a Remote over SSH, once a first command has run on the pod.

    Tries again for ``timeout`` seconds: sshd comes up, and gets its keys, well after RunPod says RUNNING. The host key
    is pinned at first sight in ``known_hosts`` under ``pod_id`` (an address is soon another pod's). ``is_alive`` asks
    RunPod about the pod: True, False (gone) or None (it does not say); it is also asked whenever the connection is
    lost, which is mended for up to ``give_up`` seconds. Raises PodNotReady (with the last reason), PodLost,
    ConnectionLost (another host key), Interrupted.
    """
    shell = SshShell(
        endpoint,
        private_key=private_key,
        known_hosts=known_hosts,
        pod_id=pod_id,
        is_alive=is_alive,
        give_up=give_up,
    )
    try:
        shell.await_ready(timeout, interrupt or Interrupt())
    except BaseException:
        shell.close()
        raise
    return SshRemote(shell)


class SshRemote:
    """A pod reached over SSH: the ``Remote`` of real runs."""

    def __init__(self, shell: SshShell) -> None:
        self._shell = shell
        self._interrupt = Interrupt()

    def probe(self) -> Mapping[str, str]:
        return commands.probe(self._shell)

    def run(self, command: Command, output: Output) -> Completed:
        return commands.run(self._shell, command, output, self._interrupt)

    def put(
        self, local: Path, remote: str, *, exclude: Sequence[str] = (), progress: Progress | None = None
    ) -> Staged:
        try:
            return transfer.put(
                self._shell, local, remote, exclude=exclude, interrupt=self._interrupt, progress=progress
            )
        finally:
            self._interrupt.clear()

    def pull(
        self,
        remote: str,
        local: Path,
        *,
        required: bool = True,
        exclude: Sequence[str] = (),
        seen: object = None,
    ) -> Pulled | None:
        known = seen if isinstance(seen, transfer.Seen) else None
        return transfer.pull(self._shell, remote, local, required=required, exclude=exclude, seen=known)

    def new_seen(self) -> object:
        return transfer.Seen()

    def write(self, remote: str, data: bytes, *, mode: int = 0o644) -> None:
        transfer.write(self._shell, remote, data, mode=mode)

    def forward(self, remote_port: int, local_port: int = 0) -> int:
        return self._shell.forward(remote_port, local_port)

    def script(self, text: str, *, timeout: float) -> str:
        for _ in range(_SCRIPT_TRIES - 1):
            try:
                return self._shell.exec(text, timeout=timeout).stdout.decode(errors="replace")
            except Disconnected:
                self._shell.reconnect()
        return self._shell.exec(text, timeout=timeout).stdout.decode(errors="replace")

    def feed(self, script: str) -> Feed:
        self._shell.mend()
        return self._shell.feed(script)

    def follow(self, key: str, offset: int, output: Output) -> Completed:
        """Follow the log of a command that another driver started, from a byte on. Raises ConnectionLost, PodLost."""
        return commands.attach(self._shell, key, offset, output)

    def interactive(self, script: str, console: Console) -> int:
        """Run a sh script with the console for its input and output and return its exit code.

        255 stands for an end without one, as with ``ssh``: a signal, or a connection that broke. The script may hold
        secrets: it waits on tmpfs, readable by root alone, until it begins. Raises RemoteError, ConnectionLost.
        """
        path = self.script(session.hand_over(script), timeout=_ATTEMPT_SECONDS * 3).strip()
        channel = self._shell.new_channel("session")
        try:
            if console.is_terminal:
                columns, lines = console.size()
                channel.get_pty(term=console.term, width=columns, height=lines)
            channel.exec_command(f"exec sh {shlex.quote(path)}")
            return _lend(console, channel)
        except BrokenPipeError:
            raise  # whoever read our output has gone
        except _FAILURES as error:
            raise ConnectionLost(f"the SSH connection broke: {_reason(error)}") from error
        finally:
            _close(channel)

    def interrupt(self) -> None:
        self._interrupt.request()

    def close(self) -> None:
        self._shell.close()


class SshShell:
    """The ``Shell`` over one fabric connection at a time; ``reconnect`` replaces a broken one."""

    def __init__(
        self,
        endpoint: SshEndpoint,
        *,
        private_key: Path,
        known_hosts: Path,
        pod_id: str,
        is_alive: Callable[[], bool | None],
        give_up: float = GIVE_UP_SECONDS,
    ) -> None:
        self._endpoint = endpoint
        self._private_key = private_key
        self._pin = _PinnedHostKey(known_hosts, pod_id)
        self._pod_id = pod_id
        self._is_alive = is_alive
        self._give_up = give_up
        self._connection: Any = None
        self._closed = threading.Event()
        self._mending = threading.Lock()
        self._forwards: list[_Forward] = []

    def open(
        self,
        script: str,
        *,
        stdin: Iterable[bytes] | None = None,
        timeout: float | None = None,
        stall: float | None = None,
        interrupt: Interrupt | None = None,
    ) -> Stream:
        channel = self.new_channel("session")
        mark = f"rpd-{secrets.token_hex(8)}\n"
        # A start-up file of the login shell may print before our script does: what precedes the mark is dropped.
        runner = f"sh -c {shlex.quote(script)}" if stdin is not None else """sh -c 'eval "$(cat)"'"""
        try:
            channel.exec_command(f"printf %s {shlex.quote(mark)}; exec {runner}")
        except _FAILURES as error:
            _close(channel)
            raise Disconnected(self._say(error)) from error
        data = [script.encode("utf-8", "surrogateescape")] if stdin is None else stdin
        return _SshStream(self, channel, mark.encode(), data, timeout, stall, interrupt)

    def exec(
        self,
        script: str,
        *,
        stdin: Iterable[bytes] | None = None,
        timeout: float | None = None,
        stall: float | None = None,
        interrupt: Interrupt | None = None,
    ) -> Ended:
        stream = self.open(script, stdin=stdin, timeout=timeout, stall=stall, interrupt=interrupt)
        try:
            return stream.finish()
        finally:
            stream.close()

    def feed(self, script: str) -> Feed:
        """Start a script that talks for as long as somebody listens. Raises Disconnected, ConnectionLost."""
        channel = self.new_channel("session")
        try:
            channel.exec_command(f"exec sh -c {shlex.quote(_READ_SCRIPT)}")
            channel.sendall(f"{script}\n{_END_OF_SCRIPT}\n".encode())
        except _FAILURES as error:
            _close(channel)
            raise Disconnected(self._say(error)) from error
        return _SshFeed(channel)

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
        except _FAILURES as error:
            self._drop(used)
            raise Disconnected(self._say(error)) from error

    def check_open(self) -> None:
        """Raise ConnectionLost if ``close`` was called."""
        if self._closed.is_set():
            raise ConnectionLost(f"pod {self._pod_id}: the connection was closed")

    def answers(self) -> bool:
        """Whether the far end still answers: a channel is opened, which starts no process there."""
        try:
            _close(self.new_channel("session"))
        except ConnectionLost:
            return False
        return True

    def await_ready(self, timeout: float, interrupt: Interrupt) -> None:
        """Connect for the first time. Raises PodNotReady, PodLost, HostKeyChanged, Interrupted."""
        last = self._try_until(time.monotonic() + timeout, interrupt, longest_pause=1.0, last_try=0.0)
        if last is None:
            return
        if interrupt.requested:
            interrupt.check(f"waiting for SSH on pod {self._pod_id}")
        raise PodNotReady(
            f"pod {self._pod_id}: no command could be run over SSH at {self._endpoint.host}:{self._endpoint.port} "
            f"within {timeout:g} s; last reason: {last}"
        )

    def reconnect(self, interrupt: Interrupt | None = None) -> None:
        self.check_open()
        with self._mending:
            if self.answers():
                return
            deadline = time.monotonic() + self._give_up
            last = self._try_until(
                deadline, interrupt or Interrupt(), longest_pause=10.0, last_try=_LAST_TRY_SECONDS
            )
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
        self, deadline: float, interrupt: Interrupt, *, longest_pause: float, last_try: float
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
            reason = self._try_once(deadline)
            if reason is None:
                return None
            if time.monotonic() - asked > _ALIVE_EVERY_SECONDS:
                self._check_alive(reason)
                asked = time.monotonic()
            left = deadline - time.monotonic()
            if left <= 0 or (interrupt.requested and last_try <= 0):
                return reason
            self._closed.wait(min(pause, left))
            pause = min(pause * 1.6, longest_pause)

    def _try_once(self, deadline: float) -> str | None:
        """Connect and run a first command; return why that failed."""
        seconds = max(1.0, min(_ATTEMPT_SECONDS, deadline - time.monotonic()))
        self._drop()
        connection = self._new_connection(seconds)
        try:
            connection.open()
            connection.transport.set_keepalive(_KEEPALIVE_SECONDS)
        except HostKeyChanged:
            connection.close()
            raise
        except _FAILURES as error:
            connection.close()
            return _reason(error)
        self._connection = connection
        try:
            ended = self.exec("echo ready", timeout=seconds)
        except (Disconnected, DeadlinePassed) as error:
            self._drop()
            return str(error)
        return None if ended.stdout == b"ready\n" else f"the first command failed: {ended.reason}"

    def _check_alive(self, reason: str) -> None:
        try:
            alive = self._is_alive()
        except RpdError:
            return
        if alive is False:
            raise PodLost(f"pod {self._pod_id} is gone: RunPod no longer runs it ({reason})")

    def _new_connection(self, seconds: float) -> Any:
        connection = fabric.Connection(
            self._endpoint.host,
            user=self._endpoint.user,
            port=self._endpoint.port,
            # Neither ~/.ssh/config nor ~/.fabric.* may change where a run's connection goes.
            config=fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig()),
            connect_timeout=seconds,
            connect_kwargs={
                "key_filename": str(self._private_key),
                "allow_agent": False,
                "look_for_keys": False,
                "compress": False,
                "banner_timeout": seconds,
                "auth_timeout": seconds,
                "channel_timeout": seconds,
                "transport_factory": _FastTransport,
            },
        )
        connection.client.set_missing_host_key_policy(self._pin)
        connection.client.set_log_channel(_LOG_CHANNEL)
        return connection

    def _transport(self) -> Any:
        connection = self._connection
        transport = connection.transport if connection is not None else None
        return transport if transport is not None and transport.is_active() else None

    def _say(self, error: BaseException) -> str:
        return f"pod {self._pod_id}: the SSH connection broke: {_reason(error)}"

    def _drop(self, broken: Any = None) -> None:
        """Give up the connection; not one that has replaced the ``broken`` one meanwhile."""
        connection = broken if broken is not None else self._connection
        if connection is self._connection:
            self._connection = None
        if connection is not None:
            with contextlib.suppress(*_FAILURES):
                connection.close()

    def forward(self, remote_port: int, local_port: int = 0) -> int:
        """Forward a local port; it is there until ``close``, over whichever connection is up."""
        self.check_open()
        forward = _Forward(self, remote_port, local_port)
        self._forwards.append(forward)
        return forward.port

    def close(self) -> None:
        """Close everything, for good; from any thread."""
        self._closed.set()
        for forward in self._forwards:
            forward.close()
        self._drop()


class _FastTransport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's Transport, tuned for throughput, quiet waiting and a prompt end."""

    # paramiko looks that often (seconds) whether it was closed; ``close`` below wakes it anyway.
    _active_check_timeout = 2.0
    _preferred_ciphers = _CIPHERS

    def __init__(self, sock: Any, **keywords: Any) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # With keepalives as traffic, a dead path ends the connection in a minute instead of a quarter of an hour.
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_MILLISECONDS)
        super().__init__(
            sock, default_window_size=_WINDOW_BYTES, default_max_packet_size=_PACKET_BYTES, **keywords
        )

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        super().close()


class _PinnedHostKey(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Accepts the first host key of a pod, notes it in a known_hosts file under the pod's id, and holds it to that."""

    _writing = threading.Lock()

    def __init__(self, known_hosts: Path, alias: str) -> None:
        self._known_hosts = known_hosts
        self._alias = alias

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002 - paramiko calls it so
        # Nothing is loaded into the client, so that paramiko asks here each time.
        with self._writing:
            pinned = self._pinned()
            if pinned is None:
                self._known_hosts.parent.mkdir(parents=True, exist_ok=True)
                with self._known_hosts.open("a", encoding="ascii") as file:
                    file.write(f"{self._alias} {key.get_name()} {key.get_base64()}\n")
                return
        if pinned.get(key.get_name()) != key:
            raise HostKeyChanged(
                f"{hostname}: the host key is not the one pinned for pod {self._alias} in {self._known_hosts}. Another "
                "machine answers at this address, or the pod was reset; if the latter, delete its line there."
            )

    def _pinned(self) -> Any:
        if not self._known_hosts.exists():
            return None
        return paramiko.HostKeys(str(self._known_hosts)).lookup(self._alias)


class _SshStream:
    """One program on a session channel; its input is written by a thread, so that neither side waits for the other."""

    def __init__(
        self,
        shell: SshShell,
        channel: Any,
        mark: bytes,
        data: Iterable[bytes],
        timeout: float | None,
        stall: float | None,
        interrupt: Interrupt | None,
    ) -> None:
        self._shell = shell
        self._channel = channel
        self._mark = mark
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._stall = stall
        self._moved = time.monotonic()
        self._interrupt = interrupt or Interrupt()
        self._stderr = bytearray()
        self._written = 0
        self._failure: BaseException | None = None
        self._closed = False
        channel.settimeout(_QUIET_SECONDS)
        self._writer: threading.Thread | None = None
        if isinstance(data, list) and sum(map(len, data)) <= _PACKET_BYTES:
            # Fits into any window: no thread is needed to write it.
            self._write(data)
        else:
            self._writer = threading.Thread(target=self._write, args=(data,), daemon=True, name="rpd-stdin")
            self._writer.start()

    def read(self, size: int = 1 << 20, /) -> bytes:
        with self._interrupt.waking(self.close):
            if self._mark:
                return self._read_marked(size)
            return self._receive(size)

    def errors(self) -> bytes:
        while self._channel.recv_stderr_ready():
            self._stderr += self._channel.recv_stderr(1 << 20)
        return bytes(self._stderr)

    def finish(self) -> Ended:
        stdout = bytearray()
        while data := self.read():
            stdout += data
        with self._interrupt.waking(self.close):
            code = self._exit_code()
        if self._writer is not None:
            self._writer.join(_QUIET_SECONDS)
        if self._failure is not None:
            raise self._failure
        return Ended(exit_code=code, stdout=bytes(stdout), stderr=self.errors())

    def close(self) -> None:
        self._closed = True
        _close(self._channel)

    def _read_marked(self, size: int) -> bytes:
        seen = bytearray()
        while self._mark not in seen:
            data = self._receive(size)
            if not data:
                self._mark = b""
                return bytes(data)
            seen += data
        rest = bytes(seen.partition(self._mark)[2])
        self._mark = b""
        return rest or self._receive(size)

    def _receive(self, size: int) -> bytes:
        """Return the next bytes; at a silence see to standard error, the deadline and the connection."""
        while True:
            self._check()
            self._channel.settimeout(self._patience())
            written = self._written
            try:
                data: bytes = self._channel.recv(size)
            except TimeoutError:
                self.errors()
                self._check()
                if written != self._written:
                    self._moved = time.monotonic()
                else:
                    self._check_silence()
                continue
            if not data:
                self._check()
            self._moved = time.monotonic()
            return data

    def _exit_code(self) -> int:
        while not self._channel.status_event.wait(self._patience()):
            self._check()
            self._check_silence()
        self._check()
        code: int = self._channel.recv_exit_status()
        if code < 0:
            # No exit status: the connection is gone, or sshd's child was killed. Either way its end is unknown.
            raise Disconnected("the SSH connection broke before the command's end was known")
        return code

    def _patience(self) -> float:
        """Return how long to wait for bytes before looking around."""
        now = time.monotonic()
        left = _QUIET_SECONDS if self._deadline is None else self._deadline - now
        if self._stall is not None:
            left = min(left, self._moved + self._stall - now)
        return max(0.001, min(_QUIET_SECONDS, left))

    def _is_patient(self) -> bool:
        """Whether the last wait was a long one, so that the silence may mean a dead connection."""
        return self._patience() == _QUIET_SECONDS

    def _check(self) -> None:
        """Raise what ended the stream from this side, if anything did."""
        if self._failure is not None:
            raise self._failure
        self._shell.check_open()
        self._interrupt.check("a command on the pod")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.close()
            raise DeadlinePassed(f"no end within {self._timeout:g} s")

    def _check_silence(self) -> None:
        """Raise DeadlinePassed after a stall, and Disconnected if the far end does not answer at all."""
        if self._stall is not None and time.monotonic() - self._moved >= self._stall:
            self.close()
            raise DeadlinePassed(f"nothing moved for {self._stall:g} s")
        if self._is_patient() and not self._shell.answers():
            self.close()
            raise Disconnected("the SSH connection is silent")

    def _write(self, data: Iterable[bytes]) -> None:
        try:
            for chunk in data:
                self._send(memoryview(chunk))
            self._channel.shutdown_write()
        except _FAILURES:
            # The reader meets the broken channel itself, and knows better what it means.
            return
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits for the end
            self._failure = error
            self.close()

    def _send(self, view: memoryview) -> None:
        while view and not self._closed:
            try:
                sent = self._channel.send(view[: 1 << 20])
            except TimeoutError:
                # A full window: the far end is slow. Whether it is dead is for the reader to find out.
                continue
            self._written += sent
            view = view[sent:]


class _SshFeed:
    """A session channel that is read now and then, and written to a little."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def read(self, seconds: float) -> bytes | None:
        self._channel.settimeout(seconds)
        try:
            data: bytes = self._channel.recv(_PACKET_BYTES)
        except TimeoutError:
            return None
        except _FAILURES:
            return b""
        return data

    def send(self, data: bytes) -> None:
        # Without waiting for a far end that does not read: what is lost is only a sign of life.
        with contextlib.suppress(*_FAILURES):
            if self._channel.send_ready():
                self._channel.send(data)

    def close(self) -> None:
        _close(self._channel)


class _Forward:
    """One local port forwarded to the pod: a listening thread, and two for each connection through it."""

    def __init__(self, shell: SshShell, remote_port: int, local_port: int) -> None:
        self._shell = shell
        self._remote_port = remote_port
        try:
            self._listener = socket.create_server(("127.0.0.1", local_port))
        except OSError as error:
            raise ConnectionLost(
                f"cannot listen on 127.0.0.1:{local_port} to forward port {remote_port}: {error.strerror}"
            ) from error
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name=f"rpd-forward-{self.port}").start()

    def close(self) -> None:
        # shutdown wakes the thread in accept; close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True, name="rpd-forward").start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                channel = self._shell.new_channel("direct-tcpip", ("127.0.0.1", self._remote_port))
            except ConnectionLost:
                return
            back = threading.Thread(target=_pump, args=(channel, client), daemon=True, name="rpd-forward")
            back.start()
            _pump(client, channel)
            back.join()
            _close(channel)


def _lend(console: Console, channel: Any) -> int:
    """Connect the console with a program until that ends; return its exit code, 255 where it has none."""
    with console.lent(_Typing(channel)):
        errors = threading.Thread(
            target=_pour, args=(channel.recv_stderr, console.write_error), daemon=True, name="rpd-stderr"
        )
        errors.start()
        _pour(channel.recv, console.write)
        errors.join()
        code: int = channel.recv_exit_status()
    return code if code >= 0 else 255


def _pour(receive: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    while data := receive(_PACKET_BYTES):
        write(data)


class _Typing:
    """What a console does to the program on the pod; a broken connection is met by whoever reads from it."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def typed(self, data: bytes) -> None:
        with contextlib.suppress(*_FAILURES):
            self._channel.sendall(data)

    def ended(self) -> None:
        with contextlib.suppress(*_FAILURES):
            self._channel.shutdown_write()

    def resized(self, columns: int, lines: int) -> None:
        with contextlib.suppress(*_FAILURES):
            self._channel.resize_pty(width=columns, height=lines)


def _close(channel: Any) -> None:
    """Close a channel, whose connection may be broken."""
    with contextlib.suppress(*_FAILURES):
        channel.close()


def _pump(source: Any, target: Any) -> None:
    """Copy until the source ends, then tell the target."""
    with contextlib.suppress(*_FAILURES):
        while data := source.recv(_PACKET_BYTES):
            target.sendall(data)
    with contextlib.suppress(*_FAILURES):
        target.shutdown(socket.SHUT_WR)


def _reason(error: BaseException) -> str:
    """Return a foreign error in words for a person."""
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        return "; ".join(sorted({str(inner.strerror or inner) for inner in error.errors.values()}))
    if isinstance(error, paramiko.AuthenticationException):
        return f"the pod does not accept the run's key (yet): {error}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, EOFError):
        return "the far end closed the connection"
    return str(error) or type(error).__name__
