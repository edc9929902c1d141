"""OpenSSH as a peer: the words of a command, and one that goes over a connection that is there already."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")

_PATIENCE_SECONDS = 30.0


def target(folder: Path, port: int) -> list[str]:
    """Return the arguments of ``ssh`` for the sshd of ``transfer.sshd`` in ``folder``, through a port."""
    settings = [word for option in _OPTIONS for word in ("-o", option)]
    return ["-p", str(port), "-i", f"{folder}/user/id_ed25519", *settings, "root@127.0.0.1"]


@contextmanager
def control_connection(folder: Path, port: int) -> Iterator[list[str]]:
    """Open a control connection; yield an ``ssh`` over it, to be followed by a command."""
    control, to = ["-S", str(folder / "control")], target(folder, port)
    master = subprocess.Popen(["ssh", *control, "-M", "-N", *to])
    try:
        wait_until(lambda: not _fails(["ssh", *control, "-O", "check", *to]), what="ssh's control connection")
        yield ["ssh", *control, *to]
    finally:
        master.terminate()
        master.wait()


def wait_until(condition: Callable[[], bool], *, what: str) -> None:
    """Wait for ``condition``; end the benchmark if it does not come true."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > until:
            sys.exit(f"waited {_PATIENCE_SECONDS:g} s for {what}")
        time.sleep(0.1)


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode != 0
