"""Custody: how long each rented pod may live, told to the watchdog on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from rpd.errors import ConnectionLost, PodNotReady, RemoteError
from rpd.execute.noderun import NodeRun
from rpd.lease.lease import Lease
from rpd.remote.watchdog import UNPRICED_SECONDS, Terms, Unguarded, arm
from rpd.values.job import Budget

PULL_SECONDS = 6 * 3600.0
"""How long a pod may live for the sake of a pull, beyond its cap if need be."""


def cap_seconds(run: NodeRun, leases: Sequence[Lease], budget: Budget) -> float | None:
    """Return how long ``run`` may still use the pods for its money; None where no rate is known.

    What the pods billed before, for other nodes, does not count.
    """
    rate = sum(lease.rate_usd_per_hr for lease in leases) * run.share
    if rate <= 0:
        return None
    spent = sum(_used_seconds(run, lease) * lease.rate_usd_per_hr / 3600 for lease in leases)
    return max(0.0, (budget.cost_cap_usd - spent) / rate * 3600)


def _used_seconds(run: NodeRun, lease: Lease) -> float:
    """Return how many seconds of the whole pod the node has used up."""
    return (time.monotonic() - run.began) * run.share if run.share < 1 else lease.unmetered_seconds


def secure(lease: Lease, run: NodeRun, budget: Budget, terms: Terms) -> None:
    """Arm the watchdog of a pod that has just become ours. Raises PodNotReady if the pod could not end itself."""
    try:
        _arm(lease, _seconds_left(run, lease, budget) + terms.grace, terms.linger)
    except Unguarded as error:
        raise PodNotReady(str(error)) from error


def prolong(lease: Lease, run: NodeRun, budget: Budget, terms: Terms) -> None:
    """See to it that a pod which other nodes used before lives long enough for ``run``.

    Costs nothing while the deadline it has will do. Raises RemoteError.
    """
    wanted = _seconds_left(run, lease, budget) + terms.grace
    if lease.ends_at is not None and wanted > lease.ends_at - time.monotonic() + terms.grace / 3:
        _arm(lease, wanted, terms.linger)


def limit(lease: Lease, deadline: float, terms: Terms) -> None:
    """Give a pod that one node has to itself the node's deadline (monotonic) if it is sooner. Raises RemoteError."""
    wanted = deadline - time.monotonic() + terms.grace
    if lease.ends_at is not None and wanted < lease.ends_at - time.monotonic() - terms.grace / 3:
        _arm(lease, wanted, terms.linger)


def allow_pull(lease: Lease, terms: Terms) -> None:
    """See to it that a pod is not ended by its deadline while results are fetched from it.

    With the driver gone it still ends after its linger time. Costs nothing while the deadline it has will do.
    """
    if lease.ends_at is not None and lease.ends_at - time.monotonic() < PULL_SECONDS / 2:
        # Without it the pull is tried all the same: it tells better what is wrong.
        with contextlib.suppress(RemoteError):
            _arm(lease, PULL_SECONDS, terms.linger)


def keep(lease: Lease, seconds: float) -> bool:
    """Let a pod live for ``seconds`` more, without a driver; return whether it can be left so."""
    if not lease.lost:
        try:
            _arm(lease, seconds, seconds)
        except ConnectionLost:
            pass
        except RemoteError:
            return False
        else:
            return True
    # Nobody can tell it now, but it was told before when to end at the latest.
    return lease.ends_at is not None


def _seconds_left(run: NodeRun, lease: Lease, budget: Budget) -> float:
    left = cap_seconds(run, [lease], budget)
    return (budget.max_runtime_seconds or UNPRICED_SECONDS) if left is None else left


def _arm(lease: Lease, seconds: float, linger: float) -> None:
    assert lease.pod is not None
    assert lease.remote is not None
    ends_at = time.monotonic() + seconds
    try:
        deadline = arm(lease.remote, pod_id=lease.pod.id, seconds_left=seconds, linger_seconds=linger)
    except ConnectionLost:
        lease.lost = True
        raise
    lease.ends_at = ends_at
    lease.note("armed", deadline=deadline, seconds=round(seconds), linger=round(linger))
