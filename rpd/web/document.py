"""The document: everything one page shows, as plain values that JSON can hold."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rpd
from rpd.disk.regular import is_regular, tail_of
from rpd.journal import journal
from rpd.journal.files import NodeFiles, folder_name
from rpd.pipeline.past_runs import PastRun, RunState
from rpd.record import manifest, spans
from rpd.record.rerun_command import again
from rpd.record.spans import Span, Way
from rpd.redaction import NO_SECRETS, Redactor
from rpd.values.frozen import frozen
from rpd.values.moments import moment
from rpd.values.report import ArtifactRecord, Failure, NodeReport, Outcome
from rpd.web import samples, studies
from rpd.web.clean import Clean
from rpd.web.file_links import Address, Gallery, absolute

VERSION = 1
TAIL_LINES = 40
_TAIL_BYTES = 32768
MOST_TAILS = 200
"""Nodes that did not pass whose logs are shown; each of the others names the command that prints it."""
_MOST_NEEDS = 50
MOST_STEPS = 2000
"""Steps that are listed in one page: of more, those of nodes that did not pass."""

Table = dict[str, Any]


@frozen
class Detail:
    """How much is shown of each node, so that a page of ten thousand stays usable."""

    points: int = 400
    """Of each curve."""
    buckets: int = 120
    """Of each strip of telemetry."""

    @classmethod
    def of(cls, nodes: int) -> Detail:
        """Return the detail for a page with so many nodes."""
        few = max(1, nodes)
        return cls(points=max(24, min(400, 200_000 // few)), buckets=max(16, min(120, 120_000 // few)))


@dataclass(slots=True)
class _Left:
    """The space left in this page."""

    tails: int = MOST_TAILS
    steps: int = MOST_STEPS
    notes: dict[str, None] = field(default_factory=dict)


class Document:
    """Makes the document of one page: ``runs`` in the order they are shown.

    ``address`` makes the link to a file.
    """

    def __init__(
        self, *, redactor: Redactor = NO_SECRETS, address: Address = absolute, title: str = ""
    ) -> None:
        self.clean = Clean(redactor)
        self._gallery = Gallery(self.clean, address)
        self._title = title
        self._left = _Left()

    def of(
        self,
        runs: Sequence[PastRun],
        notes: Iterable[str] = (),
        ranking: Table | None = None,
        *,
        whole: bool = True,
    ) -> Table:
        """Return the document; without ``whole``, only of nodes that have a report: the runs are parts of runs."""
        detail = Detail.of(sum(len(run.reports) for run in runs))
        nodes: list[Table] = []
        for number, run in enumerate(runs):
            nodes += (self.node(report, number, detail) for report in run.reports)
            if whole:
                nodes += self.going(run, number)
        notices = [*map(self.clean.text, notes), *self._left.notes]
        return {
            "version": VERSION,
            "rpd": rpd.__version__,
            "made": round(datetime.now(UTC).timestamp(), 3),
            "title": self.clean.text(self._title or ", ".join(run.info.id for run in runs) or "no runs"),
            "live": False,
            "runs": [self.run(run) for run in runs],
            "nodes": nodes,
            "studies": [
                study for number, run in enumerate(runs) for study in self.studies(run.info.folder, number)
            ],
            "ranking": ranking,
            "notes": notices,
        }

    def studies(self, folder: str, run: int) -> list[Table]:
        """Return the studies of a run: each with its first objective, and the keys of its trials proper."""
        return [
            {
                "run": run,
                "id": self.clean.text(study.id),
                "metric": self.clean.text(study.metric),
                "down": study.is_max,
                "nodes": [self._key(run, node_id) for node_id in study.trials],
            }
            for study in (studies.read(Path(folder)) if folder else ())
        ]

    def run(self, run: PastRun) -> Table:
        """Return the fields of a run as a whole."""
        info, summary, text = run.info, run.summary, self.clean.text
        return {
            "id": text(info.id),
            "state": run.state.value,
            "started": moment(info.started),
            "finished": moment(info.finished),
            "seconds": round(summary.seconds, 3),
            "usd": round(summary.estimated_usd, 6),
            "worst_usd": info.worst_case_usd,
            "command": text(shlex.join(["rpd", *info.argv])) if info.argv else "",
            "commit": text(info.git_sha or _commit(run.reports)),
            "branch": text(next((each.source.branch for each in run.reports if each.source.branch), "")),
            "dirty": any(report.source.dirty for report in run.reports),
            "backend": text(info.backend),
            "owner": text(info.owner),
            "rpd": text(info.rpd),
            "python": text(info.python),
            "folder": text(info.folder),
            "width": info.width,
            "planned": info.nodes or len(run.reports),
            "not_run": summary.not_run,
            "deselected": summary.deselected,
            "stopped": text(summary.stop_reason),
            "unreleased": [text(pod) for pod in summary.unreleased],
            "leftover": [text(pod) for pod in summary.leftover],
            "exit_code": info.exit_code,
            "damage": text(info.damage),
        }

    # --- nodes ------------------------------------------------------------------------------------------------------

    def node(self, report: NodeReport, run: int, detail: Detail) -> Table:
        """Return the fields of a node that has ended."""
        node, result, pod, text = report.node, report.result, report.pod, self.clean.text
        files = NodeFiles(Path(report.folder)) if report.folder else None
        fields: Table = {
            "key": self._key(run, node.id),
            "run": run,
            **self._who(node.id),
            "job": text(node.job),
            "place": text(f"{node.file}:{node.line}"),
            "params": self.clean.table(node.parameters),
            "metrics": self.clean.table(report.metrics),
            "outcome": result.word,
            "ok": result.outcome.is_ok,
            "cause": text(result.cause or ""),
            "reason": text(result.reason),
            "attempts": result.attempts,
            "started": moment(result.started),
            "finished": moment(result.finished),
            "seconds": round(result.seconds, 3),
            "usd": report.cost.estimated_usd,
            "rate": report.cost.rate_usd_per_hr,
            "gpu": text((pod.gpu or "CPU") if pod else ""),
            "count": pod.count if pod else 0,
            "datacenter": text(pod.datacenter if pod else ""),
            "pod": text(f"{pod.id} ({pod.final_state})" if pod else ""),
            "image": text(pod.image if pod else ""),
            "commit": text(report.source.git_sha),
            "environment": text(_environment(report)),
            "warning": text(report.environment.warning),
            "folder": text(report.folder),
            "spans": _rounded(self._spans(report, files)),
        }
        if node.needs:
            fields["needs"] = [text(need.rpartition("::")[2]) for need in node.needs[:_MOST_NEEDS]]
            if len(node.needs) > _MOST_NEEDS:
                fields["needs"].append(f"and {len(node.needs) - _MOST_NEEDS} more")
        if files is not None:
            fields |= self._measured(files, detail)
        if report.artifacts:
            fields["pulls"] = [self._pull(artifact) for artifact in report.artifacts]
        if artifacts := self._gallery.artifacts(report):
            fields["artifacts"] = artifacts
        if report.steps and (not result.outcome.is_ok or self._left.steps >= len(report.steps)):
            self._left.steps -= len(report.steps)
            fields["steps"] = [self._step(step) for step in report.steps]
        elif report.steps:
            self._left.notes["Steps are listed for the first nodes, and for all that did not pass."] = None
        if not result.outcome.is_ok:
            fields["failure"] = self._failure(report)
        return fields

    def _key(self, run: int, node_id: str) -> str:
        """Return the key that distinguishes nodes on the page: the name of the folder, unless that holds a secret."""
        name = folder_name(node_id)
        shown = name if self.clean.text(name) == name else hashlib.sha256(name.encode()).hexdigest()[:12]
        return f"{run}/{shown}"

    def _who(self, node_id: str) -> Table:
        file, _, name = node_id.partition("::")
        return {
            "id": self.clean.text(node_id),
            "file": self.clean.text(file),
            "name": self.clean.text(name or file),
        }

    def _spans(self, report: NodeReport, files: NodeFiles | None) -> list[Span]:
        phases: list[Span] = []
        if files is not None:
            phases = spans.of_events(journal.read(files.journal), moment(report.result.finished))
        started = moment(report.result.started)
        if not phases and started is not None:
            phases = spans.of_phases(started, report.result.phases)
        return phases

    def _measured(self, files: NodeFiles, detail: Detail) -> Table:
        fields: Table = {}
        if (strip := samples.strip(files.telemetry, detail.buckets)) is not None:
            fields["strip"] = strip
        if series := samples.curves(files.series, detail.points, self.clean):
            fields["series"] = series
        return fields

    def _pull(self, artifact: ArtifactRecord) -> list[Any]:
        text = self.clean.text
        return [
            text(artifact.label),
            text(artifact.remote),
            artifact.files,
            artifact.bytes,
            artifact.verified,
        ]

    def _step(self, step: Any) -> list[Any]:
        return [step.kind.value, self.clean.text(step.command or step.name), step.exit_code, step.seconds]

    def _failure(self, report: NodeReport) -> Table:
        failure, text = report.failure or Failure(), self.clean.text
        return {
            "place": text(failure.place),
            "source": text(failure.source_line.strip()),
            "traceback": text("\n".join(failure.traceback)),
            "hint": text(failure.hint),
            "teardown": [text(each) for each in failure.teardown],
            "log": [text(line) for line in self._tail(report, failure)],
            "next": [[text(command), why] for command, why in _next(report)],
        }

    def _tail(self, report: NodeReport, failure: Failure) -> Sequence[str]:
        self._left.tails -= 1
        if self._left.tails < 0:
            self._left.notes[f"Logs are shown for the first {MOST_TAILS} nodes that did not pass."] = None
            return ()
        return (log_tail(Path(report.folder)) if report.folder else ()) or failure.log_tail

    # --- nodes that are not over ------------------------------------------------------------------------------------

    def going(self, run: PastRun, number: int) -> Iterator[Table]:
        """Yield the nodes of a run that have no report: those at work, and those still to come or never begun."""
        if not run.info.folder:
            return
        folder = Path(run.info.folder)
        done = {report.node.id for report in run.reports}
        is_running = run.state is RunState.RUNNING
        for node_id in planned(folder):
            has_manifest = os.path.lexists(folder / folder_name(node_id) / manifest.FILE_NAME)
            if node_id not in done and (has_manifest or run.state is not RunState.FINISHED):
                yield self.begun(node_id, folder, number, is_running=is_running)

    def begun(self, node_id: str, run_folder: Path, run: int, *, is_running: bool) -> Table:
        """Return the fields of a node without a report."""
        files = NodeFiles(run_folder / folder_name(node_id))
        way, facts = Way(), _Facts()
        for event in journal.read(files.journal):
            way.take(event)
            facts.take(event)
        now = datetime.now(UTC).timestamp() if is_running else None
        taken = way.spans(now)
        is_at_work = is_running and way.is_going
        is_damaged = os.path.lexists(files.folder / manifest.FILE_NAME)
        outcome = "running" if is_at_work else "planned" if is_running or not taken else "unfinished"
        fields: Table = {
            "key": self._key(run, node_id),
            "run": run,
            **self._who(node_id),
            "job": self.clean.text(node_id.partition("::")[2].partition("[")[0]),
            "params": {},
            "metrics": {},
            "outcome": "damaged" if is_damaged else outcome,
            "reason": "its manifest cannot be read" if is_damaged else "",
            "ok": True,
            "started": taken[0][1] if taken else None,
            "seconds": round(taken[-1][2] - taken[0][1], 3) if taken else 0,
            "usd": round(facts.usd(now), 6),
            "rate": facts.rate if is_at_work else 0,
            "gpu": self.clean.text(facts.offer),
            "doing": self.clean.text(facts.doing if is_at_work else ""),
            "folder": self.clean.text(files.folder),
            "spans": _rounded(taken),
            "going": is_at_work,
        }
        if taken:
            fields |= self._measured(files, Detail())
        return fields


class _Facts:
    """The pod and the costs of a node according to its journal, while there is no manifest."""

    def __init__(self) -> None:
        self.offer = self.doing = ""
        self.rate = self._settled = 0.0
        self._since: float | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in the next event."""
        match event["event"]:
            case "created" | "adopted":
                self.offer = str(event.get("offer", "")).partition(" in ")[0] or self.offer
                self._take_rate(event.get("usd_per_hr"))
                self._since = moment(event.get("at"))
            case "ready":  # its own rate, which its create does not tell
                self._take_rate(event.get("usd_per_hr"))
            case "released" | "kept":
                usd = event.get("usd")
                self._settled += float(usd) if isinstance(usd, int | float) else 0.0
                self._since, self.rate = None, 0.0
            case "step_started":
                self.doing = str(event.get("command", ""))
            case "step_finished":
                self.doing = ""

    def _take_rate(self, rate: object) -> None:
        self.rate = float(rate) if isinstance(rate, int | float) and 0 <= rate < 1e6 else self.rate

    def usd(self, now: float | None) -> float:
        """Return its cost so far."""
        going = max(0.0, now - self._since) * self.rate / 3600 if now and self._since is not None else 0.0
        return self._settled + going


