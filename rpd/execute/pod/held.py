"""The hold of a fixture on a lease: a pod, or several that are rented together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rpd.lease.lease import Lease

if TYPE_CHECKING:
    from rpd.execute.node.node_run import NodeRun


class Held(ABC):
    """A value of a fixture that rests on a lease."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    @property
    def id(self) -> str:
        """RunPod's id of the pod or cluster."""
        return self._lease.rented.id

    @property
    def rate_usd_per_hr(self) -> float:
        """The price of all of it while it runs, in USD per hour."""
        return self._lease.rate_usd_per_hr

    @property
    def is_lost(self) -> bool:
        """Whether it is out of reach, so that no further node should use it."""
        return self._lease.is_lost

    def belong_to(self, run: NodeRun) -> None:
        """Become the pod or cluster in the node's record, whatever else the node uses."""
        run.use.own_lease = self._lease

    @property
    @abstractmethod
    def ssh_command(self) -> str:
        """A command line that opens a shell on it while it is alive."""

    @abstractmethod
    def copy_command(self, remote: str) -> str:
        """Return a command line that copies a path on it into the current folder."""

    @abstractmethod
    def join(self, run: NodeRun) -> None:
        """Count ``run`` among the nodes it serves."""

    @abstractmethod
    def watch(self) -> None:
        """Start to receive telemetry, and show the watchdogs that a driver is present."""

    @abstractmethod
    def unwatch(self) -> None:
        """Stop receiving telemetry."""
