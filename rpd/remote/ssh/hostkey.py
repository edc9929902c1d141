"""The pinned host key: a pod is who it was when it was first seen."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import HostKeyEntry

from rpd.errors import ConnectionLost


class HostKeyChanged(ConnectionLost):
    """The machine answers with another host key than the one pinned for this pod."""


_writing = threading.Lock()


def forget_pin(known_hosts: Path, alias: str) -> None:
    """Forget the host key of a pod that was stopped: its container is made anew, with another key."""
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
    """Accepts the first host key of a pod, notes it in a known_hosts file under the pod's id, and holds it to that."""

    def __init__(self, known_hosts: Path, alias: str) -> None:
        self._known_hosts = known_hosts
        self._alias = alias

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002 - paramiko calls it so
        """Take ``key`` or raise HostKeyChanged. Nothing is loaded into the client, so paramiko asks here each time."""
        with _writing:
            pinned = self._pinned()
            if not pinned:
                self._known_hosts.parent.mkdir(parents=True, exist_ok=True)
                with self._known_hosts.open("a", encoding="ascii") as file:
                    file.write(f"{self._alias} {key.get_name()} {key.get_base64()}\n")
                return
        if key not in pinned:
            raise HostKeyChanged(
                f"{hostname}: the host key is not the one pinned for pod {self._alias} in {self._known_hosts}. Another "
                "machine answers at this address, or the pod was reset; if the latter, delete its line there."
            )

    def _pinned(self) -> list[Any]:
        """Return the keys of this pod. The file has a line for each pod of a run: only our own are worth decoding."""
        if not self._known_hosts.exists():
            return []
        lines = self._known_hosts.read_text(encoding="ascii", errors="replace").splitlines()
        ours = [line for line in lines if _is_of(line, self._alias)]
        return [entry.key for line in ours if (entry := HostKeyEntry.from_line(line)) is not None]
