"""The pods that one node uses: its part of each, and how long its time and money last."""

from __future__ import annotations

from collections.abc import Sequence

from rpd.execute.deadlines import Deadlines
from rpd.lease.lease import Lease
from rpd.uptime import uptime
from rpd.values.duration import format_duration
from rpd.values.job import Budget
from rpd.values.mutable import fresh, mutable
from rpd.values.node import Node


@mutable
class Bill:
    """The charges of one attempt of a node so far: pod time in seconds, and USD.

    ``ceiling`` is the most that the attempt may cost in USD: the worst case shown before the run less the
    cost of earlier attempts; None: the cap of its job.
    """

    seconds: float = 0.0
    usd: float = 0.0
    ceiling: float | None = None

    def charge(self, seconds: float, usd: float) -> None:
        """Add a charge of a pod."""
        self.seconds += seconds
        self.usd += usd


@mutable
class PodUse:
    """One attempt of ``node``, as seen by the code that rents its pods, keeps them alive and charges it.

    ``budget`` is that of its job, under the flags of the run.
    """

    node: Node
    budget: Budget
    bill: Bill = fresh(factory=Bill)
    deadlines: Deadlines = fresh(factory=Deadlines)
    began: float = fresh(factory=uptime)
    gpus: tuple[int, ...] = ()
    """Indices of the pod's GPUs that the node has to itself; empty: all of them."""
    share: float = 1.0
    """The node's part of the pod, 0 to 1."""
    leases: list[Lease] = fresh(factory=list)
    """The pods it used, in order."""
    joined: list[Lease] = fresh(factory=list)
    """Those of them that count it among the nodes they serve."""
    own_lease: Lease | None = None
    """The lease of its fixture ``pod``."""
    had_open_pods: bool = False
    """Whether some of its pods were still rented when it was reported, so that the report may change."""

    @property
    def main_lease(self) -> Lease | None:
        """The lease of the pod that the node is recorded with."""
        return self.own_lease or (self.leases[-1] if self.leases else None)

    @property
    def open_lease(self) -> Lease | None:
        """The first of its pods that is still rented."""
        return next((lease for lease in self.leases if lease.is_open), None)

    @property
    def money(self) -> float:
        """The most that the attempt may cost, in USD."""
        cap = self.budget.cost_cap_usd
        return cap if self.bill.ceiling is None else min(cap, self.bill.ceiling)

    @property
    def caps(self) -> dict[str, str]:
        """The caps that the node reaches when its money is spent, and when it has run its longest time, in words."""
        rate = f"at ${self._rate(self.leases):.2f}/h"
        amount = f"${self.money:.2f}" if self.money >= 0.1 else f"${self.money:.4f}"
        if self.money < self.budget.cost_cap_usd:
            cap = f"its worst case of {amount} ({rate}), the worst case that was shown before the run"
        else:
            cap = f"its cap of {amount} (cost_cap_usd, {rate})"
        longest = self.budget.max_runtime_seconds
        return {
            "money": cap,
            "runtime": f"its cap of {format_duration(longest)} (max_runtime)" if longest else "",
        }

    def money_seconds(self, leases: Sequence[Lease] | None = None) -> float | None:
        """Return how long the node can afford its pods (or ``leases``), in seconds; None if no rate is known.

        Time that the pods billed for earlier nodes does not count.
        """
        used = self.leases if leases is None else leases
        rate = self._rate(used)
        if rate <= 0:
            return None
        spent = sum(self._used_seconds(lease) * lease.total_usd_per_hr / 3600 for lease in used)
        return max(0.0, (self.money - spent) / rate * 3600)

    def settle(self) -> None:
        """Charge the node with the pod time that has been billed since the last charge to any node."""
        for lease in self.leases:
            is_shared = self.share < 1 and lease.is_open
            meter = lease.take_share(self._shared_seconds) if is_shared else lease.take_meter()
            self.bill.charge(meter.seconds, meter.usd)

    def _rate(self, leases: Sequence[Lease]) -> float:
        """Return the hourly price, for this node, of those pods that are still rented, in USD."""
        there = [lease for lease in leases if lease.is_open and lease.rate_usd_per_hr > 0]
        return sum(lease.total_usd_per_hr for lease in there) * self.share

    def _used_seconds(self, lease: Lease) -> float:
        """Return how many seconds of the whole pod the node has used."""
        return self._shared_seconds if self.share < 1 else lease.unmetered_seconds

    @property
    def _shared_seconds(self) -> float:
        return (uptime() - self.began) * self.share
