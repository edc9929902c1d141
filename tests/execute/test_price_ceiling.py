"""The cover: the pods that may be rented for the announced money."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rpd.errors import BudgetExceeded
from rpd.execute.node.pod_use import Bill
from rpd.execute.price_ceiling import Cover
from rpd.execute.run_budget import Purse
from rpd.values.job import Budget, Gpu
from rpd.values.pod import Cloud, Offer, PodRequest

REQUEST = PodRequest(image="i", gpu=Gpu("NVIDIA L4"), container_disk_gb=1)
BUDGET = Budget(cost_cap_usd=10, max_runtime="45m")


def offer(usd_per_hr: float | None) -> Offer:
    return Offer(gpu_id="NVIDIA L4", count=1, cloud=Cloud.SECURE, datacenter=None, usd_per_hr=usd_per_hr)


def node_run(*held_usd_per_hr: float, ceiling: float = 1.0) -> Any:
    leases = [SimpleNamespace(is_open=True, pod=object(), total_usd_per_hr=usd) for usd in held_usd_per_hr]
    return SimpleNamespace(node=SimpleNamespace(id="n"), leases=leases, bill=Bill(ceiling=ceiling))


def cover(usd: float, purse: Purse | None = None) -> Cover:
    return Cover(worst_case=lambda _: usd, budget_of=lambda _: BUDGET, total=usd, purse=purse or Purse(None))


def test_offers_that_are_dearer_are_left_out() -> None:
    """The hourly cost of each decides; an unknown price may reach the cap."""
    cheap, dear, unknown = offer(0.9), offer(1.1), offer(None)
    assert cover(1.0).admit(node_run(), REQUEST, [dear, cheap, unknown]) == [cheap]
    assert cover(10.0).admit(node_run(), REQUEST, [dear, cheap, unknown]) == [dear, cheap, unknown]
    assert cover(1.0).admit(node_run(), REQUEST, []) == []


def test_the_pods_a_node_has_count() -> None:
    """A second pod is refused if both together could cost more than was announced."""
    with pytest.raises(
        BudgetExceeded, match=r"in addition to the pods it has.*up to \$1\.75.*--budget 1\.76"
    ):
        cover(1.0).admit(node_run(0.5), REQUEST, [offer(0.9)])


def test_a_budget_covers_what_could_not_be_foreseen() -> None:
    """As long as it has room, for the node and the others; the node may cost so much more then."""
    purse = Purse(2.5)
    purse.reserve("n", 1.0)
    purse.reserve("other", 0.5)
    covered, run = cover(1.0, purse), node_run()
    assert covered.admit(run, REQUEST, [offer(1.9)]) == [offer(1.9)]
    assert covered.ceiling(run.node) == run.bill.ceiling == pytest.approx(1.9, rel=0.01)
    with pytest.raises(BudgetExceeded, match=r"--budget 2\.50 has no room left"):
        covered.admit(run, REQUEST, [offer(2.5)])


def test_nothing_is_rented_for_an_attempt_without_money() -> None:
    """If earlier attempts used up the node's money, the error says so."""
    with pytest.raises(BudgetExceeded, match="the earlier ones cost the"):
        cover(1.0).admit(node_run(ceiling=0.0), REQUEST, [offer(0.1)])
