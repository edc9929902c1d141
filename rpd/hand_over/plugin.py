"""The plugin that hands results over. Only the end of a run waits for the receivers, and not for long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rpd.events import Events
from rpd.hooks import PluginManager, hookimpl
from rpd.journal import journal, series
from rpd.record import manifest, spans
from rpd.redaction import Redactor
from rpd.threads import started
from rpd.values.hand_over import HandOver, Span, TimedStep
from rpd.values.moments import moment
from rpd.values.report import NodeReport, RunSummary

LAST_SECONDS = 60.0
"""At the end of a run what is still to be handed over gets so long."""


class HandingOver:
    """Calls ``rpd_hand_over`` for each node once its pods are gone, on one thread; for the rest at the end."""

    def __init__(self, events: Events, redactor: Redactor) -> None:
        self._events = events
        self._redactor = redactor
        self._lock = threading.Lock()
        self._handed: set[str] = set()
        self._waiting: queue.SimpleQueue[NodeReport | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @hookimpl
    def rpd_node_report(self, report: NodeReport) -> None:
        """Hand a node over unless a pod of it lives on: then its costs may still change."""
        if report.folder and all(pod.final_state in ("deleted", "stopped") for pod in report.pods):
            self._put(report)

    @hookimpl(trylast=True)
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Hand over the rest, and wait a little, behind the screen, for transfers in progress."""
        for report in summary.reports:
            # A node passed over as unchanged was handed over when it passed.
            if report.folder and report.result.word != "cached":
                self._put(report)
        self._waiting.put(None)
        if self._thread is None:
            return
        self._thread.join(LAST_SECONDS)
        if self._thread.is_alive():
            self._events.notice(
                f"handing over took more than {LAST_SECONDS:g} s: the rest is not handed over (rpd_hand_over)"
            )

    def _put(self, report: NodeReport) -> None:
        if not self._events.is_heard("hand_over"):
            return
        with self._lock:
            if report.node.id in self._handed:
                return
            self._handed.add(report.node.id)
            if self._thread is None:
                self._thread = started(self._run, name="hand-over")
        self._waiting.put(report)

    def _run(self) -> None:
        while (report := self._waiting.get()) is not None:
            self._events.hand_over(handed=hand_over_of(report, self._redactor))


def hand_over_of(report: NodeReport, redactor: Redactor) -> HandOver:
    """Return the results of a node, from its report and its folder."""
    masked = manifest.redacted(report, redactor)
    folder = Path(report.folder)
    curves = series.read(folder / series.SERIES_FILE)
    events = list(journal.read(folder / journal.FILE_NAME))
    pulled = (folder / each.local for each in report.artifacts if each.files)
    return HandOver(
        run=masked.node.run,
        report=masked,
        series={name: tuple(curve.items()) for name, curve in curves.items()},
        artifacts=tuple(dict.fromkeys(str(path) for path in pulled if path.exists())),
        phases=tuple(
            Span(name=name, began=began, ended=ended) for name, began, ended in spans.of_events(events)
        ),
        steps=tuple(_steps(events, masked)),
    )


def _steps(events: Sequence[Mapping[str, Any]], report: NodeReport) -> Iterator[TimedStep]:
    """Yield the steps of a report with their times, as the journal has them."""
    steps = {step.index: step for step in report.steps}
    began: dict[Any, float] = {}
    for event in events:
        at, index = moment(event.get("at")), event.get("index")
        if at is not None and event["event"] == "step_started":
            began[index] = at
        elif at is not None and event["event"] == "step_finished" and index in began and index in steps:
            yield TimedStep(step=steps[index], began=began[index], ended=at)


def add_hand_over(manager: PluginManager, redactor: Redactor) -> None:
    """Register it, unless it is switched off (``-p no:hand-over``)."""
    if not manager.is_blocked("hand-over"):
        manager.register(HandingOver(Events(manager), redactor), "hand-over")
