"""The clock for money and deadlines: it goes on while this machine sleeps, since pods bill meanwhile.

``time.monotonic`` stands still then on Linux and macOS. It is right for waits of which this process should have had the
whole time, such as for a connection to come back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

_CLOCKS = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}


def _clock() -> Callable[[], float]:
    try:
        clock: int = getattr(time, _CLOCKS.get(sys.platform, ""))
        time.clock_gettime(clock)
    except (AttributeError, OSError):  # Windows, whose monotonic clock does not stand still
        return time.monotonic
    return partial(time.clock_gettime, clock)


uptime = _clock()
"""Returns seconds, of which only differences mean something."""
