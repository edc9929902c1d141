"""A local port forwarded to the pod, over whichever connection is up."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from rpd.errors import ConnectionLost, LocalError
from rpd.remote.ssh.connection import PACKET_BYTES
from rpd.remote.ssh.error_wording import FAILURES, close_quietly
from rpd.threads import started


class Forward:
    """A local port forwarded to the pod: one listening thread, and two per connection through it.

    ``open_channel`` opens a channel to the port on the pod; a ConnectionLost from it ends only that one
    connection. Raise LocalError if the local port is not available.
    """

    def __init__(self, open_channel: Callable[[], Any], remote_port: int, local_port: int) -> None:
        self._open_channel = open_channel
        try:
            self._listener = socket.create_server(("127.0.0.1", local_port))
        except OSError as error:
            raise LocalError(
                f"cannot listen on 127.0.0.1:{local_port} to forward port {remote_port}", error
            ) from error
        self.port: int = self._listener.getsockname()[1]
        started(self._accept, name=f"rpd-forward-{self.port}")

    def close(self) -> None:
        """Stop listening."""
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
            try:
                started(partial(self._serve, client), name="rpd-forward")
            except (
                RuntimeError
            ):  # the system has no thread left for this process: the next client may get one
                client.close()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                channel = self._open_channel()
            except ConnectionLost:
                return
            back = started(partial(_pump, channel, client), name="rpd-forward")
            _pump(client, channel)
            back.join()
            close_quietly(channel)


def _pump(source: Any, target: Any) -> None:
    """Copy until the source ends, then close the target for writing."""
    with contextlib.suppress(*FAILURES):
        while data := source.recv(PACKET_BYTES):
            target.sendall(data)
    with contextlib.suppress(*FAILURES):
        target.shutdown(socket.SHUT_WR)
