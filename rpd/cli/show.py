"""``rpd show``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from rpd.cli.json_document import say_document
from rpd.cli.output import say
from rpd.cli.query import tell_damage
from rpd.cli.runs import sorted_reports
from rpd.cli.table import table
from rpd.config import Config
from rpd.config.config import OutputSettings
from rpd.disk.regular import tail_of
from rpd.errors import ExitCode
from rpd.hooks import PluginManager
from rpd.journal import journal
from rpd.journal.files import NodeFiles
from rpd.journal.series import SERIES_FILE
from rpd.journal.series import read as read_series
from rpd.pipeline.past_runs import PastRun, RunState, past_run, run_and_node
from rpd.record.lookup import NodeEntry
from rpd.record.rerun_command import again
from rpd.terminal.curves import chart
from rpd.terminal.stored_run import print_run
from rpd.values.duration import format_duration
from rpd.values.report import (
    ArtifactRecord,
    AttemptRecord,
    NodeReport,
    PodRecord,
    SeriesRecord,
    SourceRecord,
)
from rpd.values.safe_text import plain
from rpd.values.step import Step

LOG_LINES = 10
MOST_REFUSALS = 20
MOST_BEFORE = 3
MOST_CURVES = 12
CURVE_COLUMNS, CURVE_LINES = 72, 4


def main(config: Config, manager: PluginManager) -> int:
    """Print a run as its end showed it, or the story of one of its nodes."""
    del manager
    info, entry = run_and_node(config.invocation_dir, config.runs_path, config.args)
    if entry is None:
        run = past_run(info)
        if config.output.as_json:
            document = {
                **asdict(run.info),
                "state": run.state,
                "reports": [asdict(report) for report in run.reports],
                "damaged": list(map(str, run.damaged)),
            }
            say_document(document)
        else:
            _print_run(run, config.output)
        tell_damage(run.damaged)
    elif config.output.as_json:
        report = entry.read()
        say_document({"id": entry.id, **(asdict(report) if report else {})})
    else:
        say("\n".join(story(entry)))
    return ExitCode.OK


def _print_run(run: PastRun, output: OutputSettings) -> None:
    info = run.info
    say(f"run {info.id} ({run.state}), started {info.started or '?'}, backend: {info.backend or '?'}")
    if info.argv:
        say(f"rpd {shlex.join(info.argv)}")
    if info.damage:
        say(f"damaged: {info.damage}")
    print_run(
        replace(run.summary, reports=tuple(sorted_reports(output.sort, run.reports))),
        color=output.color,
    )
    if run.state is RunState.UNFINISHED:
        say(f"it did not finish: rpd resume {info.id}")


def story(entry: NodeEntry) -> Iterator[str]:
    """Yield the outcome of a node, in lines."""
    report = entry.read()
    if report is None:
        yield from _unfinished(entry)
    else:
        yield from _report_lines(report)
    yield from _failure(report)
    yield from _refused(entry)
    yield from _log(entry.folder)
    yield from _watchdog(entry)
    yield ""
    yield f"folder: {entry.folder}"


def _unfinished(entry: NodeEntry) -> Iterator[str]:
    from rpd.pipeline.connect_to_node import work_of  # most nodes that are shown have ended

    work = work_of(entry.folder)
    yield entry.id
    yield f"  not finished: attempt {work.attempt}{f', on pod {work.pod_name}' if work.pod_name else ', without a pod'}"


def _report_lines(report: NodeReport) -> Iterator[str]:
    result, pod, cost = report.result, report.pod, report.cost
    yield report.node.id
    yield f"  {result.outcome}{f' ({result.cause})' if result.cause else ''}{_reason(result.reason)}"
    yield from _facts(
        {
            "declared": f"{report.node.file}:{report.node.line}",
            "parameters": _pairs(report.node.parameters),
            "marks": ", ".join(report.node.marks),
            "owner": report.node.owner,
            "needs": ", ".join(report.node.needs),
            "started": result.started,
            "finished": result.finished,
            "phases": ", ".join(f"{name} {format_duration(value)}" for name, value in result.phases.items()),
            "metrics": _pairs(report.metrics),
            "variables": _pairs(report.variables),
            "again": again(report),
        }
    )
    for number, used in enumerate(report.pods or ((pod,) if pod else ()), 1):
        yield from _facts({"pod" if number == 1 else f"pod {number}": _pod(used, own=used == pod)})
    if pod is not None:
        billed = f"${cost.estimated_usd:.4f} for {format_duration(cost.billed_seconds)}"
        yield from _facts(
            {
                "image": pod.image,
                "digest": pod.digest,
                "disks": _disks(pod),
                "cost": f"{billed} at ${cost.rate_usd_per_hr:.2f}/h ({cost.rate_source}), cap ${cost.cap_usd:.2f}",
            }
        )
    environment = _pairs(asdict(report.environment), empty=False)
    yield from _facts({"source": _source(report.source), "environment": environment})
    yield from _facts({"files": ", ".join(report.result.files)})
    yield from _section("series", _series(report))
    yield from _section("earlier attempts", map(_attempt, report.attempts))
    yield from _section("steps", _steps(report))
    yield from _section("artifacts", map(_artifact, report.artifacts))


def _series(report: NodeReport) -> Iterator[str]:
    """Yield each series: its summary and its curve."""
    curves = read_series(NodeFiles(Path(report.folder)).series) if report.series else {}
    for name, record in islice(report.series.items(), MOST_CURVES):
        yield f"{plain(name)}: {_summed_up(record)}"
        if len(curve := curves.get(name, {})) > 1:
            yield from chart(curve, width=CURVE_COLUMNS, height=CURVE_LINES)
    if len(report.series) > MOST_CURVES:
        yield f"and {len(report.series) - MOST_CURVES} more in {SERIES_FILE}"


def _summed_up(record: SeriesRecord) -> str:
    text = f"{record.last:.6g} at step {record.last_step:g}"
    if record.min is not None and record.max is not None and record.points > 1:
        text += f", lowest {record.min:.6g} at {record.min_step:g}, highest {record.max:.6g} at {record.max_step:g}"
    return f"{text} ({record.points} {'value' if record.points == 1 else 'values'})"


def _steps(report: NodeReport) -> Iterator[str]:
    for step in report.steps:
        yield _step(step)
        for mark in report.marks:
            if mark.step == step.index:
                yield f"    {'':<5} {format_duration(mark.seconds):>7}  {'':<8} {mark.name}"


def _pod(pod: PodRecord, *, own: bool) -> str:
    where = f"{pod.count}x {pod.gpu}" if pod.gpu else "CPU"
    if pod.nodes > 1:
        where = f"{pod.nodes} nodes of {where}"
    where += f" in {pod.datacenter or '?'} ({pod.cloud or '?'} cloud{', spot' if pod.spot else ''})"
    reused = _reuse(pod)
    rate = "" if own else f", ${pod.rate:.2f}/h"
    return f"{pod.id} ({pod.name}), {where}{rate}; {pod.final_state}{reused}"


def _disks(pod: PodRecord) -> str:
    """Return the disks of a pod; nothing for a record of a time when manifests did not tell them."""
    parts = [f"container {pod.container_disk_gb} GB"] if pod.container_disk_gb else []
    if pod.volume:
        parts.append(f"network volume {pod.volume} at {pod.mount}")
    elif pod.volume_gb:
        parts.append(f"volume {pod.volume_gb} GB at {pod.mount}")
    return ", ".join(parts)


def _reason(reason: str) -> str:
    return f": {reason}" if reason else ""


def _facts(facts: Mapping[str, str]) -> Iterator[str]:
    return (f"  {name:<12} {value}" for name, value in facts.items() if value)


def _pairs(values: Mapping[str, Any], *, empty: bool = True) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items() if empty or value != "")


def _source(source: SourceRecord) -> str:
    parts = []
    if source.git_sha:
        changes = f" with changes ({source.diff_file or 'not saved'})" if source.dirty else ""
        branch = f" ({source.branch})" if source.branch else ""
        by = f" by {source.author}" if source.author else ""
        parts.append(f"git {source.git_sha[:12]}{branch}{by}{changes}")
    if source.tree_sha256:
        parts.append(f"tree {source.tree_sha256[:12]}, {source.files} files, {source.bytes} bytes")
    if source.lock_file_sha256:
        parts.append(f"{source.lock_file or 'lock file'} {source.lock_file_sha256[:12]}")
    return "; ".join(parts)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    texts = list(lines)
    if texts:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in texts)


def _attempt(attempt: AttemptRecord) -> str:
    where = (
        f" on {attempt.pod_id} ({attempt.gpu or 'CPU'} in {attempt.datacenter or '?'})"
        if attempt.pod_id
        else ""
    )
    cause = f" ({attempt.cause})" if attempt.cause else ""
    spent = f"{format_duration(attempt.seconds)}, ${attempt.estimated_usd:.4f}"
    return f"{attempt.number}. {attempt.outcome}{cause}{where}, {spent}{_reason(attempt.reason)}"


def _step(step: Step) -> str:
    code = "" if step.exit_code is None else f"exit {step.exit_code}"
    named = f"{step.name}: " if step.name not in ("", step.command) and step.kind == "run" else ""
    command = step.command.partition("\n")[0]
    return (
        f"{step.index + 1:>2}. {step.kind:<5} {format_duration(step.seconds):>7}  {code:<8} {named}{command}"
    )


def _reuse(pod: PodRecord) -> str:
    if pod.before:
        return f", recycled; before: {', '.join(pod.before[-MOST_BEFORE:])}"
    return ", used by other nodes too" if pod.reused else ""


def _artifact(artifact: ArtifactRecord) -> str:
    state = "verified" if artifact.verified else "NOT VERIFIED"
    older = f", {artifact.older} of them older than the node" if artifact.older else ""
    label = f"{artifact.label}: " if artifact.label else ""
    files = f"{artifact.files} file{'' if artifact.files == 1 else 's'}{older}, {artifact.bytes} bytes"
    return f"{label}{artifact.remote} -> {artifact.local}  {files}, {state}"


def _failure(report: NodeReport | None) -> Iterator[str]:
    """Yield where it failed, and the frames of the user's code that led there."""
    failure = report.failure if report else None
    if failure is None:
        return
    frames = [line for text in failure.traceback for line in text.splitlines()]
    place = [line for line in (failure.place, failure.source_line.strip()) if line]
    yield from _section("where it failed", frames or place)
    yield from _section("in teardowns", failure.teardown)
    if failure.hint:
        yield failure.hint


