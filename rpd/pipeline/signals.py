"""Signals: Ctrl-C, SIGTERM and SIGHUP turned into levels of stopping."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rpd.stop import INTERRUPTED, Stop, StopLevel

FIRST = (
    "{name}: starting nothing new; running commands are ended, artifacts pulled, pods released. "
    "Again: release every pod now, unpulled."
)
SECOND = "{name} again: releasing every pod now, unpulled."


@contextmanager
def handled(stop: Stop, notice: Callable[[str], Any]) -> Iterator[None]:
    """While inside, the first signal ends the run in order and the second releases every pod at once.

    The handler itself only queues the signal: it may interrupt code that holds any lock. Where SIGHUP is ignored it
    stays so: under ``nohup`` a run is to outlive its terminal.
    """
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if "SIGHUP" in names and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        names.remove("SIGHUP")
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def handler(number: int, _frame: FrameType | None) -> None:
        arrived.put(signal.Signals(number).name)

    def act() -> None:
        while (name := arrived.get()) is not None:
            first = stop.level < StopLevel.END
            notice((FIRST if first else SECOND).format(name="Ctrl-C" if name == "SIGINT" else name))
            stop.request(StopLevel.END if first else StopLevel.ABANDON, f"{INTERRUPTED}{name}")

    before = {name: signal.signal(getattr(signal, name), handler) for name in names}
    actor = threading.Thread(target=act, name="rpd-signals", daemon=True)
    actor.start()
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(getattr(signal, name), old)
        arrived.put(None)
        actor.join()
