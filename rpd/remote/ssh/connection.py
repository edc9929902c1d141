"""fabric's connection to one endpoint, tuned for throughput, quiet waiting and a prompt end."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from pathlib import Path
from typing import Any

import fabric
import paramiko

from rpd.errors import LocalError
from rpd.remote.shell import Interrupt
from rpd.remote.ssh.close_last import CloseLast
from rpd.remote.ssh.error_wording import close_quietly
from rpd.values.pod import SshEndpoint

PACKET_BYTES = 32 << 10
WINDOW_BYTES = 16 << 20
"""Most bytes that may be in flight or unread: enough for 160 MB/s at 100 ms, and small enough for memory."""

_FEWEST_BYTES, _MOST_BYTES = 4 << 10, 64 << 10
"""Bytes that are taken from a socket at once: few while it is quiet, because a wait for bytes holds room for them."""

_KEEPALIVE_SECONDS = 15
_DEAD_MILLISECONDS = 45_000
# AES-GCM does in one pass what AES-CTR and HMAC do in two; paramiko offers it last.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
_LOG_CHANNEL = "rpd.paramiko"

logging.getLogger(_LOG_CHANNEL).addHandler(logging.NullHandler())
logging.getLogger(_LOG_CHANNEL).propagate = False


def open_connection(
    endpoint: SshEndpoint,
    private_key: paramiko.PKey,
    pin: paramiko.MissingHostKeyPolicy,
    *,
    seconds: float,
    interrupt: Interrupt,
) -> Any:
    """Return an open connection. Raise FAILURES, and errors of ``pin`` about the host key.

    An ``interrupt`` ends the attempt at any point.
    """
    deadline = time.monotonic() + seconds
    *addresses, last = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    # A host name may have an IPv6 address that is unreachable from here, so every address is tried.
    for address in addresses:
        with contextlib.suppress(OSError):
            return _opened_at(address, endpoint, private_key, pin, deadline=deadline, interrupt=interrupt)
    return _opened_at(last, endpoint, private_key, pin, deadline=deadline, interrupt=interrupt)


def _opened_at(
    address: Any,
    endpoint: SshEndpoint,
    private_key: paramiko.PKey,
    pin: paramiko.MissingHostKeyPolicy,
    *,
    deadline: float,
    interrupt: Interrupt,
) -> Any:
    sock = socket.socket(*address[:3])
    try:
        with interrupt.waking(lambda: _shut(sock)):
            if interrupt.requested:
                raise ConnectionAbortedError("interrupted")
            seconds = max(1.0, deadline - time.monotonic())
            sock.settimeout(seconds)
            sock.connect(address[4])
            return _opened(endpoint, private_key, pin, sock=sock, seconds=seconds)
    except BaseException:
        sock.close()
        raise


def _shut(sock: socket.socket) -> None:
    """Wake the thread that waits on ``sock``: closing it would not."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _opened(
    endpoint: SshEndpoint,
    private_key: paramiko.PKey,
    pin: paramiko.MissingHostKeyPolicy,
    *,
    sock: socket.socket,
    seconds: float,
) -> Any:
    """Open a connection over ``sock`` that the user's SSH and fabric configuration cannot change."""
    connection = fabric.Connection(
        endpoint.host,
        user=endpoint.user,
        port=endpoint.port,
        # Neither ~/.ssh/config nor ~/.fabric.* may change where a run's connection goes.
        config=fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig()),
        connect_timeout=seconds,
        connect_kwargs={
            # Only the run's key: each key of an agent would count as a failed login, and sshd permits only a
            # few.
            "pkey": private_key,
            "allow_agent": False,
            "look_for_keys": False,
            "compress": False,
            "banner_timeout": seconds,
            "auth_timeout": seconds,
            "channel_timeout": seconds,
            "transport_factory": _FastTransport,
            "sock": sock,
        },
    )
    connection.client.set_missing_host_key_policy(pin)
    connection.client.set_log_channel(_LOG_CHANNEL)
    try:
        connection.open()
        connection.transport.set_keepalive(_KEEPALIVE_SECONDS)
    except BaseException:
        # If the key is refused, fabric has no transport to close yet, but paramiko has one, with a thread.
        close_quietly(connection.client)
        raise
    return connection


def load_key(path: Path) -> paramiko.PKey:
    """Return the private key in a file. Raise LocalError."""
    try:
        return paramiko.Ed25519Key.from_private_key_file(str(path))
    except OSError as error:
        raise LocalError(f"cannot read the SSH key {path}", error) from error
    except paramiko.SSHException as error:
        raise LocalError(f"cannot use the SSH key {path}: {error}") from error


def transport_of(connection: Any) -> Any:
    """Return the transport of a connection while it is up, else None."""
    transport = connection.transport if connection is not None else None
    return transport if transport is not None and transport.is_active() else None


class _FastTransport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's Transport with a large window and a fast cipher; it notices a dead path within a minute."""

    # paramiko checks this often (seconds) whether it was closed; ``close`` below wakes it anyway.
    _active_check_timeout = 2.0
    _preferred_ciphers = _CIPHERS

    def __init__(self, sock: Any, **keywords: Any) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # With keepalives as traffic, a dead path ends the connection in a minute instead of a quarter of
            # an hour.
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_MILLISECONDS)
        super().__init__(
            _Buffered(sock),
            default_window_size=WINDOW_BYTES,
            default_max_packet_size=PACKET_BYTES,
            **keywords,
        )

    def open_channel(self, *arguments: Any, **keywords: Any) -> Any:
        channel = super().open_channel(*arguments, **keywords)
        channel.transport = CloseLast(self)
        return channel

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        super().close()


class _Buffered:
    """A socket that takes what has arrived at once: paramiko asks for each packet twice. Read by one thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._arrived = memoryview(b"")
        self._room = _FEWEST_BYTES

    def recv(self, size: int) -> bytes:
        if not self._arrived:
            self._arrived = memoryview(self._sock.recv(max(size, self._room)))
            self._room = _MOST_BYTES if len(self._arrived) >= self._room else _FEWEST_BYTES
        data, self._arrived = self._arrived[:size], self._arrived[size:]
        return bytes(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
