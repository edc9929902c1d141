"""The connections to one pod: one for a node that has the pod to itself, or one for each of several nodes."""

from __future__ import annotations

import threading

from rpd.execute.node.node_run import NodeRun
from rpd.lease.lease import Lease
from rpd.remote.protocol import Remote


class Connections:
    """The connections to one pod, opened when needed and closed with the lease."""

    def __init__(self, lease: Lease, first: Remote) -> None:
        self._lease = lease
        self.first = first
        self._beside: dict[tuple[int, ...], Remote] = {}
        self._opening: dict[tuple[int, ...], threading.Lock] = {}

    def of(self, run: NodeRun) -> Remote:
        """Return the connection of a node; a node with only some of the pod's GPUs has a separate one.

        Its first use leaves a file on the pod that marks when the node started there.
        """
        remote = self.first
        if run.use.gpus:
            # The threads of a job come at once, and share one.
            with self._opening.setdefault(run.use.gpus, threading.Lock()):
                if run.use.gpus not in self._beside:
                    self._beside[run.use.gpus] = self.another()
            remote = self._beside[run.use.gpus]
        remote.mark(run.mark)
        return remote

    def another(self) -> Remote:
        """Open one more connection."""
        return self._lease.another_remote()
