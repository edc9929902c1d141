"""Spans: the way of a node through its phases, as its journal tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from rpd.values.moments import moment

Span: TypeAlias = "tuple[str, float, float]"
"""A phase, and from when to when it lasted: seconds since 1970."""

WAITING = "waiting"
PHASES = ("booting", "staging", "working", "pulling", "idle", WAITING)
"""``booting``: from the request to a pod that answers; ``idle``: the pod bills and does nothing; ``waiting``: none."""
MOST = 2000
"""Of a node with more spans, only the first ones are shown."""

_OF_STEP = {"put": "staging", "write": "staging", "run": "working", "pull": "pulling", "read": "pulling"}
_FIRST = ("working", "staging", "pulling")
"""Which one is shown of steps that go on together."""
_OF_EVENT = {
    "node_started": WAITING,
    "node_resumed": WAITING,
    "intent": "booting",
    "refused": WAITING,
    "ready": "idle",
    "adopted": "idle",
    "released": WAITING,
    "kept": WAITING,
}
_OF_REPORT = {"provision": "booting", "stage": "staging", "job": "working", "pull": "pulling"}


class Way:
    """Follows the events of one node, in the order of its journal."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._phase = ""
        self._since = 0.0
        self._steps: dict[Any, str] = {}
        self._has_pod = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event."""
        at = moment(event.get("at"))
        if at is None:
            return
        name = event["event"]
        if name == "node_finished":
            self._enter("", at)
            self._steps.clear()
        elif name == "step_started":
            self._steps[event.get("index")] = _OF_STEP.get(str(event.get("kind")), "working")
            self._enter(self._of_steps(), at)
        elif name == "step_finished":
            self._steps.pop(event.get("index"), None)
            self._enter(self._of_steps(), at)
        elif name in _OF_EVENT:
            self._has_pod = _OF_EVENT[name] == "idle"
            self._steps.clear()
            self._enter(_OF_EVENT[name], at)

    def _of_steps(self) -> str:
        going = set(self._steps.values())
        return next((phase for phase in _FIRST if phase in going), "idle")

    def _enter(self, phase: str, at: float) -> None:
        if phase == self._phase:
            return
        if self._phase and at > self._since and len(self._spans) < MOST:
            self._spans.append((self._phase, self._since, at))
        self._phase, self._since = phase, max(at, self._since)

    def spans(self, until: float | None = None) -> list[Span]:
        """Return the spans; an open one lasts until ``until`` at least."""
        if not self._phase:
            return list(self._spans)
        end = max(self._since, until or 0.0)
        return [*self._spans, (self._phase, self._since, end)]

    @property
    def is_going(self) -> bool:
        """Whether the last event is not an end."""
        return bool(self._phase)


def of_events(events: Iterable[Mapping[str, Any]], until: float | None = None) -> list[Span]:
    """Return the spans that a journal tells."""
    way = Way()
    for event in events:
        way.take(event)
    return way.spans(until)


def of_phases(started: float, phases: Mapping[str, float]) -> list[Span]:
    """Return the spans of a node whose journal is gone: how long each phase took is known, when it was is not."""
    spans: list[Span] = []
    at = started
    for name, seconds in phases.items():
        if seconds > 0:
            spans.append((_OF_REPORT.get(name, "idle"), at, at + seconds))
            at += seconds
    return spans
