"""Custody: how long each rented pod may live, told to the watchdog on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from rpd.errors import ConnectionLost, PodNotReady, RemoteError
from rpd.execute.node.run import NodeRun
from rpd.lease.lease import Lease
from rpd.remote.watchdog import UNPRICED_SECONDS, Terms, Unguarded, arm, arm_again
from rpd.values.duration import format_duration
from rpd.values.job import Budget

SHORT_SECONDS = 60.0
"""A deadline that is nearer than this is moved while no job's own clock runs."""
TOLERANCE_SECONDS = 2.0
"""A deadline that is off by less is left as it is."""
PULL_SECONDS = 6 * 3600.0
"""How long a pod may live for the sake of a pull, beyond its cap if need be."""


def money_seconds(run: NodeRun, leases: Sequence[Lease] | None = None) -> float | None:
    """Return how long ``run`` may still use its pods (or ``leases``) for its money; None where no rate is known.

    What the pods billed before, for other nodes, does not count.
    """
    held = run.leases if leases is None else leases
    rate = _rate(run, held)
    if rate <= 0:
        return None
    spent = sum(_used_seconds(run, lease) * lease.total_usd_per_hr / 3600 for lease in held)
    return max(0.0, (_money(run) - spent) / rate * 3600)


def _money(run: NodeRun) -> float:
    """Return what an attempt may cost, in USD."""
    cap: float = _budget(run).cost_cap_usd
    return cap if run.bill.ceiling is None else min(cap, run.bill.ceiling)


def _budget(run: NodeRun) -> Budget:
    budget: Budget = run.context.overrides.budget(run.node.job.budget)
    return budget


def _rate(run: NodeRun, leases: Sequence[Lease]) -> float:
    """Return what those of the pods that are still there cost a node an hour, in USD."""
    there = [lease for lease in leases if lease.is_open and lease.rate_usd_per_hr > 0]
    return sum(lease.total_usd_per_hr for lease in there) * run.share


def _used_seconds(run: NodeRun, lease: Lease) -> float:
    """Return how many seconds of the whole pod the node has used up."""
    return (time.monotonic() - run.began) * run.share if run.share < 1 else lease.unmetered_seconds


def secure(lease: Lease, run: NodeRun, terms: Terms) -> None:
    """Arm the watchdog of a pod that has just become ours. Raises PodNotReady if the pod could not end itself."""
    until = time.monotonic() + _setup_seconds(run)
    lease.wanted_until[run] = until
    try:
        with lease.arming:
            _arm(lease, until, terms, grace=terms.grace)
    except Unguarded as error:
        raise PodNotReady(str(error)) from error


def welcome(lease: Lease, run: NodeRun, terms: Terms) -> None:
    """See to it that a pod which other nodes used before lives until ``run`` is set up. Raises RemoteError.

    Costs nothing while the deadline it has will do: how long the job may take is told when it begins.
    """
    now = time.monotonic()
    if run.deadlines.ends_at is not None:
        _hold(lease, run, run.deadlines.ends_at, terms)
    elif lease.ends_at is not None and lease.ends_at - now < SHORT_SECONDS:
        _hold(lease, run, now + _setup_seconds(run), terms)


def begin(run: NodeRun, terms: Terms) -> None:
    """Note when a job that begins now has to end, and tell its pods. Raises RemoteError."""
    longest = _budget(run).max_runtime_seconds
    run.deadlines.runtime_at = time.monotonic() + longest if longest else None
    reconsider(run, terms)


def reconsider(run: NodeRun, terms: Terms) -> None:
    """Work out when a job has to end with the pods it has now, and tell them. Raises RemoteError."""
    budget, left = _budget(run), money_seconds(run)
    run.deadlines.money_at = None if left is None else time.monotonic() + left
    run.deadlines.caps = _in_words(run, budget)
    if run.deadlines.clock is not None and run.deadlines.ends_at is not None:
        run.deadlines.clock.move(run.deadlines.ends_at)
    for lease in run.leases:
        if lease.is_open and lease.ends_at is not None and not lease.lost:
            _hold(
                lease,
                run,
                time.monotonic() + UNPRICED_SECONDS
                if run.deadlines.ends_at is None
                else run.deadlines.ends_at,
                terms,
            )


