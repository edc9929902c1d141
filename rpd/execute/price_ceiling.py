"""The cover: keeps each node within its announced worst case, so that nothing more expensive is rented."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from rpd.errors import BudgetExceeded
from rpd.execute.node.pod_use import PodUse
from rpd.execute.run_budget import Purse
from rpd.values.job import Budget
from rpd.values.node import Node
from rpd.values.pod import Offer, PodRequest
from rpd.values.prices import disks_usd_per_hr, worst_usd

_ROUNDING_USD = 1e-6


class Cover:
    """Keeps every node within the worst case it was priced at. Thread-safe.

    A node may need more because it requests a pod that could not be foreseen, or because prices rose. That is
    rented only if an explicit ``--budget`` still has room for it. ``total`` is the worst case of the whole
    run.
    """

    def __init__(
        self,
        *,
        worst_case: Callable[[Node], float],
        budget_of: Callable[[Node], Budget],
        total: float,
        purse: Purse,
    ) -> None:
        self._worst_case = worst_case
        self._budget_of = budget_of
        self._total = total
        self._purse = purse
        self._lock = threading.Lock()
        self._added: dict[str, float] = {}

    def ceiling(self, node: Node) -> float:
        """Return the most that all attempts of a node may cost together, in USD."""
        with self._lock:
            return self._worst_case(node) + self._added.get(node.id, 0.0)

    def left_of(self, node: Node, spent: float) -> float | None:
        """Return the most that another attempt may cost after earlier ones ``spent`` so much, in USD.

        None: no limit.
        """
        return self.ceiling(node) - spent

    def admit(self, use: PodUse, request: PodRequest, offers: Sequence[Offer]) -> Sequence[Offer]:
        """Return the offers that a node may rent for ``request`` in addition to its pods. Raise BudgetExceeded."""
        if not offers:
            return offers
        self._check_rest(use)
        costs = self._costs(use, request, offers)
        ceiling = self.ceiling(use.node)
        if min(costs) > ceiling + _ROUNDING_USD:
            ceiling = self._extended(use, request, ceiling, min(costs))
        return [offer for offer, usd in zip(offers, costs, strict=True) if usd <= ceiling + _ROUNDING_USD]

    def _check_rest(self, use: PodUse) -> None:
        """Raise BudgetExceeded if earlier attempts used up the node's worst case."""
        if use.bill.ceiling is not None and use.bill.ceiling <= 0:
            raise BudgetExceeded(
                f"no pod is rented for another attempt: the earlier ones cost the ${self.ceiling(use.node):.2f} that "
                "this node may cost at worst. Raise its limits: Budget(cost_cap_usd=…, max_runtime=…)"
            )

    def _costs(self, use: PodUse, request: PodRequest, offers: Sequence[Offer]) -> list[float]:
        """Return the worst case of the node, in USD, with a pod of each offer."""
        budget = self._budget_of(use.node)
        disks = disks_usd_per_hr(request)
        rates = [lease.total_usd_per_hr for lease in use.leases if lease.is_open and lease.pod is not None]
        return [
            worst_usd(budget, [*rates, None if offer.usd_per_hr is None else offer.usd_per_hr + disks])
            for offer in offers
        ]

    def _extended(self, use: PodUse, request: PodRequest, ceiling: float, needed_usd: float) -> float:
        """Return the new ceiling of a node if the budget of the run has room for it. Raise BudgetExceeded."""
        extra = needed_usd - ceiling
        if not self._purse.extend(use.node.id, extra):
            raise BudgetExceeded(self._refusal(use, request, ceiling, needed_usd))
        with self._lock:
            self._added[use.node.id] = self._added.get(use.node.id, 0.0) + extra
        if use.bill.ceiling is not None:
            use.bill.ceiling += extra
        return needed_usd

    def _refusal(self, use: PodUse, request: PodRequest, ceiling: float, needed_usd: float) -> str:
        what = str(request.gpu) if request.gpu else "a CPU pod"
        extra = (
            " in addition to the pods it has"
            if any(lease.is_open and lease.pod for lease in use.leases)
            else ""
        )
        refused = (
            f"{what} is not rented{extra}: this node could then cost up to ${needed_usd:.2f}, but the worst case "
            f"shown before the run was ${ceiling:.2f} for it and ${self._total:.2f} for all nodes. A fixture asks for "
            "a pod that rpd could not foresee, or prices rose."
        )
        needed = math.ceil((self._total + needed_usd - ceiling) * 100) / 100
        if self._purse.cap is None:
            return f"{refused} Set a budget for the whole run: --budget {needed:.2f} covers this node"
        return f"{refused} --budget {self._purse.cap:.2f} has no room left for it: raise it"


class NoCover(Cover):
    """The cover of a dry run: nothing is paid for."""

    def __init__(self) -> None:
        pass

    def left_of(self, node: Node, spent: float) -> None:  # noqa: ARG002
        return None

    def admit(self, use: PodUse, request: PodRequest, offers: Sequence[Offer]) -> Sequence[Offer]:  # noqa: ARG002
        return offers
