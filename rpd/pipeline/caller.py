"""The caller of a run: how the run may use the process they share, and how it asks for confirmation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rpd.errors import UsageError
from rpd.stop import Stop
from rpd.values.mutable import fresh, mutable


def nobody(worst_case_usd: float, limit_usd: float) -> bool:
    """Raise UsageError for a run that may cost more than ``limit_usd``: the caller cannot be asked."""
    raise UsageError(
        f"this run may cost up to ${worst_case_usd:.2f}, more than confirm_above_usd (${limit_usd:.2f}), and there is "
        "nobody to ask: set yes to agree, or lower the caps (cost_cap_usd, max_runtime_seconds)"
    )


@mutable
class Caller:
    """The caller of a run; by default a program that does other things meanwhile, on other threads.

    ``owns_process``: the process belongs to this run alone, as for the command line. Then a ``--local`` run
    sets the environment, so that user code finds the emulator, and a dry run guards every thread.

    ``confirm`` is called with the worst case and the limit above which somebody has to agree (USD), and
    returns whether the run may start. ``stop`` ends the run at the caller's request. ``while_executing`` is
    entered for as long as there may be pods: the command line handles signals meanwhile, which until then end
    the process as usual.
    """

    owns_process: bool = False
    confirm: Callable[[float, float], bool] = nobody
    stop: Stop = fresh(factory=Stop)
    while_executing: Callable[[], AbstractContextManager[object]] = nullcontext
