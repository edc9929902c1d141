"""A machine to work on: a real SSH server in this process that runs a real shell, and can be made to fail."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest

from rpd.remote.keys import RunKeys, make_keypair
from rpd.remote.ssh import SshRemote, connect
from rpd.uptime import uptime
from rpd.values.pod import SshEndpoint
from tests.waiting import DEADLINE


class Machine:
    """An SSH server on 127.0.0.1 whose sessions run ``sh -c`` with a new home folder, as sshd does."""

    def __init__(self, folder: Path, public_line: str) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.files = folder / "files"
        self.files.mkdir()
        self.remotes: list[SshRemote] = []
        """Who is connected to it."""
        self.path = os.environ["PATH"]
        self.before_command = ""
        self.commands: list[str] = []
        self.logins = 0
        """How many connections there have been."""
        # Kept while it does not listen: another test would be given the port, and answer in its place.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._port.bind(("127.0.0.1", 0))
        self._public_line = public_line
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._children: set[asyncio.subprocess.Process] = set()
        self._killed: list[asyncio.subprocess.Process] = []
        self._starting: set[asyncio.Task[asyncio.subprocess.Process]] = set()
        self._listener: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    @property
    def path(self) -> str:
        """Where its shells look for programs."""
        return self._path

    @path.setter
    def path(self, path: str) -> None:
        self._path = path
        for remote in self.remotes:
            remote._shell._waiting.drop()  # shells that wait have the path of their start

    @property
    def port(self) -> int:
        """Where it listens, or refuses connections."""
        port: int = self._port.getsockname()[1]
        return port

    @property
    def endpoint(self) -> SshEndpoint:
        """Where it listens."""
        return SshEndpoint(host="127.0.0.1", port=self.port, user="root")

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return len(self._connections)

    def start(self, *, new_host_key: bool = False) -> None:
        """Listen (on the same port as before)."""
        if new_host_key:
            self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._call(self._start())

    def stop(self) -> None:
        """Refuse connections, and drop open ones. Running processes stay."""
        self._call(self._stop())

    def drop(self) -> None:
        """Break all connections at once; new ones are welcome."""
        self._call(self._drop())

    def close(self) -> None:
        """End everything."""
        self.stop()
        self._call(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()
        self._port.close()

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE)

    async def _start(self) -> None:
        machine = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                machine._connections.add(conn)
                machine.logins += 1
                self._conn = conn

            def connection_lost(self, exc: Exception | None) -> None:
                machine._connections.discard(self._conn)

            def connection_requested(self, *_: Any) -> bool:
                return True

        self._listener = await asyncssh.create_server(
            Server,
            "127.0.0.1",
            self.port,
            server_host_keys=[self._host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(self._public_line),
            process_factory=self._serve,
            encoding=None,
            reuse_port=True,
        )

    async def _drop(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    async def _stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._drop()

    async def _settle(self) -> None:
        self._end_children()
        await asyncio.sleep(0)
        # asyncssh puts more on the loop as its connections end: until nothing is left.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            _, late = await asyncio.wait(others, timeout=0.2)
            # A start that is cut short leaves a program without a waiter: such programs always finish.
            for task in late - self._starting:
                task.cancel()
            self._end_children()
        # Killed is not gone yet: a program that is still there when its object goes is a warning of a later test.
        while any(child.returncode is None for child in self._killed):
            await asyncio.sleep(0.01)

    async def _start_program(self, command: str) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            self.before_command + command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.home,
            start_new_session=True,
            env={
                "HOME": str(self.home),
                "PATH": self.path,
                "TMPDIR": str(self.home),
                "USER": "root",
                # Or commands would take the variables of a pod that another test runs on this machine.
                "RUNPOD_POD_ID": "no-pod",
            },
        )
        self._children.add(child)
        return child

    def _end_children(self) -> None:
        groups = [int(path.read_text()) for path in self.home.glob("*/steps/*/group")]
        groups += [int(path.read_text()) for path in self.home.glob(".rpd/steps/*/group")]
        for group in {*groups, *(child.pid for child in self._children)}:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for child in self._children:
            # Not ``wait``: it waits for pipes too, which are no longer read.
            child._transport.close()  # type: ignore[attr-defined]
            if child.stdin is not None and child.stdin.transport.get_write_buffer_size():
                # Unread output is not waited for either; that it is closed shows a turn of the loop later.
                child.stdin.transport.abort()
        self._killed += self._children
        self._children.clear()

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        starting = asyncio.create_task(self._start_program(command))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        child = await asyncio.shield(starting)
        assert child.stdin is not None
        feeding = asyncio.create_task(_pump(process.stdin, child.stdin, end=child.stdin.close))
        try:
            await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
            process.exit(await child.wait())
        finally:
            feeding.cancel()


async def _pump(source: Any, target: Any, end: Callable[[], None] = lambda: None) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    end()


@pytest.fixture
def keys(tmp_path: Path) -> RunKeys:
    """The key pair of a run."""
    return make_keypair(tmp_path / "keys")


@pytest.fixture
def machine(tmp_path: Path, keys: RunKeys) -> Iterator[Machine]:
    """A machine that runs, and accepts ``keys``."""
    made = Machine(tmp_path, keys.public_line)
    yield made
    made.close()


Connect = Callable[..., SshRemote]


@pytest.fixture
def connecting(tmp_path: Path, machine: Machine, keys: RunKeys) -> Iterator[Connect]:
    """Call ``connect`` with the usual arguments; every keyword may be given."""
    remotes: list[SshRemote] = []

    def make(**changes: Any) -> SshRemote:
        settings: dict[str, Any] = {
            "private_key": keys.private_key,
            "known_hosts": tmp_path / "known_hosts",
            "pod_id": "pod1",
            "timeout": DEADLINE,
            "is_alive": lambda: True,
            **changes,
        }
        remote = connect(settings.pop("endpoint", machine.endpoint), **settings)
        assert isinstance(remote, SshRemote)
        remotes.append(remote)
        machine.remotes.append(remote)
        return remote

    yield make
    for remote in remotes:
        remote.close()


@pytest.fixture
def remote(connecting: Connect) -> SshRemote:
    """A connection to the machine."""
    return connecting()


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``time_passes(60)``: a minute later, to those who follow a command or wait for a program.

    So a deadline passes when the test says so, however slow the machine is until then.
    """
    ahead: list[float] = [0.0]

    def pass_by(seconds: float) -> None:
        ahead[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr("rpd.remote.ssh.stream.time", clock)
    monkeypatch.setattr("rpd.remote.detached.uptime", lambda: uptime() + ahead[0])
    return pass_by


@pytest.fixture
def busybox(machine: Machine, tmp_path: Path) -> None:
    """Leave the machine nothing but busybox."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not installed here")
    folder = tmp_path / "busybox"
    folder.mkdir()
    subprocess.run([program, "--install", "-s", str(folder)], check=True)
    machine.path = str(folder)
