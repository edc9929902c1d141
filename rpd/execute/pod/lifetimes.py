"""Lifetimes: how long the pods of a run may live, given the time and budget of the nodes that use them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from rpd.errors import PodNotReady
from rpd.execute.deadlines import Timeouts
from rpd.execute.node.run import NodeRun
from rpd.lease.fate import Fate, decide_fate, usual_fate
from rpd.lease.lease import Lease
from rpd.remote.watchdog import UNPRICED_SECONDS, Terms, Unguarded
from rpd.stop import StopLevel
from rpd.values.duration import format_duration
from rpd.values.job import Budget, Lifecycle


class Watched(Protocol):
    """The part of a pod, or of several rented together, that lifetimes need."""

    def watch(self) -> None:
        """Start to receive telemetry, and show its watchdogs that a driver is present."""


class Lifetimes:
    """Set the deadlines at which the pods of a run end themselves, under its ``terms``."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    # --- one pod ----------------------------------------------------------------------------------------------------

    def secure(self, lease: Lease, run: NodeRun) -> None:
        """Start the watchdog of a pod that was just rented.

        Raise PodNotReady if it cannot be started, ConnectionLost, PodLost.
        """
        assert lease.remote is not None
        with lease.cut_by_stop(lease.remote):
            try:
                lease.lifetime.begin(run, time.monotonic() + _setup_seconds(run), self.terms)
            except Unguarded as error:
                raise PodNotReady(str(error)) from error
            self.pods_changed(run)  # with the other pods of the job: together they reach its cap sooner

    def watch(self, pod: Watched) -> None:
        """Receive telemetry of a pod, which shows its watchdog that a driver is present."""
        pod.watch()

    def welcome(self, lease: Lease, run: NodeRun) -> None:
        """Let a pod that other nodes used before live until ``run`` is set up. Raise RemoteError.

        Costs no round trip while the present deadline is late enough; the job's own limit is set when it
        begins.
        """
        if not lease.is_wide:
            return
        if run.deadlines.ends_at is not None:
            lease.lifetime.need(run, run.deadlines.ends_at, self.terms)
        elif lease.lifetime.is_short:
            lease.lifetime.need(run, time.monotonic() + _setup_seconds(run), self.terms)

    def bridge(self, lease: Lease) -> None:
        """Let a shared pod survive a gap in which no job runs on it. Raise RemoteError."""
        if lease.is_wide:
            lease.lifetime.bridge(self.terms)

    def allow_pull(self, lease: Lease) -> None:
        """Keep the deadline of a pod from ending it while results are being fetched."""
        lease.lifetime.allow_pull(self.terms)

    def decide(self, lease: Lease, lifecycle: Lifecycle, run: NodeRun, level: StopLevel) -> Fate:
        """Decide how a pod is given back; if it stays, its new deadline is set."""
        return decide_fate(lease, lifecycle, self.terms, level, partial(money_seconds, run, [lease]))

    # --- one node ---------------------------------------------------------------------------------------------------

    def begin(self, run: NodeRun) -> None:
        """Set the deadlines of a job that starts now, and send them to its pods. Raise RemoteError."""
        deadlines = run.deadlines
        deadlines.timeouts = Timeouts.of(run.node)
        now, longest = time.monotonic(), _budget(run).max_runtime_seconds
        if deadlines.timeouts.job is not None:
            deadlines.timeout_at = now + deadlines.timeouts.job
        deadlines.runtime_at = now + longest if longest else None
        self._reconsider(run)

    def pods_changed(self, run: NodeRun) -> None:
        """Recompute the deadlines of a running job for the pods it has now. Raise RemoteError."""
        if run.deadlines.clock is not None:
            self._reconsider(run)

    def _reconsider(self, run: NodeRun) -> None:
        budget, left = _budget(run), money_seconds(run)
        run.deadlines.money_at = None if left is None else time.monotonic() + left
        run.deadlines.caps = _in_words(run, budget)
        ends_at = run.deadlines.ends_at
        if run.deadlines.clock is not None and ends_at is not None:
            run.deadlines.clock.move(ends_at)
        for lease in run.leases:
            if lease.is_open and lease.lifetime.ends_at is not None and not lease.is_lost:
                until = time.monotonic() + UNPRICED_SECONDS if ends_at is None else ends_at
                lease.lifetime.need(run, until, self.terms)

    def leave(self, run: NodeRun) -> None:
        """Stop extending the deadlines of pods for a node that is over; those that other nodes use stay."""
        for lease in run.leases:
            lease.lifetime.leave(run)