def _in_words(run: NodeRun, budget: Budget) -> dict[str, str]:
    rate = f"at ${_rate(run, run.leases):.2f}/h"
    money = _money(run)
    amount = f"${money:.2f}" if money >= 0.1 else f"${money:.4f}"
    if money < budget.cost_cap_usd:
        told = f"its worst case of {amount} ({rate}), which is all that was told before the run"
    else:
        told = f"its cap of {amount} (cost_cap_usd, {rate})"
    longest = budget.max_runtime_seconds
    return {
        "money": told,
        "runtime": f"its cap of {format_duration(longest)} (max_runtime)" if longest else "",
    }


def leave(run: NodeRun) -> None:
    """Hear that a node is over: its pods are not kept for it any more. Those that others use have their deadlines."""
    for lease in run.leases:
        lease.wanted_until.pop(run, None)


def bridge(lease: Lease, terms: Terms) -> None:
    """Let a shared pod outlast a time in which no job runs on it, while a driver is there. Raises RemoteError.

    Called again and again; costs nothing while the deadline it has will do. Without a driver the linger time ends it.
    """
    now = time.monotonic()
    with lease.arming:
        is_due = lease.ends_at is not None and lease.ends_at - now < SHORT_SECONDS
        if is_due and lease.is_open and not lease.lost and not lease.wanted_until:
            _arm(lease, now + max(terms.linger, 2 * SHORT_SECONDS), terms, grace=terms.grace)


def _hold(lease: Lease, run: NodeRun, until: float, terms: Terms) -> None:
    """Tell a pod until when a node may need it; it ends itself once none may. Raises RemoteError."""
    lease.wanted_until[run] = until
    with lease.arming:
        wanted = max([*lease.wanted_until.values()])
        if (
            lease.ends_at is None
            or abs(wanted - lease.ends_at) > TOLERANCE_SECONDS
            or lease.grace > terms.grace
        ):
            _arm(lease, wanted, terms, grace=terms.grace)


def allow_pull(lease: Lease, terms: Terms) -> None:
    """See to it that a pod is not ended by its deadline while results are fetched from it.

    With the driver gone it ends at its deadline all the same. Costs nothing while that is far enough.
    """
    left = 0.0 if lease.ends_at is None else lease.ends_at + lease.grace - time.monotonic()
    if lease.ends_at is not None and left < PULL_SECONDS / 2:
        # Without it the pull is tried all the same: it tells better what is wrong.
        with contextlib.suppress(RemoteError), lease.arming:
            _arm(lease, lease.ends_at, terms, grace=left + PULL_SECONDS)


def keep(lease: Lease, seconds: float, *, unheard: bool = True) -> bool:
    """Let a pod live for ``seconds`` more, without a driver; return whether it can be left so.

    A pod that cannot be reached does not hear of it, and lives until the end it was told before. ``unheard`` tells
    whether it may.
    """
    if not lease.lost:
        try:
            with lease.arming:
                _arm(lease, time.monotonic() + seconds, Terms(linger=seconds), grace=0.0)
        except ConnectionLost:
            pass
        except RemoteError:
            return False
        else:
            return True
    # Nobody can tell it now, but it was told before when to end at the latest.
    return unheard and lease.ends_at is not None


def _setup_seconds(run: NodeRun) -> float:
    """Return how long a pod may live for a node whose job has not begun."""
    left = money_seconds(run)
    return (_budget(run).max_runtime_seconds or UNPRICED_SECONDS) if left is None else left


def _arm(lease: Lease, until: float, terms: Terms, *, grace: float) -> None:
    """Tell the watchdog when to end the pod (monotonic). Raises RemoteError. ``lease.arming`` is held."""
    assert lease.pod is not None
    assert lease.remote is not None
    seconds = until - time.monotonic()
    tell = arm if lease.ends_at is None else arm_again
    try:
        deadline = tell(
            lease.remote,
            pod_id=lease.pod.id,
            seconds_left=seconds,
            linger_seconds=terms.linger,
            grace_seconds=grace,
        )
    except ConnectionLost:
        lease.lost = True
        raise
    lease.ends_at, lease.grace = until, grace
    lease.note(
        "armed", deadline=deadline, seconds=round(seconds), linger=round(terms.linger), grace=round(grace)
    )
