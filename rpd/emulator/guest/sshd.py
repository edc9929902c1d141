"""The SSH server of a pod: commands, shells, SFTP and port forwarding for root, with the keys the pod holds."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from rpd.emulator.guest import image
from rpd.emulator.guest.spec import GuestSpec, Sshd
from rpd.emulator.guest.wire import Wire

_PIPE_BYTES = 1 << 20
_WINDOW_BYTES = 16 << 20
_CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
# Every current client has them, and would rather take ones that cost this server several times as much.
_TCP_INFO_ACKED = 120  # linux/tcp.h, struct tcp_info: u64 tcpi_bytes_acked, then u64 tcpi_bytes_received
_SHELL = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"


class _Connections:
    """The live connections, so that a fault can cut them."""

    def __init__(self) -> None:
        self._live: set[asyncssh.SSHServerConnection] = set()
        self._budget: int | None = None
        self._down_until = 0.0

    def add(self, connection: asyncssh.SSHServerConnection) -> None:
        if asyncio.get_running_loop().time() < self._down_until:
            connection.abort()
            return
        self._live.add(connection)
        if self._budget is not None:
            self._watch(connection)

    def discard(self, connection: asyncssh.SSHServerConnection) -> None:
        self._live.discard(connection)

    def drop(self, *, after_bytes: int, down_seconds: float) -> None:
        """Cut every connection once it has carried ``after_bytes``, then refuse new ones for ``down_seconds``."""
        self._down_seconds = down_seconds
        if after_bytes:
            self._budget = after_bytes
            for connection in self._live:
                self._watch(connection)
        else:
            self._cut()

    def _cut(self) -> None:
        self._budget = None
        self._down_until = asyncio.get_running_loop().time() + self._down_seconds
        for connection in tuple(self._live):
            connection.abort()
        self._live.clear()

    def _watch(self, connection: asyncssh.SSHServerConnection) -> None:
        if self._budget is None or connection not in self._live:
            return
        if _carried(connection) >= self._budget:
            self._cut()
        else:
            asyncio.get_running_loop().call_later(0.002, self._watch, connection)


def _carried(connection: asyncssh.SSHServerConnection) -> int:
    """Return the bytes that went over ``connection`` both ways."""
    raw: socket.socket | None = connection.get_extra_info("socket")
    if raw is None or raw.fileno() < 0 or not hasattr(socket, "TCP_INFO"):
        return 0
    info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return sum(struct.unpack_from("QQ", info, _TCP_INFO_ACKED)) if len(info) >= _TCP_INFO_ACKED + 16 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Login:
    """Who can log in: the user that the server runs as. ``uid`` None: the user of this process."""

    name: str
    home: Path
    uid: int | None = None
    gid: int | None = None

    @classmethod
    def read(cls, text: str, root: Path) -> _Login:
        """Read the line the trigger was given: ``NAME UID GID HOME``, or a word that means root."""
        parts = text.split()
        if len(parts) != 4 or parts[1] == "0":
            return cls(name="root", home=root / "root")
        name, uid, gid, home = parts
        return cls(name=name, home=root / home.lstrip("/"), uid=int(uid), gid=int(gid))


class _Server(asyncssh.SSHServer):
    """The access rules: one user may log in, by key, and everything may be forwarded."""

    def __init__(self, login: _Login, connections: _Connections) -> None:
        self._login = login
        self._keys = login.home / ".ssh/authorized_keys"
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface's own
        if self._connection is not None:
            self._connections.discard(self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._login.name and key.public_data in _authorized(self._keys)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:  # noqa: ARG002
        return True

    def server_requested(self, listen_host: str, listen_port: int) -> bool:  # noqa: ARG002
        return True

    def unix_connection_requested(self, dest_path: str) -> bool:  # noqa: ARG002
        return True


def _authorized(path: Path) -> set[bytes]:
    """Return the raw public keys in an authorized_keys file, read anew each time as sshd does."""
    keys = set()
    with contextlib.suppress(OSError):
        for line in path.read_text(errors="replace").splitlines():
            with contextlib.suppress(asyncssh.KeyImportError, ValueError):
                keys.add(asyncssh.import_public_key(line.strip()).public_data)
    return keys


class _Sessions:
    """The commands, shells and SFTP sessions that clients start."""

    def __init__(self, login: _Login, env: dict[str, str]) -> None:
        self._env = env
        self._login = login
        self._running: set[int] = set()

    async def handle(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command or shell of a client until it has ended and all its output is sent."""
        _resume_between_writes(process)
        with contextlib.suppress(OSError, asyncssh.Error):
            if process.term_type is None:
                await self._run(process)
            else:
                await self._run_on_terminal(process)

    def _environment(self, process: asyncssh.SSHServerProcess[bytes]) -> dict[str, str]:
        peer, here = process.get_extra_info("peername"), process.get_extra_info("sockname")
        locale = {k: v for k, v in process.env.items() if k == "LANG" or k.startswith("LC_")}
        env = {**locale, **self._env, "SSH_CONNECTION": f"{peer[0]} {peer[1]} {here[0]} {here[1]}"}
        env["SSH_CLIENT"] = f"{peer[0]} {peer[1]} {here[1]}"
        return env

    def _argv(self, command: str | None) -> tuple[str, list[str]]:
        name = Path(_SHELL).name
        return (_SHELL, [f"-{name}"]) if command is None else (_SHELL, [name, "-c", command])

    def _spawn(
        self, process: asyncssh.SSHServerProcess[bytes], env: dict[str, str], **how: Any
    ) -> subprocess.Popen[bytes]:
        program, argv = self._argv(process.command)
        login = self._login
        if login.uid is not None:
            how |= {"user": login.uid, "group": login.gid, "extra_groups": ()}
        child = subprocess.Popen(
            argv, executable=program, cwd=login.home, env=env, start_new_session=True, **how
        )
        process.set_redirect_pid(child.pid)
        self._running.add(child.pid)
        return child

    def end(self) -> None:
        """Kill the processes that still run; in a pod without a PID namespace nothing else would."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        inputs, outputs, errors = _pipe(), _pipe(), _pipe()
        try:
            child = self._spawn(
                process, self._environment(process), stdin=inputs[0], stdout=outputs[1], stderr=errors[1]
            )
        finally:
            for end in (inputs[0], outputs[1], errors[1]):
                os.close(end)
        ended = _ended(child)
        ended.add_done_callback(lambda _: self._running.discard(child.pid))
        process.channel.set_write_buffer_limits(high=4 << 20)
        await process.redirect(stdin=inputs[1], stdout=outputs[0], stderr=errors[0], send_eof=False)
        code = await ended
        # As with sshd, who keeps the output open (a background job) keeps the channel open.
        with contextlib.suppress(BrokenPipeError):
            await process.stdout.drain()
            await process.stderr.drain()
        _finish(process, code)

    async def _run_on_terminal(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        master, slave = pty.openpty()
        env = {**self._environment(process), "TERM": process.term_type or "dumb"}
        try:
            _set_size(slave, process.term_size)
            child = self._spawn(
                process, env, stdin=slave, stdout=slave, stderr=slave, preexec_fn=_take_terminal
            )
        finally:
            os.close(slave)
        ended = _ended(child)
        ended.add_done_callback(lambda _: self._running.discard(child.pid))
        await process.redirect(stdin=os.dup(master), stdout=master, send_eof=False)
        code = await ended
        with contextlib.suppress(BrokenPipeError):
            await process.stdout.drain()
        _finish(process, code)


def _resume_between_writes(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Ask the client for more input only when asyncio has finished the write that made room for it.

    asyncio asks from within that write. Input that asyncssh held back then arrives at once, and the end of
    the input with it, so that asyncio closes the pipe while the last bytes still wait to be written.
    """
    resume, loop = process.resume_feeding, asyncio.get_running_loop()

    def resume_later(datatype: int | None) -> None:
        loop.call_soon(resume, datatype)

    process.resume_feeding = resume_later  # type: ignore[method-assign]


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    # Python 3.11 lacks the names on some platforms; where the size cannot be set the default does.
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return ends


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _set_size(descriptor: int, size: tuple[int, int, int, int]) -> None:
    width, height, pixel_width, pixel_height = size
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, pixel_width, pixel_height))