def planned(run_folder: Path) -> list[str]:
    """Return the ids of all planned nodes of a run, from its journal; empty if they are not recorded."""
    return list(filter(None, journal.planned_ids(journal.read(run_folder / journal.FILE_NAME))))


def log_tail(folder: Path) -> list[str]:
    """Return the last lines of a node's log, each as a terminal would leave it."""
    path = NodeFiles(folder).output
    if not is_regular(path):
        return []
    try:
        lines = tail_of(path, _TAIL_BYTES).decode(errors="replace").rstrip("\n").split("\n")
    except OSError:
        return []
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in lines[-TAIL_LINES:]]
    return shown if any(shown) else []


def _commit(reports: Sequence[NodeReport]) -> str:
    return next((report.source.git_sha for report in reports if report.source.git_sha), "")


def _environment(report: NodeReport) -> str:
    """Describe the pod in one line."""
    environment = report.environment
    named = (
        ("driver", environment.driver),
        ("CUDA", environment.cuda),
        ("python", environment.python),
        ("", environment.uname),
    )
    return ", ".join(f"{name} {value}".strip() for name, value in named if value)


def _rounded(pairs: Iterable[Span]) -> list[list[Any]]:
    return [[phase, round(start, 2), round(end, 2)] for phase, start, end in pairs]


def _next(report: NodeReport) -> Iterator[tuple[str, str]]:
    """Yield the commands worth typing about a node that did not pass, with their purpose."""
    run, node = Path(report.folder).parent.name, report.node.id
    if report.folder:
        yield shlex.join(["rpd", "show", run, node]), "shows what happened"
        yield shlex.join(["rpd", "logs", node, "--run", run]), "prints its whole log"
    if report.pod is not None and report.pod.final_state == "running":
        yield (
            shlex.join(["rpd", "ssh", report.pod.id]),
            "opens a shell on its pod, which still runs and bills",
        )
        yield shlex.join(["rpd", "stop", report.pod.id]), "deletes the pod"
    if report.result.outcome in (Outcome.FAILED, Outcome.ERROR):
        yield again(report), "runs it again"
