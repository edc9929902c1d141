"""The monitor of one pod: routes its telemetry to the nodes on it, and their deadlines to its watchdog."""

from __future__ import annotations

import contextlib
import threading

from rpd.errors import RemoteError
from rpd.execute.node.node_run import NodeRun
from rpd.execute.pod.connections import Connections
from rpd.execute.pod.lifetimes import Lifetimes
from rpd.lease.lease import Lease
from rpd.remote.telemetry import LONGEST_BEAT, PACKAGES, Monitor
from rpd.values.late_pattern import late_pattern
from rpd.values.safe_text import without_passwords
from rpd.values.telemetry import Sample

_NOT_IN_NAMES = late_pattern(r"[^A-Za-z0-9_-]")


class Attendance:
    """The nodes on one pod, one after the other, or several at once if its GPUs are shared out."""

    def __init__(self, lease: Lease, connections: Connections, lifetimes: Lifetimes) -> None:
        self._lease = lease
        self._connections = connections
        self._lifetimes = lifetimes
        self._lock = threading.Lock()
        self._latest: NodeRun | None = None
        self._present: list[NodeRun] = []
        self._monitor: Monitor | None = None
        self._trace: list[str] = []

    def join(self, run: NodeRun) -> None:
        """Count ``run`` among the nodes the pod serves."""
        whole = self._lease.whole
        with self._lock:
            if whole not in run.use.leases:
                run.use.leases.append(whole)
            if self._lease in run.use.joined:
                return
            run.use.joined.append(self._lease)
            self._latest = run
        if not self._lease.rank:  # of the pods of a cluster only the first reports
            whole.node_joined()
            run.events.pod_joined(node=run.node, pod=whole.rented, share=run.use.share)

    def begin_step(self, run: NodeRun) -> None:
        """Make sure that the pod lives long enough for a node that uses it for the first time."""
        with self._lock:
            if run in self._present:
                return
            # A new list for each change: the monitor's thread iterates over the old one.
            self._present = [*(node for node in self._present if not node.log.is_closed), run]
        for line in self._trace:
            run.log.trace(line)
        self._lifetimes.welcome(self._lease, run.use)

    # --- listening --------------------------------------------------------------------------------------------------

    def watch(self, mount: str) -> None:
        """Start to receive telemetry, and show the pod's watchdog that a driver is present."""
        terms = self._lifetimes.terms
        self._monitor = Monitor(
            self._connections.first,
            interval=terms.telemetry_interval,
            beat=min(LONGEST_BEAT, terms.linger / 3),
            mount=mount,
            hear=self._heard,
            traced=self._traced,
            kept=self._kept,
            broken=self._lease.connection_broke,
            failed=self._telemetry_failed,
        )
        self._monitor.start()

    def unwatch(self) -> None:
        """Stop receiving telemetry."""
        if self._monitor is not None:
            self._monitor.close()

    def _heard(self, sample: Sample | None) -> None:
        with contextlib.suppress(RemoteError):  # the next node that uses the pod will see the error
            self._lifetimes.bridge(self._lease)
        for run in [run for run in self._present if not run.log.is_closed]:
            if sample is not None:
                run.log.telemetry(sample, run.use.gpus, rank=self._lease.rank or 0)
            silence = run.deadlines.silence
            if silence is not None and not self._lease.rank and silence.has_hung(sample):
                silence.diagnose(self._connections.of(run))

    def _traced(self, line: str) -> None:
        if self._lease.rank is not None:
            line = f"rank {self._lease.rank}: {line}"
        self._trace.append(line)
        for run in self._present:
            run.log.trace(line)

    def _kept(self, name: str, text: str) -> None:
        """Keep a text about the pod in the folder of the run."""
        run, pod = self._latest, self._lease.pod
        if run is None or pod is None:
            return
        if name == PACKAGES:  # pods of one image have the same packages: one file is enough
            text = without_passwords(text)
            import hashlib

            file_name = f"packages-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
        else:
            file_name = f"{_NOT_IN_NAMES.sub('_', pod.id)[:64]}-{name}.txt"
        self._lease.kept[name] = run.log.keep_of_pod(file_name, text)

    def _telemetry_failed(self, error: Exception) -> None:
        if self._latest is not None:
            pod = self._lease.pod.id if self._lease.pod else self._lease.name
            self._latest.events.notice(f"telemetry of pod {pod}: {type(error).__name__}: {error}")
