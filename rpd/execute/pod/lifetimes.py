"""Lifetimes: how long the pods of a run may live, from the time and money of the nodes that use them."""

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
    """What a lifetime needs of a pod, or of several that are rented together."""

    def watch(self) -> None:
        """Begin to listen to it, and show its watchdogs that a driver is there."""


class Lifetimes:
    """Tells the pods of a run when to end themselves, under its ``terms``."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    # --- one pod ----------------------------------------------------------------------------------------------------

    def secure(self, lease: Lease, run: NodeRun) -> None:
        """Let a pod that has just become ours guard itself.

        Raises PodNotReady where it cannot, ConnectionLost, PodLost.
        """
        assert lease.remote is not None
        with lease.cut_by_stop(lease.remote):
            try:
                lease.lifetime.begin(run, time.monotonic() + _setup_seconds(run), self.terms)
            except Unguarded as error:
                raise PodNotReady(str(error)) from error
            self.pods_changed(run)  # with the other pods of the job: together they reach its cap sooner

    def watch(self, pod: Watched) -> None:
        """Listen to a pod, which shows its watchdog that a driver is there."""
        pod.watch()

    def welcome(self, lease: Lease, run: NodeRun) -> None:
        """Let a pod that other nodes used before live until ``run`` is set up. Raises RemoteError.

        Costs nothing while the deadline it has will do: how long the job may take is set when it begins.
        """
        if not lease.is_wide:
            return
        if run.deadlines.ends_at is not None:
            lease.lifetime.need(run, run.deadlines.ends_at, self.terms)
        elif lease.lifetime.is_short:
            lease.lifetime.need(run, time.monotonic() + _setup_seconds(run), self.terms)

    def bridge(self, lease: Lease) -> None:
        """Let a shared pod outlast a time in which no job runs on it. Raises RemoteError."""
        if lease.is_wide:
            lease.lifetime.bridge(self.terms)

    def allow_pull(self, lease: Lease) -> None:
        """Keep the deadline of a pod from ending it while results are fetched from it."""
        lease.lifetime.allow_pull(self.terms)

    def decide(self, lease: Lease, lifecycle: Lifecycle, run: NodeRun, level: StopLevel) -> Fate:
        """Decide how a pod is given back; one that stays has its new deadline then."""
        return decide_fate(lease, lifecycle, self.terms, level, partial(money_seconds, run, [lease]))

    # --- one node ---------------------------------------------------------------------------------------------------

    def begin(self, run: NodeRun) -> None:
        """Note when a job that begins now has to end, and tell its pods. Raises RemoteError."""
        deadlines = run.deadlines
        deadlines.timeouts = Timeouts.of(run.node)
        now, longest = time.monotonic(), _budget(run).max_runtime_seconds
        if deadlines.timeouts.job is not None:
            deadlines.timeout_at = now + deadlines.timeouts.job
        deadlines.runtime_at = now + longest if longest else None
        self._reconsider(run)

    def pods_changed(self, run: NodeRun) -> None:
        """Work out anew when a job that is under way has to end, with the pods it has now. Raises RemoteError."""
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
        """Keep pods no longer for a node that is over. Those that others use have their deadlines."""
        for lease in run.leases:
            lease.lifetime.leave(run)


class NoLifetimes(Lifetimes):
    """The lifetimes of pods that do not exist: those of a dry run."""

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
    """Return how long ``run`` may still use its pods (or ``leases``) for its money; None where no rate is known.

    What the pods billed before, for other nodes, does not count.
    """
    used = run.leases if leases is None else leases
    rate = _rate(run, used)
    if rate <= 0:
        return None
    spent = sum(_used_seconds(run, lease) * lease.total_usd_per_hr / 3600 for lease in used)
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
    """Return how long a pod may live for a node whose job has not begun."""
    left = money_seconds(run)
    return (_budget(run).max_runtime_seconds or UNPRICED_SECONDS) if left is None else left
