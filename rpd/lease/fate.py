"""The fate of a pod: whether and how it is released when its node is done."""

from __future__ import annotations

from collections.abc import Callable

from rpd.lease.lease import Lease
from rpd.remote.watchdog import UNPRICED_SECONDS, Terms
from rpd.stop import StopLevel
from rpd.values.frozen import frozen
from rpd.values.job import Lifecycle, Release


@frozen(kw_only=False)
class Fate:
    """How a pod is given back; ``why`` is the reason if it stays longer than its lifecycle says, else empty."""

    how: Release
    why: str = ""


def usual_fate(lease: Lease, lifecycle: Lifecycle) -> Fate:
    """Return the fate of a pod according to the lifecycle of its job alone."""
    return Fate(lifecycle.on_failure if lease.failed else lifecycle.on_success)


def decide_fate(
    lease: Lease,
    lifecycle: Lifecycle,
    terms: Terms,
    level: StopLevel,
    affordable_seconds: Callable[[], float | None],
) -> Fate:
    """Decide the fate of a pod; if it stays, its new deadline is set.

    ``affordable_seconds`` returns how long a preserved pod is paid for, None if no rate is known.
    """
    usual = usual_fate(lease, lifecycle)
    if level >= StopLevel.ABANDON or lease.final_state:
        return usual
    is_ending = level >= StopLevel.END
    if lease.unverified and terms.keep_unverified:
        seconds, why = terms.keep_unverified, f"{lease.unverified} on it could not be fetched completely"
    elif lease.failed and terms.keep_failed and not is_ending and not lease.is_lost:
        seconds, why = terms.keep_failed, "--keep-failed"
    elif usual.how is Release.PRESERVE:
        affordable = affordable_seconds()
        seconds, why = UNPRICED_SECONDS if affordable is None else affordable, "lifecycle preserve"
    else:
        return usual
    # After Ctrl-C, a pod that cannot be given its new deadline would bill until the old one, so it is
    # deleted. One that the user asked to preserve stays all the same.
    if lease.lifetime.keep(seconds, unheard=not is_ending or usual.how is Release.PRESERVE):
        return Fate(Release.PRESERVE, why)
    return Fate(Release.DELETE) if usual.how is Release.PRESERVE else usual
