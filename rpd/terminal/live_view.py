"""A live run on the screen: lines for finished nodes, and on an interactive terminal a board for running ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from rpd.config import Config
from rpd.errors import Cause, code_in_words
from rpd.hooks import hookimpl
from rpd.redaction import NO_SECRETS, Redactor
from rpd.terminal import board, end_summary
from rpd.terminal.board_rows import Rows
from rpd.terminal.pod_lines import Line, PodLines
from rpd.terminal.progress import Progress
from rpd.terminal.styles import fit_middle, money
from rpd.terminal.view import View
from rpd.threads import Repeater
from rpd.uptime import uptime
from rpd.values.duration import format_duration
from rpd.values.frozen import replace
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.pod import PodInfo
from rpd.values.report import NodeReport, RunSummary
from rpd.values.step import Step
from rpd.values.telemetry import Sample

_LONGEST_PREFIX = 32
PULSE_SECONDS = 300.0
"""How often a log tells how far the run has come; a CI server takes a job that is silent for long for hung."""

_STOPPING = {
    "drain": "starting nothing new: ",
    "end": "ending running commands: ",
    "abandon": "releasing all pods now: ",
}


class LiveView(View):
    """Draws a run in progress. ``Rows`` keeps the state that events change; ``PodLines`` chooses the lines."""

    def __init__(
        self,
        config: Config,
        file: TextIO | None = None,
        *,
        redactor: Redactor = NO_SECRETS,
        clock: Callable[[], float] = uptime,
        environ: Mapping[str, str] = os.environ,
        pulse_seconds: float = PULSE_SECONDS,
    ) -> None:
        super().__init__(config, file, redactor=redactor, clock=clock, environ=environ)
        self._budget = config.money.budget
        self._streams = not config.output.capture or config.output.verbose > 0
        self._rows = Rows(self._ink, clock, tells_lines=self._streams)
        self._pod_lines = PodLines(
            self._level, is_interactive=self._screen.is_interactive, ends_with_run=config.run.local
        )
        self._progress = Progress()
        self._pinned: dict[str, str] = {}
        """By node: what is to be seen of those that did not pass while the run goes on."""
        self._names_jobs = True
        """Whether rows name the job: where there is only one, its parameters tell more."""
        self._stopping = ""
        self._pulse = Repeater(self._tell_progress, seconds=pulse_seconds, name="rpd-pulse")

    def close(self) -> None:
        """Remove the board and show the cursor again."""
        super().close()
        self._pulse.stop()
        self._screen.stop_board()

    @hookimpl
    def rpd_run_started(
        self, config: Config, plan: Plan, backend: str, folder: Path | None, done: Sequence[NodeReport]
    ) -> None:
        """Write the head."""
        self._progress = Progress(
            plan.nodes,
            ahead=plan.most - len(plan.nodes),
            now=self._clock(),
            worst_case_usd=plan.worst_case_usd,
            budget_usd=self._budget,
        )
        self._names_jobs = len({node.definition for node in plan.kinds}) > 1
        super().rpd_run_started(config, plan, backend, folder, done)

    def _facts(self, plan: Plan) -> list[str]:
        at_once = [f"{plan.width} at a time"] if plan.most > 1 else []
        return [*at_once, f"worst case {money(plan.worst_case_usd)}"]

    @hookimpl
    def rpd_nodes_added(self, nodes: Sequence[Node], ahead: int) -> None:
        """Count nodes that join."""
        with self._lock:
            self._progress.expect(ahead)
            for node in nodes:
                self._progress.add(node)

    # --- the board --------------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_node_started(self, node: Node) -> None:
        """Put the node on the board."""
        with self._lock:
            self._rows.begin(node.id, node.name if self._names_jobs else node.case or node.name)
            self._progress.begin(node, self._clock())
        if self._level >= 1:
            self._tell("START", node.id)
        if self._level > -2:
            self._screen.start_board(self._draw)
        if self._level >= 0 and not self._screen.is_interactive:
            with suppress(RuntimeError):  # the system has no thread left for this process
                self._pulse.start()

    def _draw(self) -> str:
        with self._lock:
            return board.draw(
                self._rows.all(),
                now=self._clock(),
                width=self._screen.width,
                height=self._screen.height,
                pinned=list(self._pinned.values()),
                footer=self._footer(),
                ink=self._ink,
            )

    def _footer(self) -> list[str]:
        """Return how far the run has come: nodes and time, then money."""
        counts = self._stopping + self._progress.counts(self._clock())
        spent = self._progress.money(running_usd=self._rows.usd, usd_per_hr=self._rows.usd_per_hr)
        return [counts, spent] if self._progress.total > 1 else [f"{counts} · {spent}"]

    def _tell_progress(self) -> None:
        with self._lock:
            footer = "; ".join(self._footer())
        self._screen.line(self._ink(f"rpd: {footer}", "bold"))

    @hookimpl
    def rpd_stopping(self, how: str) -> None:
        """Keep in sight, below the board, how the run is cut short."""
        with self._lock:
            self._stopping = _STOPPING[how]
            self._progress.cut_short(is_ending=how != "drain")

    # --- pods -------------------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_pod_event(self, pod_name: str, event: str, detail: dict[str, Any]) -> None:
        """Show the progress of a pod in the row of the node that waits for it."""
        node_id = detail.get("node", "")
        self._rows.pod_event(node_id, event, detail)
        with self._lock:
            line = self._pod_lines.event(node_id or pod_name, event, detail)
        self._tell_line(node_id or pod_name, line)

    @hookimpl
    def rpd_pod_ready(self, node: Node | None, pod: PodInfo) -> None:
        """Note its GPU, place and price."""
        node_id = node.id if node is not None else ""
        waited = self._rows.pod_ready(node_id, pod)
        with self._lock:
            line = self._pod_lines.ready(node_id, pod, waited)
        self._tell_line(node_id or pod.name, line)

    def _tell_line(self, who: str, line: Line | None) -> None:
        if line is not None:
            self._tell(line.word, who, line.text, line.style)

    @hookimpl
    def rpd_pod_joined(self, node: Node, pod: PodInfo, share: float) -> None:
        """Note where a node is that shares a pod."""
        self._rows.pod_joined(node.id, pod, share)

    @hookimpl
    def rpd_telemetry(self, node: Node, sample: Sample) -> None:
        """Show how busy its GPUs are in the node's row."""
        self._rows.utilization(node.id, sample.utilization)

    @hookimpl
    def rpd_metric(self, node: Node, name: str, value: float) -> None:
        """Show the newest value in the node's row."""
        self._rows.metric(node.id, name, value)

    # --- steps ------------------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_step_started(self, node: Node, step: Step) -> None:
        """Show the step in the node's row."""
        self._rows.step_started(node.id, step)
        if self._level >= 1:
            self._tell(step.kind.upper(), node.id, step.command, "cyan")

    @hookimpl
    def rpd_transfer_progress(self, node: Node, done: int, total: int) -> None:
        """Show how much was sent, and how fast, in the node's row."""
        self._rows.sent(node.id, done, total)

    @hookimpl
    def rpd_step_output(self, node: Node, data: bytes) -> None:
        """Show the node's last line; stream all lines with ``-s`` or ``-v``."""
        self._stream(node, self._rows.output(node.id, data))

    @hookimpl
    def rpd_step_mark(self, node: Node, name: str) -> None:
        """Show the part that the command announces, before its last line."""
        self._rows.mark(node.id, name)
        if name and self._level >= 1:
            self._tell("STEP", node.id, name, "cyan")

    def _stream(self, node: Node, lines: Sequence[str]) -> None:
        if self._streams and lines:
            prefix = self._ink(
                f"{fit_middle(self._ink.legible(node.name), _LONGEST_PREFIX).rstrip()} |", "cyan"
            )
            self._screen.lines([f"{prefix} {self._ink.streamed(line)}".rstrip() for line in lines])

    @hookimpl
    def rpd_step_finished(self, node: Node, step: Step) -> None:
        """End a line of output that the step left open."""
        self._stream(node, self._rows.step_finished(node.id))
        if self._level >= 1:
            code = "" if step.exit_code is None else f"exit code {code_in_words(step.exit_code)}, "
            self._tell("DONE", node.id, f"{step.kind} in {code}{format_duration(step.seconds)}")

    # --- finished nodes ---------------------------------------------------------------------------------------------

    def _over(self, node: Node, report: NodeReport) -> str:
        """Remove a node from the board; one that did not pass stays in sight."""
        result = report.result
        self._progress.end(node, report, self._clock())
        self._pinned.pop(node.id, None)
        if not result.outcome.is_ok and result.cause is not Cause.INTERRUPTED:
            reason = end_summary.because(report).partition("\n")[0]
            self._pinned[node.id] = f"{result.outcome.upper():<8} {self._ink.legible(node.name)}  {reason}"
        self._rows.end(node.id)
        total = self._progress.total
        return f"  [{self._progress.done}/{total}]" if total > 1 else ""

    def _sections(self, reports: Sequence[NodeReport], summary: RunSummary) -> Iterable[str]:
        wrong = self._end.wrong_sort(reports)
        if wrong:
            self.rpd_notice(wrong)
        yield from self._end.failures(reports)
        yield from self._end.results(reports)
        yield from self._end.lists(reports, self._notices)
        yield from self._end.pods_left(summary)
        yield from self._end.next_steps(replace(summary, reports=tuple(reports)))

    def _last_line(self, summary: RunSummary) -> str:
        return end_summary.last_line(
            summary, width=self._screen.width, ink=self._ink, crop=self._screen.is_interactive
        )
