"""The plugin that draws a run while it goes on."""

from __future__ import annotations

import atexit
import os
import platform
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len

import rpd
from rpd.config import Config
from rpd.errors import Cause
from rpd.hooks import hookimpl
from rpd.redaction import NO_SECRETS, Redactor
from rpd.terminal import board, dryrun, end_summary, end_tables, next_steps, results
from rpd.terminal.board import Row
from rpd.terminal.line_buffer import OutputLines
from rpd.terminal.progress import Progress
from rpd.terminal.screen import Screen
from rpd.terminal.styles import (
    OUTCOME_STYLES,
    counted,
    fit_middle,
    money,
    rule,
    short_gpu,
    shorten,
)
from rpd.threads import Repeater
from rpd.values.dryrun import DryRunNode, Outlook
from rpd.values.duration import format_duration
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.pod import PodInfo
from rpd.values.report import NodeReport, Outcome, PodRecord, RunSummary
from rpd.values.sort_order import Ranking, missing, ranked
from rpd.values.step import Step, StepKind
from rpd.values.telemetry import Sample

_LONGEST_PREFIX = 32
_WORD = 8
"""Columns of the word that begins a line, with the gap."""
_SHORTEST_ID = 24
PULSE_SECONDS = 300.0
"""How often a log tells how far the run has come; a CI server takes a job that is silent for long for hung."""
_BATCH = 2000
"""Nodes of a quiet dry run that are written at once."""

_STOPPING = {
    "drain": "starting nothing new: ",
    "end": "ending what runs: ",
    "abandon": "releasing all pods now: ",
}
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


