"""The private network of a cluster: a network namespace for each member, with ``ens1`` on a switch that they share.

It needs root and the program ``ip``. A member sees only that network and its own loopback, on which the
emulator's API listens too. SSH connections still reach it, because their socket is the host's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

from rpd.emulator.guest import kernel

INTERFACE = "ens1"
_SWITCH = "switch"
_SECONDS = 20.0


class Networks:
    """The networks of the clusters whose members run. Not thread-safe: it changes the namespace of its process."""

    def __init__(self) -> None:
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._switches: dict[str, int] = {}
        self._members: dict[str, set[str]] = {}

    def join(self, cluster: str, key: str, address: str, port: int) -> tuple[int, socket.socket]:
        """Make the namespace of a member; return it, and a socket that listens at ``port`` of its loopback.

        Raise OSError if this system has no such networks.
        """
        if cluster not in self._switches:
            self._switches[cluster] = self._made(
                "ip", "link", "add", _SWITCH, "type", "bridge", up=(_SWITCH,)
            )
        self._members.setdefault(cluster, set()).add(key)
        switch, peer = self._switches[cluster], f"p{address.rpartition('.')[2]}"
        member = self._made(
            *f"ip link add {INTERFACE} type veth peer name {peer} netns /proc/{os.getpid()}/fd/{switch}".split(),
            up=("lo", INTERFACE),
        )
        with self._inside(member):
            _run("ip", "address", "add", f"{address}/16", "dev", INTERFACE)
            listener = socket.create_server(("127.0.0.1", port), backlog=128)
        with self._inside(switch):
            _run("ip", "link", "set", peer, "master", _SWITCH, "up")
        return member, listener

    def leave(self, key: str) -> None:
        """Forget a member; with the last one its network is gone."""
        for cluster, members in list(self._members.items()):
            members.discard(key)
            if not members:
                del self._members[cluster]
                os.close(self._switches.pop(cluster))

    def _made(self, *command: str, up: tuple[str, ...]) -> int:
        """Return a new namespace, in which ``command`` was run, and these interfaces are up."""
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            made = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _run(*command)
            for interface in up:
                _run("ip", "link", "set", interface, "up")
        finally:
            kernel.enter_network(self._own)
        return made

    @contextlib.contextmanager
    def _inside(self, namespace: int) -> Iterator[None]:
        kernel.enter_network(namespace)
        try:
            yield
        finally:
            kernel.enter_network(self._own)


def _run(*command: str) -> None:
    """Run a short program. Raise OSError if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def are_possible() -> bool:
    """Return whether this process may make such networks, by making one in a namespace that goes at once."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        return False
    try:
        _run(*f"unshare --net ip link add {INTERFACE} type veth peer name {_SWITCH}".split())
        _run(*f"unshare --net ip link add {_SWITCH} type bridge".split())
    except (OSError, subprocess.SubprocessError):
        return False
    return True
