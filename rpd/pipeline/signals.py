"""Signals: Ctrl-C, SIGTERM and SIGHUP turned into levels of stopping."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from rpd.stop import INTERRUPTED, Stop, StopLevel
from rpd.threads import Worker


@contextmanager
def handled(stop: Stop) -> Iterator[None]:
    """While inside, the first signal ends the run in order and the second releases every pod at once.

    For the main thread only, as Python has it. The handler itself only queues the signal: it may interrupt code that
    holds any lock. Where SIGHUP is ignored it stays so: under ``nohup`` a run is to outlive its terminal.
    """
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if "SIGHUP" in names and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        names.remove("SIGHUP")
    worker = Worker("rpd-signals")

    def handler(number: int, _frame: FrameType | None) -> None:
        worker.hand(partial(_heed, stop, signal.Signals(number).name))

    before = {name: signal.signal(getattr(signal, name), handler) for name in names}
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(getattr(signal, name), old)
        worker.close()


def _heed(stop: Stop, name: str) -> None:
    first = stop.level < StopLevel.END
    stop.request(StopLevel.END if first else StopLevel.ABANDON, f"{INTERRUPTED}{name}")


@contextmanager
def ending_by_sigterm() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, unless somebody else handles them.

    By default they end a process without a message, and without closing anything it has opened.
    """
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ours = [number for name in names if signal.getsignal(number := getattr(signal, name)) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
