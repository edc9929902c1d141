"""A pulse: something done again and again while a run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Pulse:
    """Calls ``act`` every ``seconds`` on a thread of its own, from ``start`` to ``stop``; each may be called again."""

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        self._seconds = seconds
        self._act = act
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rpd-pulse", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Call ``act`` no more."""
        self._end.set()

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            self._act()
