"""Stopping, as plugins and the person at the screen learn of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType

from rpd.events import Events
from rpd.stop import INTERRUPTED, Stop, StopLevel
from rpd.threads import Worker

_SENTENCES = {
    StopLevel.DRAIN: "{why}: starting nothing new; running nodes may finish",
    StopLevel.END: "{why}: starting nothing new; running commands are ended, artifacts pulled, pods released",
}
_INTERRUPTED = {
    StopLevel.END: (
        "{why}: starting nothing new; running commands are ended, artifacts pulled, pods released. "
        "Press Ctrl-C again to release every pod now, without pulling."
    ),
    StopLevel.ABANDON: "{why} again: releasing every pod now, without pulling.",
}
_NAMES = {"SIGINT": "Ctrl-C"}
_PATIENCE_SECONDS = 2.0
"""How long the end of a run waits for an observer that hangs."""


class Telling:
    """Reports the stop of a run, on its own thread, while it is entered.

    A hanging observer must not delay the end of the run: nobody waits for the thread, except ``settle`` for a
    moment. Without pods, nothing is said about them.
    """

    def __init__(self, stop: Stop, events: Events, *, has_pods: bool) -> None:
        self._has_pods = has_pods
        self._stop = stop
        self._events = events
        self._worker = Worker("rpd-telling")
        self._forget: Callable[[], None] = lambda: None

    def __enter__(self) -> Telling:
        self._forget = self._stop.listen(self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()
        self._worker.close(wait=_PATIENCE_SECONDS)

    def settle(self) -> None:
        """Return once every plugin knows, or one has taken too long."""
        done = threading.Event()
        self._worker.hand(done.set)
        done.wait(_PATIENCE_SECONDS)

    def _heard(self, level: StopLevel) -> None:
        self._worker.hand(partial(self._tell, level, self._stop.reason))

    def _tell(self, level: StopLevel, reason: str) -> None:
        self._events.stopping(how=level.name.lower(), reason=reason)
        _, is_interrupted, by = reason.rpartition(INTERRUPTED)
        by = by.partition("; ")[0] if is_interrupted else reason
        sentence = (_INTERRUPTED if is_interrupted else _SENTENCES).get(level)
        if sentence is not None and (self._has_pods or not is_interrupted):
            self._events.notice(sentence.format(why=_NAMES.get(by, by)))
