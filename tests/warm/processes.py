"""Starting ``rpd`` from a warm fork server instead of a cold interpreter; the suite starts it several hundred times."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import IO

from rpd.testing import Process, StartProcess, start_interpreter

_SCRIPT = Path(__file__).with_name("fork_server.py")
_FIXED_AT_START = ("PYTHON", "LC_", "LANG", "LD_")
"""What an interpreter reads from its environment while it starts: a child of a warm one would not see a change.

PYTHONPATH is not among them: a child sets ``sys.path`` by it."""


class ForkServer:
    """Forks processes that have imported the libraries already."""

    def __init__(self, folder: str, environment: Mapping[str, str]) -> None:
        self._fixed = _fixed(environment)
        self._path = f"{folder}/s"
        self._server = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT), self._path],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether a child would be the same as a new interpreter with this environment."""
        return _fixed(environment) == self._fixed

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        out: IO[bytes],
        err: IO[bytes],
    ) -> WarmProcess:
        """Start ``rpd`` with these arguments and without standard input."""
        request = {"arguments": [*arguments], "folder": str(folder), "environment": {**environment}}
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        with Path(os.devnull).open("rb") as nothing:
            data = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(connection, [data], [nothing.fileno(), out.fileno(), err.fileno()])
            connection.sendall(data[sent:])
        return WarmProcess(connection)

    def close(self) -> None:
        """End the server; its children keep running."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


@contextmanager
def warm_processes() -> Iterator[StartProcess]:
    """Yield a function that starts ``rpd`` from a fork server, which is itself started at its first use."""
    servers: list[ForkServer] = []
    one_at_a_time = Lock()
    with TemporaryDirectory(prefix="rpd-warm-") as place:

        def start(
            arguments: Sequence[str],
            folder: Path,
            environment: Mapping[str, str],
            out: IO[bytes],
            err: IO[bytes],
        ) -> Process:
            with one_at_a_time:
                if not servers:
                    servers.append(ForkServer(place, environment))
            begin = servers[0].start if servers[0].serves(environment) else start_interpreter
            return begin(arguments, folder, environment, out, err)

        try:
            yield start
        finally:
            for server in servers:
                server.close()


class WarmProcess:
    """A process of the fork server; the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(self._line())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends and return its exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._line())
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("rpd", timeout or 0) from None
            self._connection.close()
        return self.returncode

    def _line(self) -> bytes:
        """Return the next line the server sends; one byte at a time, since the line after it is for later."""
        line = self._connection.recv(1)
        while line and not line.endswith(b"\n"):
            line += self._connection.recv(1)
        return line

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_FIXED_AT_START) and name != "PYTHONPATH"
    }
