"""The pinned host key: a pod must keep the identity it had when it was first seen."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import HostKeyEntry

from rpd.errors import ConnectionLost, LocalError


class HostKeyChanged(ConnectionLost):
    """The machine answers with another host key than the one pinned for this pod."""


_writing = threading.Lock()


def forget_pin(known_hosts: Path, alias: str) -> None:
    """Forget the host key of a stopped pod: its container is recreated with another key."""
    with _writing:
        if not known_hosts.exists():
            return
        lines = known_hosts.read_text(encoding="ascii", errors="replace").splitlines(keepends=True)
        others = [line for line in lines if not _is_of(line, alias)]
        if len(others) < len(lines):
            known_hosts.write_text("".join(others), encoding="ascii", errors="replace")


def _is_of(line: str, alias: str) -> bool:
    return alias in line.partition(" ")[0].split(",")


class PinnedHostKey(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Accepts the first host key of a pod, stores it in a known_hosts file under the pod's id, and insists on it.

    The key stays in memory too: the file may be gone by the time the connection has to be re-established.
    """

    def __init__(self, known_hosts: Path, alias: str) -> None:
        self._known_hosts = known_hosts
        self._alias = alias
        self._seen: list[Any] = []

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002 - paramiko calls it so
        """Accept ``key`` or raise HostKeyChanged; raise LocalError if the file cannot be read or written.

        Nothing is loaded into the client, so paramiko calls this for every connection.
        """
        with _writing:
            try:
                pinned = self._seen or self._pinned()
                if not pinned:
                    self._known_hosts.parent.mkdir(parents=True, exist_ok=True)
                    _append(self._known_hosts, f"{self._alias} {key.get_name()} {key.get_base64()}\n")
            except OSError as error:
                # Must not look like a failed connection, which would be tried again and again.
                raise LocalError(
                    f"cannot write the host key of pod {self._alias} to {self._known_hosts}", error
                ) from error
            if not pinned:
                self._seen = [key]
                return
            self._seen = pinned
        if key not in pinned:
            raise HostKeyChanged(
                f"{hostname}: the host key is not the one pinned for pod {self._alias} in {self._known_hosts}. Another "
                "machine answers at this address, or the pod was reset; if the latter, delete its line there."
            )

    def _pinned(self) -> list[Any]:
        """Return the keys of this pod. The file has a line per pod of a run: only our own are worth decoding."""
        if not self._known_hosts.exists():
            return []
        lines = self._known_hosts.read_text(encoding="ascii", errors="replace").splitlines()
        ours = [line for line in lines if _is_of(line, self._alias)]
        return [entry.key for line in ours if (entry := HostKeyEntry.from_line(line)) is not None]


def _append(path: Path, line: str) -> None:
    """Append all of a line or nothing: half a key would be another key. Raise OSError."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            left = memoryview(line.encode("ascii"))
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(before)
            raise
