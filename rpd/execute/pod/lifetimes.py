"""Lifetimes: how long the pods of a run may live, given the time and budget of the nodes that use them."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from rpd.errors import PodNotReady
from rpd.execute.deadlines import Timeouts
from rpd.execute.node.pod_use import PodUse
from rpd.lease.fate import Fate, decide_fate, usual_fate
from rpd.lease.lease import Lease
from rpd.remote.watchdog import UNPRICED_SECONDS, Terms, Unguarded
from rpd.stop import StopLevel
from rpd.uptime import uptime
from rpd.values.job import Lifecycle


class Watched(Protocol):
    """The part of a pod, or of several rented together, that lifetimes need."""

    def watch(self) -> None:
        """Start to receive telemetry, and show its watchdogs that a driver is present."""


class Lifetimes:
    """Set the deadlines at which the pods of a run end themselves, under its ``terms``."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    # --- one pod ----------------------------------------------------------------------------------------------------

    def secure(self, lease: Lease, use: PodUse) -> None:
        """Start the watchdog of a pod that was just rented.

        Raise PodNotReady if it cannot be started, ConnectionLost, PodLost.
        """
        assert lease.remote is not None
        with lease.cut_by_stop(lease.remote):
            try:
                lease.lifetime.begin(use, uptime() + _setup_seconds(use), self.terms)
            except Unguarded as error:
                raise PodNotReady(str(error)) from error
            self.pods_changed(use)  # with the other pods of the job: together they reach its cap sooner

    def watch(self, pod: Watched) -> None:
        """Receive telemetry of a pod, which shows its watchdog that a driver is present."""
        pod.watch()

    def welcome(self, lease: Lease, use: PodUse) -> None:
        """Let a pod that other nodes used before live until a node is set up. Raise RemoteError.

        Costs no round trip while the present deadline is late enough; the job's own limit is set when it
        begins.
        """
        if not lease.is_wide:
            return
        if use.deadlines.ends_at is not None:
            lease.lifetime.need(use, use.deadlines.ends_at, self.terms)
        elif lease.lifetime.is_short:
            lease.lifetime.need(use, uptime() + _setup_seconds(use), self.terms)

    def bridge(self, lease: Lease) -> None:
        """Let a shared pod survive a gap in which no job runs on it. Raise RemoteError."""
        if lease.is_wide:
            lease.lifetime.bridge(self.terms)

    def allow_pull(self, lease: Lease) -> None:
        """Keep the deadline of a pod from ending it while results are being fetched."""
        lease.lifetime.allow_pull(self.terms)

    def decide(self, lease: Lease, lifecycle: Lifecycle, use: PodUse, level: StopLevel) -> Fate:
        """Decide how a pod is given back; if it stays, its new deadline is set."""
        return decide_fate(lease, lifecycle, self.terms, level, partial(use.money_seconds, [lease]))

    # --- one node ---------------------------------------------------------------------------------------------------

    def begin(self, use: PodUse) -> None:
        """Set the deadlines of a job that starts now, and send them to its pods. Raise RemoteError."""
        deadlines = use.deadlines
        deadlines.timeouts = Timeouts.of(use.node)
        now, longest = uptime(), use.budget.max_runtime_seconds
        if deadlines.timeouts.job is not None:
            deadlines.timeout_at = now + deadlines.timeouts.job
        deadlines.runtime_at = now + longest if longest else None
        self._reconsider(use)

    def pods_changed(self, use: PodUse) -> None:
        """Recompute the deadlines of a running job for the pods it has now. Raise RemoteError."""
        if use.deadlines.clock is not None:
            self._reconsider(use)

    def _reconsider(self, use: PodUse) -> None:
        left = use.money_seconds()
        use.deadlines.money_at = None if left is None else uptime() + left
        use.deadlines.caps = use.caps
        ends_at = use.deadlines.ends_at
        if use.deadlines.clock is not None and ends_at is not None:
            use.deadlines.clock.move(ends_at)
        for lease in use.leases:
            if lease.is_open and lease.lifetime.ends_at is not None and not lease.is_lost:
                until = uptime() + UNPRICED_SECONDS if ends_at is None else ends_at
                lease.lifetime.need(use, until, self.terms)

    def leave(self, use: PodUse) -> None:
        """Stop extending the deadlines of pods for a node that is over; those that other nodes use stay."""
        for lease in use.leases:
            lease.lifetime.leave(use)


class NoLifetimes(Lifetimes):
    """The lifetimes of a dry run, whose pods do not exist."""

    def __init__(self) -> None:
        super().__init__(Terms())

    def secure(self, lease: Lease, use: PodUse) -> None:
        pass

    def watch(self, pod: Watched) -> None:
        pass

    def welcome(self, lease: Lease, use: PodUse) -> None:
        pass

    def allow_pull(self, lease: Lease) -> None:
        pass

    def decide(self, lease: Lease, lifecycle: Lifecycle, use: PodUse, level: StopLevel) -> Fate:  # noqa: ARG002
        return usual_fate(lease, lifecycle)

    def begin(self, use: PodUse) -> None:
        pass

    def pods_changed(self, use: PodUse) -> None:
        pass

    def leave(self, use: PodUse) -> None:
        pass


def _setup_seconds(use: PodUse) -> float:
    """Return how long a pod may live for a node whose job has not started, in seconds."""
    left = use.money_seconds()
    return (use.budget.max_runtime_seconds or UNPRICED_SECONDS) if left is None else left