class Terminal:
    """Draws a run on ``file``: lines for what is over, on an interactive terminal a board for what goes on.

    Hooks may be called from any thread. Secrets are masked in every line. ``clock`` counts seconds.
    ``close`` gives the terminal back and may be called at any time and more than once.
    """

    def __init__(
        self,
        config: Config,
        file: TextIO | None = None,
        *,
        redactor: Redactor = NO_SECRETS,
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] = os.environ,
        pulse_seconds: float = PULSE_SECONDS,
    ) -> None:
        self._config = config
        self._clock = clock
        self._screen = Screen(
            file or sys.stdout, color=config.output.color, redactor=redactor, environ=environ
        )
        self._ink = self._screen.ink
        self._level = config.output.verbose - config.output.quiet
        self._streams = not config.output.capture or config.output.verbose > 0
        self._lock = threading.RLock()
        self._started = clock()
        self._deselected = 0
        self._planned: dict[str, int] = {}
        self._rows: dict[str, Row] = {}
        self._outputs: dict[str, OutputLines] = {}
        self._transfers: dict[str, tuple[float, int, int]] = {}
        """By node: since when something is sent, how many bytes went over, and how many had when that began."""
        self._outcomes: dict[str, Outcome] = {}
        self._progress = Progress()
        self._pinned: dict[str, str] = {}
        """By node: what is to be seen of those that did not pass while the run goes on."""
        self._names_jobs = True
        """Whether rows name the job: where there is only one, its parameters tell more."""
        self._refusals: dict[str, set[str]] = {}
        """By node: the offers that were refused to it since it began."""
        self._waits: set[str] = set()
        """The nodes of which it was told that they wait for stock."""
        self._batch: list[str] = []
        self._notices: list[str] = []
        self._dry_usd = 0.0
        self._dry_unknown = 0
        self._outlooks: dict[str, Outlook] = {}
        """By node: whether a live dry run found its pod in stock."""
        self._stopping = ""
        self._pulse = Repeater(self._tell_progress, seconds=pulse_seconds, name="rpd-pulse")
        atexit.register(self.close)

    def close(self) -> None:
        """Write what waits, remove the board and show the cursor again."""
        atexit.unregister(self.close)
        self._pulse.stop()
        self._screen.stop_board()
        self._flush_batch()

    # --- the beginning --------------------------------------------------------------------------------------

    @hookimpl
    def rpd_collected(self, deselected: int) -> None:
        """Remember how many nodes were deselected, for the header."""
        self._deselected = deselected

    @hookimpl
    def rpd_run_started(
        self, config: Config, plan: Plan, backend: str, folder: Path | None, done: Sequence[NodeReport]
    ) -> None:
        """Write the header."""
        self._started = self._clock()
        nodes = plan.nodes
        self._planned = {node.id: number for number, node in enumerate(nodes)}
        self._progress = Progress(
            nodes, now=self._started, worst_case_usd=plan.worst_case_usd, budget_usd=config.money.budget
        )
        self._names_jobs = len({node.definition for node in nodes}) > 1
        if config.output.print_run_dir and folder:
            self._screen.line(str(folder))
        if self._level < 0 or config.output.no_header:
            return
        ink, width = self._ink, self._screen.width
        python = f"Python {platform.python_version()}"
        facts = [counted(len(nodes), "node")]
        cached = sum(report.result.word == "cached" for report in done)
        aside = [(self._deselected - cached, "deselected"), (cached, "cached"), (len(done) - cached, "over")]
        if told := [f"{number} {word}" for number, word in aside if number > 0]:
            facts[0] += f" ({', '.join(told)})"
        if len(nodes) > 1 and not config.run.dry_run:
            facts.append(f"{plan.width} at once")
        if not config.run.dry_run:
            facts.append(f"worst case {money(plan.worst_case_usd)}")
        where = f"root: {config.rootdir}"
        if config.config_file:
            where += f", configuration: {config.config_file.name}"
        self._screen.lines(
            [
                ink(rule("rpd dry run" if config.run.dry_run else "rpd run", "=", width), "bold"),
                ink(f"rpd {rpd.__version__}, {python}, backend: {backend}"),
                ink(where),
                *([ink(f"run folder: {ink.relative(folder)}")] if folder else []),
                ink(", ".join(facts), "bold"),
                "",
            ]
        )

    # --- nodes ----------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_node_started(self, node: Node) -> None:
        """Put the node on the board."""
        if self._config.run.dry_run:
            return
        with self._lock:
            now = self._clock()
            name = node.name if self._names_jobs else node.case or node.name
            self._rows[node.id] = Row(name=self._ink.legible(name), since=now)
            self._outputs[node.id] = OutputLines()
            self._progress.begin(node, now)
        if self._level >= 1:
            self._tell("START", node.id)
        if self._level > -2:
            self._screen.start_board(self._draw)
        if self._level >= 0 and not self._screen.is_interactive:
            self._pulse.start()

    def _draw(self) -> str:
        with self._lock:
            return board.draw(
                list(self._rows.values()),
                now=self._clock(),
                width=self._screen.width,
                height=self._screen.height,
                pinned=list(self._pinned.values()),
                footer=self._footer(),
                ink=self._ink,
            )

    def _footer(self) -> list[str]:
        """Return how far the run has come: nodes and time, then money."""
        now = self._clock()
        rows = self._rows.values()
        running_usd = sum(row.usd(now) for row in rows)
        usd_per_hr = sum(row.usd_per_hr for row in rows if row.billed_since is not None)
        counts = self._stopping + self._progress.counts(now)
        told_money = self._progress.money(running_usd=running_usd, usd_per_hr=usd_per_hr)
        return [counts, told_money] if len(self._planned) > 1 else [f"{counts} · {told_money}"]

    def _tell_progress(self) -> None:
        with self._lock:
            told = "; ".join(self._footer())
        self._screen.line(self._ink(f"rpd: {told}", "bold"))

    def _tell(self, word: str, node_id: str, text: str = "", style: str = "") -> None:
        told = f"{node_id}  {text}" if text else node_id
        self._screen.line(f"{self._ink(f'{word:<{_WORD - 1}}', style)} {self._ink(told)}")

    # --- pods -----------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_pod_event(self, pod_name: str, event: str, detail: dict[str, Any]) -> None:
        """Show what becomes of a pod in the row of the node that waits for it."""
        with self._lock:
            node_id = detail.get("node", "")
            row = self._rows.get(node_id)
            offer, reason = str(detail.get("offer") or ""), str(detail.get("reason") or "")
            if row is not None:
                row.state = _POD_STATES.get(event, row.state)
                row.last_line = self._ink.legible(f"{offer}: {reason}" if reason else offer) or row.last_line
                if event in ("intent", "created"):
                    row.billed_since = row.billed_since or self._clock()
                if event == "intent":
                    row.utilization = None
                if event == "refused":
                    row.billed_since = None
                if event in ("released", "lost"):  # another attempt may come
                    row.usd_before, row.billed_since = row.usd(self._clock()), None
                if detail.get("usd_per_hr"):
                    row.usd_per_hr = float(detail["usd_per_hr"])
            told = self._told_of_pod(event, node_id or pod_name, offer, reason, detail)
        if told is not None:
            word, text, style = told
            self._tell(word, node_id or pod_name, text, style)

    def _told_of_pod(
        self, event: str, who: str, offer: str, reason: str, detail: Mapping[str, Any]
    ) -> tuple[str, str, str] | None:
        """Return word, text and style of the line an event deserves, None where the board is enough."""
        pod = str(detail.get("pod_id") or "")
        match event:
            case "refused":
                known = self._refusals.setdefault(who, set())
                is_news = offer not in known
                known.add(offer)
                # There may be hundreds: of how many is told where the node waits, gets its pod, or ends without one.
                if is_news and self._level >= 1:
                    return "REFUSED", f"{offer}: {reason}" if reason else offer, "yellow"
            case "waiting" if who not in self._waits and self._is_log:
                self._waits.add(who)
                if reason:
                    return "WAITING", f"{reason}; it waits until a pod of this run is given back", "yellow"
                left = format_duration(float(detail.get("seconds_left") or 0))
                return (
                    "WAITING",
                    f"{counted(int(detail.get('refused') or 0), 'offer')} refused; it goes on asking for {left}",
                    "yellow",
                )
            case "created" if self._level >= 1:
                return "CREATED", f"pod {pod}: {offer}", ""
            case "released" if self._level >= 1:
                return "GONE", f"pod {pod} {detail.get('final_state', '')}".rstrip(), ""
            case "lost" if self._level > -2:
                return "LOST", f"pod {pod} {reason}".rstrip(), "red"
            case "kept" if self._config.run.local:
                return None  # it ends with the run; where and until when is told in a sentence of its own
            case "kept" if self._level > -2:
                return "KEPT", f"pod {pod} goes on billing; release it: rpd stop {pod}", "yellow"
            case "unreleased":
                return (
                    "UNSURE",
                    f"pod {pod} may still bill ({reason}); release it: rpd stop {pod}",
                    "bold red",
                )
        return None

    @property
    def _is_log(self) -> bool:
        """Whether what goes on is told in lines: where there is no board to show it, and with ``-v``."""
        return self._level >= 1 or (self._level == 0 and not self._screen.is_interactive)

    @hookimpl
    def rpd_pod_ready(self, node: Node | None, pod: PodInfo) -> None:
        """Note which GPU it is, where, and what it costs."""
        node_id = node.id if node is not None else ""
        with self._lock:
            row = self._rows.get(node_id)
            waited = ""
            if row is not None:
                row.state, row.last_line = "ready", ""
                row.billed_since = row.billed_since or self._clock()
                self._place(row, pod)
                waited = f", ready after {format_duration(self._clock() - row.billed_since)}"
        place = " ".join(part for part in (_gpu_of(pod), pod.datacenter or "") if part)
        with self._lock:
            refused = len(self._refusals.pop(node_id, ()))
            self._waits.discard(node_id)
        if refused:
            waited += f", {counted(refused, 'offer')} refused before"
        if self._is_log:
            rate = "" if pod.usd_per_hr is None else f" ${pod.usd_per_hr:.2f}/h"
            self._tell("READY", node_id or pod.name, f"{place}{rate}{waited}", "cyan")

    @hookimpl
    def rpd_pod_joined(self, node: Node, pod: PodInfo, share: float) -> None:
        """Note where a node is that shares a pod; it bears its part of what that costs since it began itself."""
        with self._lock:
            row = self._rows.get(node.id)
            if row is not None:
                row.billed_since = row.since if row.billed_since is None else row.billed_since
                self._place(row, pod, share)

    @staticmethod
    def _place(row: Row, pod: PodInfo, share: float = 1.0) -> None:
        row.gpu, row.datacenter = _gpu_of(pod), pod.datacenter or ""
        row.usd_per_hr = (pod.usd_per_hr or row.usd_per_hr) * share

    @hookimpl
    def rpd_telemetry(self, node: Node, sample: Sample) -> None:
        """Show how busy its GPUs are in the node's row."""
        with self._lock:
            row = self._rows.get(node.id)
            if row is not None:
                row.utilization = sample.utilization

    # --- steps ----------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_step_started(self, node: Node, step: Step) -> None:
        """Show the step in the node's row."""
        if self._config.run.dry_run:
            return
        with self._lock:
            row = self._rows.get(node.id)
            if row is not None:
                row.mark = ""
                row.state = _STEP_STATES[step.kind]
                row.last_line = self._ink.legible(step.command.partition("\n")[0])
        if self._level >= 1:
            self._tell(step.kind.upper(), node.id, step.command, "cyan")

    @hookimpl
    def rpd_transfer_progress(self, node: Node, done: int, total: int) -> None:
        """Show how much was sent, and how fast, in the node's row."""
        with self._lock:
            row, now = self._rows.get(node.id), self._clock()
            before = self._transfers.get(node.id)
            if before is None or done < before[1]:  # a new one, or sent again from the start
                before = (now, done, done)
            since, _, first = before
            self._transfers[node.id] = (since, done, first)
            rate = (done - first) / (now - since) if now > since else 0.0
            if row is not None:
                fast = f", {rate / 1e6:.3g} MB/s" if rate else ""
                row.last_line = f"staging {done / 1e6:.0f}/{total / 1e6:.0f} MB{fast}"

    @hookimpl
    def rpd_step_output(self, node: Node, data: bytes) -> None:
        """Show the node's last line; stream all lines with ``-s`` or ``-v``."""
        with self._lock:
            feed = self._outputs.setdefault(node.id, OutputLines())
            lines = feed.feed(data)
            row = self._rows.get(node.id)
            newest = self._ink.legible(feed.unfinished or (lines[-1] if lines else ""))
            if row is not None and newest.strip():
                row.last_line = newest
        self._stream(node, lines)

    @hookimpl
    def rpd_step_mark(self, node: Node, name: str) -> None:
        """Show what the command says that it does before its last line."""
        with self._lock:
            row = self._rows.get(node.id)
            if row is not None:
                row.mark = self._ink.legible(name)
                row.last_line = "" if row.last_line.startswith("::rpd-step") else row.last_line
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
        if self._config.run.dry_run:
            return
        with self._lock:
            self._transfers.pop(node.id, None)
            feed = self._outputs.get(node.id)
            rest = feed.flush() if feed else []
        self._stream(node, rest)
        if self._level >= 1:
            code = "" if step.exit_code is None else f"exit code {step.exit_code}, "
            self._tell("DONE", node.id, f"{step.kind} in {code}{format_duration(step.seconds)}")

    # --- reports --------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_node_report(self, node: Node, report: NodeReport) -> None:
        """Write the line of a node that is over, and take it off the board."""
        if self._config.run.dry_run and report.result.outcome is Outcome.PASSED:
            return  # what it would do was told already, and there may be thousands
        outcome = report.result.outcome
        with self._lock:
            before = self._outcomes.get(node.id)
            self._outcomes[node.id] = outcome
            self._progress.end(node, report, self._clock())
            self._pinned.pop(node.id, None)
            if not outcome.is_ok and report.result.cause is not Cause.INTERRUPTED:
                reason = end_summary.because(report).partition("\n")[0]
                self._pinned[node.id] = f"{outcome.upper():<8} {self._ink.legible(node.name)}  {reason}"
            self._rows.pop(node.id, None)
            self._outputs.pop(node.id, None)
            done = self._progress.done
        is_news = before is None or before is not outcome
        if is_news and self._is_told(report):
            self._tell_report(report, done)

    def _is_told(self, report: NodeReport) -> bool:
        is_ok, is_skipped = report.result.outcome.is_ok, report.result.outcome is Outcome.SKIPPED
        if self._config.run.dry_run:
            return self._level > -2 and (not is_ok or (is_skipped and self._level >= 0))
        return self._level >= 0 or (self._level == -1 and not is_ok)

    def _tell_report(self, report: NodeReport, done: int) -> None:
        result, pod = report.result, report.pod
        usd = "" if pod is None else f" {money(report.cost.estimated_usd)}"
        how_many = (
            f"  [{done}/{len(self._planned)}]"
            if len(self._planned) > 1 and not self._config.run.dry_run
            else ""
        )
        text = f"{format_duration(result.seconds)}{usd}{how_many}"
        place = _place_of(pod) if pod is not None else ""
        # Where there is little room, where it ran goes first: what is left of an id has to tell it from others.
        if place and (
            not self._screen.is_interactive or self._room_beside(f"{place}  {text}") >= _SHORTEST_ID
        ):
            text = f"{place}  {text}"
        self._flush_batch()
        self._tell(
            result.outcome.upper(), self._cropped(report.node.id, text), text, OUTCOME_STYLES[result.outcome]
        )
        is_told_once = (
            result.cause is Cause.INTERRUPTED and self._level < 1
        )  # there was a sentence for all of them
        if result.outcome is not Outcome.PASSED and (result.cause or result.reason) and not is_told_once:
            because = end_summary.because(report).partition("\n")[0]
            self._screen.line(self._ink(f"        {self._cropped(because, ' ' * 6, at_end=True)}", "dim"))

    def _cropped(self, text: str, beside: str, *, at_end: bool = False) -> str:
        """Cut a text that would make the line wrap; for a person only, programs want all of it."""
        if not self._screen.is_interactive:
            return text
        room = max(self._room_beside(beside), 8)
        masked = self._ink.legible(text)
        if cell_len(masked) <= room:
            return masked
        return shorten(masked, room) if at_end else fit_middle(masked, room)

    def _room_beside(self, text: str) -> int:
        """Return how many columns are left for an id in a line with ``text``."""
        return self._screen.width - 1 - _WORD - 2 - cell_len(text)

    @hookimpl
    def rpd_stopping(self, how: str) -> None:
        """Keep in sight, below the board, how the run is cut short."""
        with self._lock:
            self._stopping = _STOPPING[how]
            self._progress.cut_short(is_ending=how != "drain")

    @hookimpl
    def rpd_notice(self, text: str) -> None:
        """Write a sentence for the person at the screen."""
        self._flush_batch()
        self._notices.append(text)
        lines = [f"rpd: {line}" for line in self._ink.legible(text).splitlines()]
        if self._screen.is_interactive:  # elsewhere a sentence stays on one line, for grep
            width = self._screen.width - 1
            lines = [part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="     ")]
        self._screen.lines([self._ink(line, "yellow") for line in lines])

    # --- dry run --------------------------------------------------------------------------------------------

    @hookimpl
    def rpd_dry_run_node(self, planned: DryRunNode) -> None:
        """Draw what would happen; with ``-q`` a line a node, in batches: there may be thousands."""
        if planned.worst_case_usd is None:
            self._dry_unknown += 1
        else:
            self._dry_usd += planned.worst_case_usd
        if planned.outlook is not None:
            self._outlooks[planned.node_id] = planned.outlook
        if self._level <= -2 or self._config.run.setup_plan:
            return
        if self._level >= 0:
            self._screen.lines([*dryrun.draw(planned, self._ink), ""])
            return
        self._batch.append(dryrun.one_line(planned))
        if len(self._batch) >= _BATCH:
            self._flush_batch()

    def _flush_batch(self) -> None:
        with self._lock:
            batch, self._batch = self._batch, []
        if batch:
            self._screen.line(self._ink.legible("\n".join(batch)))

    def _dry_total(self) -> str:
        if not self._dry_unknown:
            return money(self._dry_usd)
        return f"{money(self._dry_usd)} and {counted(self._dry_unknown, 'node')} of unknown price"

    # --- the end --------------------------------------------------------------------------------------------

    @hookimpl(trylast=True)
    def rpd_run_finished(self, config: Config, summary: RunSummary) -> None:
        """Write failures, tables, pods that are left, the short summary and the last line."""
        self.close()
        ink, width, verbose = self._ink, self._screen.width, self._level >= 1
        reports = sorted(
            summary.reports, key=lambda report: self._planned.get(report.node.id, len(self._planned))
        )
        lines: list[str] = []
        if self._level > -2:
            style = end_summary.Style(
                config.output.traceback, full=config.output.full_trace, log=config.output.show_capture != "no"
            )
            lines += end_summary.failures(reports, width=width, verbose=verbose, ink=ink, style=style)
            if end_tables.wants_passes(config.output.report_chars):
                lines += end_summary.passes(reports, width=width, ink=ink)
        if self._level >= 0 and not config.run.dry_run:
            lines += results.tables(self._ranked(reports), width=width, verbose=verbose, ink=ink)
        crop, chars = self._screen.is_interactive, config.output.report_chars
        if self._level > -2:
            lines += self._asked_for(reports)
            if not config.output.no_summary:
                lines += end_summary.short_summary(
                    reports, width=width, verbose=verbose, crop=crop, ink=ink, chars=chars
                )
        lines += end_summary.pods_left(summary, width=width, ink=ink)
        if self._level >= 0 and not config.run.dry_run and not config.output.no_summary:
            lines += self._next_steps(replace(summary, reports=tuple(reports)))
        if lines and self._level > -2:
            lines.append("")
        if self._outlooks:
            lines.append(ink(dryrun.could_be_rented(self._outlooks.values()), "bold"))
        dry_run_usd = self._dry_total() if config.run.dry_run else None
        lines.append(end_summary.last_line(summary, width=width, ink=ink, dry_run_usd=dry_run_usd, crop=crop))
        if config.output.print_run_dir and summary.folder:
            lines.append(summary.folder)
        self._screen.lines(lines)

    def _next_steps(self, summary: RunSummary) -> list[str]:
        found = list(next_steps.next_steps(self._config, summary, width=self._screen.width, ink=self._ink))
        return ["", *found] if found else []

    def _ranked(self, reports: Sequence[NodeReport]) -> Sequence[NodeReport]:
        """Return the reports as ``--sort`` wants them; a name that no report has is told, now that it is known."""
        if not self._config.output.sort:
            return reports
        ranking = Ranking.parse(self._config.output.sort)
        if wrong := missing(reports, ranking):
            self.rpd_notice(
                f"--sort {self._config.output.sort}: {wrong}. `rpd report --sort NAME` sorts them still"
            )
        return ranked(reports, ranking)

    def _asked_for(self, reports: Sequence[NodeReport]) -> list[str]:
        """Return the lists of ``--durations``, ``--costs`` and ``-rw``."""
        config, ink, width = self._config, self._ink, self._screen.width
        found: list[str] = []
        if config.output.durations is not None:
            least, every = config.output.durations_min, self._level >= 2
            found += end_tables.durations(
                reports, number=config.output.durations, least=least, verbose=every, width=width, ink=ink
            )
        if config.output.costs is not None:
            found += end_tables.costs(reports, number=config.output.costs, width=width, ink=ink)
        if end_tables.wants_notices(config.output.report_chars):
            found += end_tables.notices(self._notices, width=width, ink=ink)
        return found


def _place_of(pod: PodRecord) -> str:
    """Return ``2x H100 80GB HBM3 EU-RO-1``."""
    gpu = short_gpu(pod.gpu or "CPU")
    many = f"{pod.count}x {gpu}" if pod.count > 1 else gpu
    return f"{many} {pod.datacenter}" if pod.datacenter else many


def _gpu_of(pod: PodInfo) -> str:
    """Return ``2x H100 80GB HBM3``, or ``CPU``."""
    gpu = short_gpu(pod.gpu or "CPU")
    return f"{pod.gpu_count}x {gpu}" if pod.gpu and pod.gpu_count > 1 else gpu
