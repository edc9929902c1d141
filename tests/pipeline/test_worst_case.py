"""The worst case of a node: what its pods cost at the most expensive offers, at most its cap."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rpd.errors import AuthError, BalanceError, ImpossibleRequest, ProviderError, UsageError
from rpd.execute.rental_calls import Unforeseen
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.worst_case import (
    Prices,
    at_most_usd,
    check_balance,
    check_set_aside,
    may_start,
    what_it_rents,
)
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.job import Budget, Gpu, Job
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.plan import Ahead, Lane, Plan, Source
from rpd.values.pod import Account, Cloud, Offer, PodRequest
from rpd.values.prices import disks_usd_per_hr
from tests.heard import Heard
from tests.nodes import definition

L4 = Gpu("NVIDIA L4")
JOB = Job(gpu=L4, budget=Budget(cost_cap_usd=10, max_runtime="1h", ssh_ready_timeout="30m"))
DISK = disks_usd_per_hr(Overrides().request(JOB, L4))


def node(job: Job = JOB, name: str = "fit") -> Node:
    return Node(definition=definition(name, job=job), id=f"deploy_x.py::{name}")


class Market(OfflineProvider):
    """Offers these rates for every request, or raises an error; it counts the questions."""

    def __init__(self, *rates: float | None, error: ProviderError | None = None) -> None:
        super().__init__()
        self._rates = rates
        self._error = error
        self.asked = 0

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        self.asked += 1
        if self._error is not None:
            raise self._error
        return [
            Offer(gpu_id="NVIDIA L4", count=1, cloud=Cloud.SECURE, datacenter="EU-RO-1", usd_per_hr=rate)
            for rate in self._rates
        ]


def prices(market: Market, *pods: Sequence[Job], error: Unforeseen | None = None) -> Prices:
    """Return the prices of nodes that have these pods, each with the jobs it may be rented with."""
    foreseen = tuple(map(tuple, pods))

    def look(_node: Node) -> Any:
        if error is not None:
            raise error
        return foreseen

    return Prices(lambda: market, Overrides(), cast("Foresight", SimpleNamespace(pods=look)))


@pytest.mark.parametrize(
    ("rates", "pods", "worst"),
    [
        pytest.param((1.0, 2.0), 1, 1.5 * (2.0 + DISK), id="the longest time at the most expensive offer"),
        pytest.param(
            (1.0,), 2, 2.0 * 2 * (1.0 + DISK), id="the second pod may boot while the first one bills"
        ),
        pytest.param((9.0,), 1, 10.0, id="the cap"),
        pytest.param((1.0, None), 1, 10.0, id="an unknown price may reach the cap"),
        pytest.param((), 1, None, id="no offers"),
        pytest.param((1.0,), 0, 0.0, id="no pods"),
    ],
)
def test_the_worst_case_of_a_node(rates: tuple[float | None, ...], pods: int, worst: float | None) -> None:
    """Its ceiling is the same; without offers it is the cap, since that may change."""
    market = Market(*rates)
    made = prices(market, *[[JOB]] * pods)
    assert made.worst_case(node()) == (None if worst is None else pytest.approx(worst))
    assert made.ceiling(node(name="other")) == pytest.approx(10.0 if worst is None else worst)
    assert market.asked <= 1


def test_a_pod_that_may_be_rented_with_either_job_costs_the_more_expensive_one() -> None:
    large = JOB.derive(container_disk_gb=1000)
    made = prices(Market(1.0), [JOB, large])
    assert made.worst_case(node()) == pytest.approx(
        1.5 * (1.0 + disks_usd_per_hr(Overrides().request(large, L4)))
    )


def test_what_is_not_known_beforehand_counts_with_the_cap() -> None:
    """Pods that nobody can foresee, and prices that cannot be read; a key that is refused ends the run."""
    heard = Heard()
    made = prices(Market(1.0), error=Unforeseen("it rents pods in a loop"))
    assert [made.worst_case(node(name=name)) for name in ("fit", "other")] == [10.0, 10.0]
    made.tell_unforeseen(heard)
    assert heard.notices == ["2 nodes are priced by the cost cap, because it rents pods in a loop"]
    assert prices(Market(error=ProviderError("busy")), [JOB]).worst_case(node()) == 10.0
    with pytest.raises(AuthError):
        prices(Market(error=AuthError("no")), [JOB]).worst_case(node())


def test_what_can_never_be_rented_is_an_error_with_its_place() -> None:
    made = prices(Market(error=ImpossibleRequest("no GPU has 900 GB")), [JOB])
    assert made.worst_case(node()) == 10.0
    with pytest.raises(UsageError, match=r"deploy_x\.py:1: no GPU has 900 GB"):
        made.check()


def test_a_node_that_joins_costs_no_more_than_its_kind_was_priced_at() -> None:
    made = prices(Market(1.0), [JOB])
    dear = node(JOB.derive(budget=Budget(cost_cap_usd=99, max_runtime="50h")), "joined")
    assert made.ceiling(dear) > 50
    made.hold(dear, Ahead(nodes=(node(),), most=3))
    assert made.ceiling(dear) == pytest.approx(1.5 * (1.0 + DISK))


def test_the_question_is_asked_above_the_limit_only_and_after_what_it_is_about() -> None:
    heard, asked = Heard(), list[tuple[float, float]]()
    made = prices(Market(2.0), [JOB])
    plan = Plan(lanes=(Lane(nodes=(node(),)), Lane(nodes=(node(name="b"),))), width=2, worst_case_usd=6.0)

    def answer(most: float, limit: float) -> bool:
        asked.append((most, limit))
        return False

    assert may_start(None, 6.0, plan, made, heard, answer)
    assert may_start(6.0, 6.0, plan, made, heard, answer)
    assert (heard.notices, asked) == ([], [])
    assert not may_start(5.0, 6.0, plan, made, heard, answer)
    assert asked == [(6.0, 5.0)]
    assert heard.notices == [what_it_rents(plan, made)]
    assert heard.notices[0].startswith(
        "2 nodes, 2 at a time: each on NVIDIA L4 in EU-RO-1 (secure) at $2.00 an hour"
    )
    assert (at_most_usd(None, plan), at_most_usd(2.0, plan), at_most_usd(9.0, plan)) == (6.0, 2.0, 6.0)


def test_money_that_is_set_aside_must_be_in_the_budget() -> None:
    made = prices(Market(9.0), [JOB])
    confirming = Source()
    confirming.ahead = (Ahead(nodes=(node(),), most=2, is_set_aside=True),)
    plan = Plan(lanes=(), worst_case_usd=20.0, sources=(confirming,))
    check_set_aside(None, plan, made)
    check_set_aside(20.0, plan, made)
    with pytest.raises(
        UsageError, match=r"--budget 19 does not cover the last 2 nodes, which may cost \$20\.00"
    ):
        check_set_aside(19.0, plan, made)


@pytest.mark.parametrize(("usd", "told"), [(None, ""), (5.0, ""), (4.99, "less than this run may cost")])
def test_the_balance_is_compared(usd: float | None, told: str) -> None:
    assert told in check_balance(Account(id="a", balance_usd=usd), 5.0)


@pytest.mark.parametrize("usd", [0.0, -0.001, -3.0])
def test_an_account_without_credit_rents_nothing(usd: float) -> None:
    with pytest.raises(BalanceError, match="no credit"):
        check_balance(Account(id="a", balance_usd=usd), 1.0)
