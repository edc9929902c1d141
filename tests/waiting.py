"""Waiting for something to come true: the one loop in the tests that looks again, with one deadline for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 120.0
"""Seconds. Nothing is measured by it: tests run side by side, on machines that may be busy with other things too."""


def wait_until(
    condition: Callable[[], T | None],
    what: str | Callable[[], str] = "the condition",
    *,
    deadline: float = DEADLINE,
) -> T:
    """Return the first true value of ``condition``; fail after ``deadline`` seconds, naming ``what``.

    It looks less often the longer that takes: to look is often a call of the emulator, which is work for two processes.
    """
    tick, begin = threading.Event(), time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begin
        if waited > deadline:
            named = what if isinstance(what, str) else what()
            raise AssertionError(f"{named} did not come true within {deadline:g} s")
        tick.wait(min(0.1, max(0.01, waited / 10)))
    return value
