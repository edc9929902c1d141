"""The activity of a node on its pod, second by second, and whether it used the GPUs."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from rpd.journal import journal
from rpd.record import spans, telemetry
from rpd.record.telemetry import Moment
from rpd.values.moments import moment
from rpd.values.report import NodeReport


class Doing(StrEnum):
    """The activity that a pod is paid for at a moment."""

    BOOTING = "booting"
    STAGING = "staging files"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    COMPILING = "compiling"
    WORKING = "working"
    PULLING = "pulling results"
    NOTHING = "between steps"


_OF_PHASE = {
    "booting": Doing.BOOTING,
    "staging": Doing.STAGING,
    "working": Doing.WORKING,
    "pulling": Doing.PULLING,
    "idle": Doing.NOTHING,
}
_WORDS: Sequence[tuple[Doing, re.Pattern[str]]] = (
    (
        Doing.INSTALLING,
        re.compile(
            r"\b(?:pip3?|uv|conda|mamba|micromamba|apt|apt-get|apk|dnf|yum|npm|poetry)\b[^|;&]*\b"
            r"(?:install|sync|add|create|update)\b|\binstall(?:ing|ation)?\b",
            re.IGNORECASE,
        ),
    ),
    (
        Doing.DOWNLOADING,
        re.compile(
            r"download|\b(?:wget|curl|aria2c|rclone|git clone|git lfs|gdown|s5cmd|azcopy)\b|snapshot_download"
            r"|\b(?:hf|huggingface-cli) |\baws s3\b|\bgsutil\b|\bgcloud storage\b|\bfetch(?:ing)?\b",
            re.IGNORECASE,
        ),
    ),
    (
        Doing.COMPILING,
        re.compile(
            r"compil|\b(?:make|cmake|ninja|nvcc|cargo build|bazel)\b|\bbuild(?:ing)?\b|setup\.py",
            re.IGNORECASE,
        ),
    ),
)
"""What a command, or a part that it names itself, is about; the first that fits."""


@dataclass(slots=True)
class Spent:
    """Seconds of one kind of activity: all, those in which the GPUs were seen to do nothing, and those measured."""

    seconds: float = 0.0
    idle: float = 0.0
    measured: float = 0.0


@dataclass(slots=True)
class Activity:
    """The activities of one node while its pods billed; ``peak_mb`` and ``total_mb`` are of the fullest GPU."""

    spent: dict[Doing, Spent] = field(default_factory=dict)
    peak_mb: float | None = None
    total_mb: float | None = None
    busy: float | None = None
    """Mean utilisation (percent) of the samples of commands at work."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(each.seconds for each in self.spent.values())


def doing(words: str) -> Doing:
    """Return the topic of a command, by its words."""
    return next((topic for topic, pattern in _WORDS if pattern.search(words)), Doing.WORKING)


def of_node(report: NodeReport) -> Activity:
    """Return the activities of a node from its journal and telemetry; from its phases alone if the journal is gone."""
    folder = Path(report.folder)
    events = list(journal.read(folder / journal.FILE_NAME))
    samples = telemetry.read(folder / telemetry.FILE_NAME)
    pieces = _pieces(events, report)
    return of_pieces(pieces, samples)


Piece = tuple[Doing, float, float]
"""What was done, and from when to when (s since 1970)."""


def _pieces(events: Sequence[Mapping[str, Any]], report: NodeReport) -> list[Piece]:
    phases = spans.of_events(events)
    if not phases:
        phases = spans.of_phases(moment(report.result.started) or 0.0, report.result.phases)
    topics = _topics(events, report)
    pieces: list[Piece] = []
    for phase, begin, end in phases:
        what = _OF_PHASE.get(phase)
        if what is Doing.WORKING:
            pieces += _cut(begin, end, topics)
        elif what is not None:
            pieces.append((what, begin, end))
    return pieces


def _topics(events: Iterable[Mapping[str, Any]], report: NodeReport) -> list[tuple[float, Doing]]:
    """Return the topics of commands with their starts: from the marks of their parts, else from their words."""
    words = {step.index: f"{step.name} {step.command}" for step in report.steps if step.kind == "run"}
    # A command that marks its parts is described by the marks.
    words |= {mark.step: "" for mark in report.marks}
    topics: list[tuple[float, Doing]] = []
    current: dict[Any, Doing] = {}
    for event in events:
        at = moment(event.get("at"))
        if at is None:
            continue
        if event["event"] == "step_started" and event.get("index") in words:
            current[event["index"]] = doing(words[event["index"]])
            topics.append((at, current[event["index"]]))
        elif event["event"] == "step_mark":
            name = str(event.get("name", ""))
            # A part that says nothing of the kind is as the command that it belongs to.
            topics.append((at, doing(name) if name else current.get(event.get("index"), Doing.WORKING)))
    return topics


def _cut(begin: float, end: float, topics: Sequence[tuple[float, Doing]]) -> Iterable[Piece]:
    """Yield the pieces of a time at work, cut where commands turn to something else."""
    at = begin
    place = bisect_right(topics, begin, key=lambda topic: topic[0])
    what = topics[place - 1][1] if place else Doing.WORKING
    for moment_of, next_one in topics[place:]:
        if moment_of >= end:
            break
        yield what, at, moment_of
        at, what = moment_of, next_one
    yield what, at, end


def of_pieces(pieces: Iterable[Piece], samples: Sequence[Moment]) -> Activity:
    """Return the activity in ``pieces``; a sample tells how busy the GPUs were until the next one."""
    activity = Activity()
    times = [sample.at for sample in samples]
    busy: list[tuple[float, float]] = []
    for what, begin, end in pieces:
        if end <= begin:
            continue
        spent = activity.spent.setdefault(what, Spent())
        spent.seconds += end - begin
        place = max(0, bisect_right(times, begin) - 1)
        for number in range(place, len(samples)):
            sample = samples[number]
            if sample.at >= end:
                break
            until = times[number + 1] if number + 1 < len(samples) else end
            seconds = min(until, end) - max(sample.at, begin)
            if seconds <= 0 or sample.busy is None:
                continue
            spent.measured += seconds
            spent.idle += seconds if sample.is_idle else 0.0
            if what is Doing.WORKING:
                busy.append((seconds, sample.busy))
    used = [sample for sample in samples if sample.used_mb is not None]
    if used:
        fullest = max(used, key=lambda sample: sample.used_mb or 0.0)
        activity.peak_mb, activity.total_mb = fullest.used_mb, fullest.total_mb
    weight = sum(seconds for seconds, _ in busy)
    activity.busy = sum(seconds * value for seconds, value in busy) / weight if weight else None
    return activity
