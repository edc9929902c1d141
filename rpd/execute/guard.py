"""The guard: while it is up on a thread, code on that thread can reach nothing outside the process.

A dry run promises that no socket is opened, also by a user's own code; this is what keeps the promise. It rests on
CPython's audit events (PEP 578), which the socket and subprocess modules raise before they act.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rpd.errors import RpdError

_BLOCKED = frozenset(
    {
        "socket.connect",
        "socket.bind",
        "socket.sendto",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.startfile",
    }
)

_up = threading.local()
_installed = False


class Blocked(RpdError):
    """Code tried to leave the process while only a plan was being made."""


def _audit(event: str, _args: object) -> None:
    if event in _BLOCKED and getattr(_up, "why", None):
        why = _up.why
        raise Blocked(f"{event} is not allowed {why}")


@contextmanager
def guarded(why: str) -> Iterator[None]:
    """Raise Blocked where this thread tries to open a connection or start a process; ``why``: ``"in a dry run"``."""
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True
    before = getattr(_up, "why", None)
    _up.why = why
    try:
        yield
    finally:
        _up.why = before


@contextmanager
def lowered() -> Iterator[None]:
    """Let rpd's own work through inside a guarded stretch."""
    before = getattr(_up, "why", None)
    _up.why = None
    try:
        yield
    finally:
        _up.why = before