class NoLifetimes(Lifetimes):
    """The lifetimes of a dry run, whose pods do not exist."""

    def __init__(self) -> None:
        super().__init__(Terms())

    def secure(self, lease: Lease, run: NodeRun) -> None:
        pass

    def watch(self, pod: Watched) -> None:
        pass

    def welcome(self, lease: Lease, run: NodeRun) -> None:
        pass

    def allow_pull(self, lease: Lease) -> None:
        pass

    def decide(self, lease: Lease, lifecycle: Lifecycle, run: NodeRun, level: StopLevel) -> Fate:  # noqa: ARG002
        return usual_fate(lease, lifecycle)

    def begin(self, run: NodeRun) -> None:
        pass

    def pods_changed(self, run: NodeRun) -> None:
        pass

    def leave(self, run: NodeRun) -> None:
        pass


def money_seconds(run: NodeRun, leases: Sequence[Lease] | None = None) -> float | None:
    """Return how long ``run`` can afford its pods (or ``leases``), in seconds; None if no rate is known.

    Time that the pods billed for earlier nodes does not count.
    """
    used = run.leases if leases is None else leases
    rate = _rate(run, used)
    if rate <= 0:
        return None
    spent = sum(_used_seconds(run, lease) * lease.total_usd_per_hr / 3600 for lease in used)
    return max(0.0, (_money(run) - spent) / rate * 3600)


def _money(run: NodeRun) -> float:
    """Return the most that an attempt may cost, in USD."""
    cap: float = _budget(run).cost_cap_usd
    return cap if run.bill.ceiling is None else min(cap, run.bill.ceiling)


def _budget(run: NodeRun) -> Budget:
    budget: Budget = run.context.overrides.budget(run.node.job.budget)
    return budget


def _rate(run: NodeRun, leases: Sequence[Lease]) -> float:
    """Return the hourly price, for this node, of those pods that are still rented, in USD."""
    there = [lease for lease in leases if lease.is_open and lease.rate_usd_per_hr > 0]
    return sum(lease.total_usd_per_hr for lease in there) * run.share


def _used_seconds(run: NodeRun, lease: Lease) -> float:
    """Return how many seconds of the whole pod the node has used."""
    return (time.monotonic() - run.began) * run.share if run.share < 1 else lease.unmetered_seconds


def _in_words(run: NodeRun, budget: Budget) -> dict[str, str]:
    rate = f"at ${_rate(run, run.leases):.2f}/h"
    money = _money(run)
    amount = f"${money:.2f}" if money >= 0.1 else f"${money:.4f}"
    if money < budget.cost_cap_usd:
        cap = f"its worst case of {amount} ({rate}), the worst case that was shown before the run"
    else:
        cap = f"its cap of {amount} (cost_cap_usd, {rate})"
    longest = budget.max_runtime_seconds
    return {
        "money": cap,
        "runtime": f"its cap of {format_duration(longest)} (max_runtime)" if longest else "",
    }


def _setup_seconds(run: NodeRun) -> float:
    """Return how long a pod may live for a node whose job has not started, in seconds."""
    left = money_seconds(run)
    return (_budget(run).max_runtime_seconds or UNPRICED_SECONDS) if left is None else left
