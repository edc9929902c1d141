"""The connections to one pod: one for a node that has the pod to itself, or one for each of several nodes."""

from __future__ import annotations

from rpd.execute.node.run import NodeRun
from rpd.lease.lease import Lease
from rpd.remote.protocol import Remote


class Connections:
    """Opened as they are needed; closed with the lease."""

    def __init__(self, lease: Lease, first: Remote) -> None:
        self._lease = lease
        self.first = first
        self._beside: dict[tuple[int, ...], Remote] = {}

    def of(self, run: NodeRun) -> Remote:
        """Return the connection of a node: its own where it has some of the pod's GPUs only.

        The first thing that is done over it marks on the pod when the node began there.
        """
        remote = self.first
        if run.gpus:
            if run.gpus not in self._beside:
                self._beside[run.gpus] = self.another()
            remote = self._beside[run.gpus]
        remote.mark(run.mark)
        return remote

    def another(self) -> Remote:
        """Open one more."""
        return self._lease.another_remote()
