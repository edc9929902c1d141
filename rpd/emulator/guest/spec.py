"""GuestSpec: everything the zygote must know to start one pod, as it crosses the socket between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Isolation(StrEnum):
    """How well a pod is kept apart from the host."""

    ROOT = "root"
    """Mount, PID, UTS and IPC namespaces, made by root."""
    USER = "user"
    """The same inside a user namespace, made by anybody."""
    PLAIN = "plain"
    """A private folder only: the kernel gives no namespaces."""


class Sshd(StrEnum):
    """The fate of the SSH server once the start script launches it."""

    ON = "on"
    NEVER = "never"


_TUPLES = ("command", "packages", "broken", "hidden", "devices", "shown")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """One start of one pod. Paths are the host's, except the keys of ``mounts`` (in the pod); sizes are MB.

    ``key`` is unique per start; ``command`` is the argv of PID 1 and ``env`` its whole environment; ``disk``
    is the folder that is the pod's root; ``mounts`` maps a path in the pod to a folder kept over restarts;
    ``facts`` are read by the stand-in tools; ``disk_limit_mb`` puts all of it on a tmpfs of that size.
    ``has_sshd``: the program is in the image; ``packages`` are its package managers, ``broken`` those of them
    that reach no archive, ``hidden`` the programs of this machine that are not in the image, ``user`` the
    user that its command runs as. ``devices`` are its device nodes, ``tools`` maps a path in the pod to a
    file, ``shown`` are folders visible at their paths on the host, and ``programs`` is one more folder of its
    PATH. ``memory_mb``, ``processes`` and ``disk_mb`` are limits.
    """

    key: str
    hostname: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    disk: str
    log: str
    mounts: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    disk_limit_mb: int | None = None
    sshd: Sshd = Sshd.ON
    sshd_delay: float = 0.0
    has_sshd: bool = False
    packages: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    user: str = "root"
    devices: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    programs: str = ""
    memory_mb: int | None = None
    processes: int | None = None
    disk_mb: int | None = None
    cluster: str = ""
    address: str = ""
    """Of a member of a cluster that has a network of its own: its address there."""
    api_port: int = 0
    """Where the API is, on the loopback of such a member too."""

    def encode(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def decode(cls, values: dict[str, Any]) -> GuestSpec:
        """Read back the result of ``encode``."""
        tuples = {name: tuple(values[name]) for name in _TUPLES}
        return cls(**{**values, **tuples, "sshd": Sshd(values["sshd"])})