def _refused(entry: NodeEntry) -> Iterator[str]:
    """Yield a row for each offer that was refused to the node, in the order in which they were tried."""
    path = entry.folder / journal.FILE_NAME
    refusals = [event for event in journal.read(path) if event["event"] == "refused"]
    times = Counter(str(event.get("offer")) for event in refusals)
    said = {str(event.get("offer")): str(event.get("reason")) for event in refusals}
    rows = [(offer, f"{count}x", said[offer]) for offer, count in times.items()]
    shown = list(table(rows[:MOST_REFUSALS], cut={0: 24, 2: 20})) if rows else []
    if len(rows) > MOST_REFUSALS:
        shown.append(f"and {len(rows) - MOST_REFUSALS} more offers: rpd events {shlex.quote(entry.id)}")
    yield from _section("offers refused", shown)


def _log(folder: Path) -> Iterator[str]:
    lines = last_lines(NodeFiles(folder).output, LOG_LINES)
    yield from _section("end of its log (rpd logs shows all)", lines)


def _watchdog(entry: NodeEntry) -> Iterator[str]:
    """Yield the last deadline of the pod's watchdog, and the end of its trace."""
    path = entry.folder / journal.FILE_NAME
    armed = [event for event in journal.read(path) if event["event"] == "armed" and _is_whole(event)]
    texts = []
    for event in {event.get("pod_id"): event for event in armed}.values():
        try:
            at = datetime.fromtimestamp(event["deadline"], UTC).isoformat(timespec="seconds")
            linger = format_duration(event["linger"])
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            continue  # a journal of somewhere else may say anything
        texts.append(f"set to end pod {event.get('pod_id')} at {at}, or {linger} after its last use")
    yield from _section(
        "the pod's watchdog", [*texts, *last_lines(NodeFiles(entry.folder).watchdog, LOG_LINES)]
    )


def _is_whole(event: Mapping[str, Any]) -> bool:
    return "deadline" in event and "linger" in event


def last_lines(path: Path, number: int) -> list[str]:
    """Return the last lines of a file, each as a terminal would leave it."""
    try:
        lines = tail_of(path, 64 << 10).decode(errors="replace").rstrip("\n").split("\n")
    except OSError:
        return []
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in lines if line]
    return shown[-number:]
