"""The rows of the board: the state of each running node, updated by its events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from rpd.terminal.board import Row
from rpd.terminal.line_buffer import LastLine, OutputLines
from rpd.terminal.styles import Ink, short_gpu
from rpd.values.pod import PodInfo
from rpd.values.step import Step, StepKind

_POD_STATES = {
    "intent": "creating",
    "refused": "refused",
    "created": "booting",
    "ready": "ready",
    "lost": "lost",
}
_STEP_STATES = {
    StepKind.RUN: "running",
    StepKind.PUT: "sending",
    StepKind.PULL: "pulling",
    StepKind.WRITE: "sending",
    StepKind.READ: "reading",
}
_MOST_VALUES = 128
"""Of a series that are kept for its curve; of more, every other one is dropped."""


class Rows:
    """A row for each running node, by its id. Events of nodes without a row are ignored. Thread-safe.

    ``clock`` counts seconds. Without ``tells_lines`` output is not streamed, and ``output`` returns no lines.
    """

    def __init__(self, ink: Ink, clock: Callable[[], float], *, tells_lines: bool = True) -> None:
        self._ink = ink
        self._tells_lines = tells_lines
        self._clock = clock
        self._lock = threading.RLock()
        self._rows: dict[str, Row] = {}
        self._outputs: dict[str, OutputLines | LastLine] = {}
        self._transfers: dict[str, tuple[float, int, int]] = {}
        """By node: since when something is sent, how many bytes went over, and how many had when that began."""

    def all(self) -> list[Row]:
        """Return the rows, the oldest first."""
        with self._lock:
            return list(self._rows.values())

    @property
    def usd(self) -> float:
        """The cost of the running nodes so far, in USD."""
        now = self._clock()
        return sum(row.usd(now) for row in self.all())

    @property
    def usd_per_hr(self) -> float:
        """The present price of their pods per hour, in USD."""
        return sum(row.usd_per_hr for row in self.all() if row.billed_since is not None)

    # --- nodes ------------------------------------------------------------------------------------------------------

    def begin(self, node_id: str, name: str) -> None:
        """Enter a node, called ``name``."""
        with self._lock:
            self._rows[node_id] = Row(name=self._ink.legible(name), since=self._clock())
            self._outputs[node_id] = self._new_output()

    def end(self, node_id: str) -> None:
        """Take a node off."""
        with self._lock:
            self._rows.pop(node_id, None)
            self._outputs.pop(node_id, None)

    # --- pods -------------------------------------------------------------------------------------------------------

    def pod_event(self, node_id: str, event: str, detail: Mapping[str, Any]) -> None:
        """Show the progress of the pod that a node waits for, and count its cost."""
        with self._lock:
            row = self._rows.get(node_id)
            if row is None:
                return
            offer, reason = str(detail.get("offer") or ""), str(detail.get("reason") or "")
            row.state = _POD_STATES.get(event, row.state)
            row.last_line = self._ink.legible(": ".join(filter(None, (offer, reason)))) or row.last_line
            if event in ("intent", "created"):
                row.billed_since = row.billed_since or self._clock()
            if event == "intent":
                row.utilization = None
            if event == "refused":
                row.billed_since = None
            if event in ("released", "lost"):  # another attempt may follow
                row.usd_before, row.billed_since = row.usd(self._clock()), None
            if detail.get("usd_per_hr"):
                row.usd_per_hr = float(detail["usd_per_hr"])

    def pod_ready(self, node_id: str, pod: PodInfo) -> float | None:
        """Note which pod a node has; return how many seconds it waited for it, None for a node without a row."""
        with self._lock:
            row = self._rows.get(node_id)
            if row is None:
                return None
            row.state, row.last_line = "ready", ""
            row.billed_since = row.billed_since or self._clock()
            _place(row, pod)
            return self._clock() - row.billed_since

    def pod_joined(self, node_id: str, pod: PodInfo, share: float) -> None:
        """Note the pod that a node shares; the node pays its part of the price from its own start."""
        with self._lock:
            row = self._rows.get(node_id)
            if row is not None:
                row.billed_since = row.since if row.billed_since is None else row.billed_since
                _place(row, pod, share)

    def utilization(self, node_id: str, percent: float | None) -> None:
        """Show how busy the GPUs of a node are."""
        with self._lock:
            row = self._rows.get(node_id)
            if row is not None:
                row.utilization = percent

    def metric(self, node_id: str, name: str, value: float) -> None:
        """Show the newest value of the first series of a node, with its curve."""
        with self._lock:
            row = self._rows.get(node_id)
            if row is None:
                return
            row.metric = row.metric or self._ink.legible(name)
            if row.metric == self._ink.legible(name):
                row.values.append(value)
                if len(row.values) > _MOST_VALUES:
                    row.values[:-1] = row.values[:-1:2]

    # --- steps ------------------------------------------------------------------------------------------------------

    def step_started(self, node_id: str, step: Step) -> None:
        """Show the step that a node takes."""
        with self._lock:
            row = self._rows.get(node_id)
            if row is not None:
                row.mark = ""
                row.state = _STEP_STATES[step.kind]
                row.last_line = self._ink.legible(step.command.partition("\n")[0])

    def mark(self, node_id: str, name: str) -> None:
        """Show the part that a command announces, before its last line."""
        with self._lock:
            row = self._rows.get(node_id)
            if row is not None:
                row.mark = self._ink.legible(name)
                row.last_line = "" if row.last_line.startswith("::rpd-step") else row.last_line

    def sent(self, node_id: str, done: int, total: int) -> None:
        """Show how many of ``total`` bytes were sent, and how fast."""
        with self._lock:
            row, now = self._rows.get(node_id), self._clock()
            before = self._transfers.get(node_id)
            if before is None or done < before[1]:  # a new one, or sent again from the start
                before = (now, done, done)
            since, _, first = before
            self._transfers[node_id] = (since, done, first)
            rate = (done - first) / (now - since) if now > since else 0.0
            if row is not None:
                speed = f", {rate / 1e6:.3g} MB/s" if rate else ""
                row.last_line = f"staging {done / 1e6:.0f}/{total / 1e6:.0f} MB{speed}"

    def output(self, node_id: str, data: bytes) -> list[str]:
        """Show the last line of a node's output; return the lines that are complete now."""
        with self._lock:
            feed = self._outputs.setdefault(node_id, self._new_output())
            lines = feed.feed(data)
            row = self._rows.get(node_id)
            newest = self._ink.legible(feed.unfinished or (lines[-1] if lines else ""))
            if row is not None and newest.strip():
                row.last_line = newest
        return lines

    def _new_output(self) -> OutputLines | LastLine:
        return OutputLines() if self._tells_lines else LastLine()

    def step_finished(self, node_id: str) -> list[str]:
        """Return the line of output that the step left open, if it did."""
        with self._lock:
            self._transfers.pop(node_id, None)
            feed = self._outputs.get(node_id)
            return feed.flush() if feed else []


def _place(row: Row, pod: PodInfo, share: float = 1.0) -> None:
    row.gpu, row.datacenter = gpu_of(pod), pod.datacenter or ""
    row.usd_per_hr = (pod.usd_per_hr or row.usd_per_hr) * share


def gpu_of(pod: PodInfo) -> str:
    """Return ``2x H100 80GB HBM3``, or ``CPU``."""
    gpu = short_gpu(pod.gpu or "CPU")
    if pod.is_cluster:
        each = pod.gpu_count // pod.nodes
        return f"{pod.nodes} nodes of {each}x {gpu}" if each > 1 else f"{pod.nodes} nodes of {gpu}"
    return f"{pod.gpu_count}x {gpu}" if pod.gpu and pod.gpu_count > 1 else gpu