def _ended(child: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Return a future of the child's return code (negative: the signal that ended it)."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    try:
        descriptor = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # not Linux, or a kernel or container without it
        return asyncio.ensure_future(asyncio.to_thread(child.wait))

    def reap() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        code = child.wait()
        if not future.done():
            future.set_result(code)

    loop.add_reader(descriptor, reap)
    return future


def _finish(process: asyncssh.SSHServerProcess[bytes], code: int) -> None:
    if code >= 0:
        process.exit(code)
    else:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))


async def _serve(listener: socket.socket, control: Wire, spec: GuestSpec, root: Path, login: _Login) -> None:
    """Serve until the control end closes; a message there cuts or delays connections."""
    connections = _Connections()
    env = {
        "PATH": image.path_of(spec),
        "HOME": str(login.home),
        "USER": login.name,
        "LOGNAME": login.name,
        "SHELL": _SHELL,
    }
    if root != Path("/"):
        env["PATH"] = f"{root / image.TOOLS}:{image.path_of(spec)}"
        env["EMULATOR_ROOT"] = str(root)
        # There is no PID 1 of the pod's own that a session could read them from.
        env |= {name: value for name, value in spec.env.items() if name.startswith("RUNPOD_")}
    sessions = _Sessions(login, env)
    server = await asyncssh.listen(
        sock=listener,
        server_factory=lambda: _Server(login, connections),
        # As in the images: after a restart a client meets another host key.
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        process_factory=sessions.handle,
        sftp_factory=True,
        encoding=None,
        line_editor=False,
        window=_WINDOW_BYTES,
        encryption_algs=_CIPHERS,
        compression_algs=["none"],
        server_version="OpenSSH_8.9p1_emulated",
        login_timeout=30,
    )  # fmt: skip
    gone = asyncio.Event()

    def hear() -> None:
        orders = control.receive()
        if orders is None:
            loop.remove_reader(control)
            gone.set()
        for order in orders or ():
            connections.drop(after_bytes=order["after_bytes"], down_seconds=order["down_seconds"])

    loop = asyncio.get_running_loop()
    loop.add_reader(control, hear)
    await gone.wait()
    sessions.end()
    server.close()


def serve(listener: socket.socket, control: Wire, spec: GuestSpec, root: Path) -> None:
    """Wait until the pod's start script asks for an SSH server, then be it until the pod ends."""
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with (root / image.SSHD_TRIGGER).open() as trigger:
        login = _Login.read(trigger.read(), root)
    if spec.sshd is Sshd.NEVER:
        signal.pause()
    if spec.sshd_delay:
        time.sleep(spec.sshd_delay)
    listener.listen(128)
    asyncio.run(_serve(listener, control, spec, root, login))
