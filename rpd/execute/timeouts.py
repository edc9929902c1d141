"""Timeouts: what the mark ``timeout`` says of a job."""

from __future__ import annotations

from dataclasses import dataclass

from rpd.values.duration import parse_duration
from rpd.values.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a job may take, and how long a command of it may show no sign of life, in seconds; None: for ever."""

    job: float | None = None
    silent: float | None = None

    @classmethod
    def of(cls, node: Node) -> Timeouts:
        """Return what the marks of a node say, the nearest word on each counting."""
        found: dict[str, float] = {}
        for mark in node.marks_named("timeout"):
            told = {"job": mark.args[0], **mark.kwargs} if mark.args else mark.kwargs
            found = {**{name: parse_duration(value) for name, value in told.items()}, **found}
        return cls(**found) if found else NO_TIMEOUTS


NO_TIMEOUTS = Timeouts()
