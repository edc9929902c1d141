"""What nodes may cost at worst, and the question whether that may be spent."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rpd.config import Config
from rpd.errors import BalanceError, DefinitionError, ImpossibleRequest, ProviderError, UsageError
from rpd.execute.context import Overrides
from rpd.values.job import Budget, Gpu
from rpd.values.node import Node
from rpd.values.pod import Account, Offer, PodRequest, Provider
from rpd.values.prices import disks_usd_per_hr


class Prices:
    """Worst cases of nodes, each kind of request asked for once. Raises ProviderError where the far end cannot say."""

    def __init__(self, provider: Callable[[], Provider], overrides: Overrides) -> None:
        self._provider = provider
        self._overrides = overrides
        self._offers: dict[int, tuple[Offer, ...]] = {}
        self._requests: dict[tuple[int, object], PodRequest] = {}
        self._worst: dict[tuple[int, int], float | None] = {}
        self._impossible: tuple[Node, ImpossibleRequest] | None = None

    def request(self, node: Node) -> PodRequest:
        """Return the pod request of a node, as far as it is known before its fixtures run."""
        job = node.job
        gpu = _as_gpu(node.params.get("gpu", job.gpu), job.gpu)
        key = (id(job), gpu)
        held = self._requests.get(key)
        if held is None:
            held = self._requests[key] = self._overrides.request(job, gpu)
        return held

    def offers(self, node: Node) -> tuple[Offer, ...]:
        """Return what would be tried for a node, in order."""
        request = self.request(node)
        found = self._offers.get(id(request))
        if found is None:
            found = self._offers[id(request)] = tuple(self._provider().offers(request))
        return found

    def worst_case(self, node: Node) -> float | None:
        """Return the most a node may cost in USD: its cap, or less where its longest time at the dearest rate is less.

        None where nothing is on offer.
        """
        key = (id(node.job), id(self.request(node)))
        if key not in self._worst:
            self._worst[key] = self._work_out(node)
        return self._worst[key]

    def check(self) -> None:
        """Raise UsageError if a node whose worst case was asked for wants a pod that can never be had."""
        if self._impossible is not None:
            node, error = self._impossible
            raise UsageError(f"{node.definition.location}: {error}")

    def _work_out(self, node: Node) -> float | None:
        budget = self._overrides.budget(node.job.budget)
        try:
            offers = self.offers(node)
        except ProviderError as error:
            if error.stops_run:
                raise
            if isinstance(error, ImpossibleRequest):
                self._impossible = self._impossible or (node, error)
            return budget.cost_cap_usd
        return None if not offers else _worst(budget, offers, disks_usd_per_hr(self.request(node)))


def _as_gpu(gpu: object, fallback: Gpu | None) -> Gpu | None:
    """Return what a directly parametrized ``gpu`` means, the job's own where it is something else."""
    if isinstance(gpu, str):
        return Gpu(gpu)
    return gpu if gpu is None or isinstance(gpu, Gpu) else fallback


def _worst(budget: Budget, offers: tuple[Offer, ...], disks: float) -> float:
    rates = [offer.usd_per_hr for offer in offers]
    if budget.max_runtime_seconds is None or any(rate is None for rate in rates):
        return budget.cost_cap_usd
    hours = (budget.max_runtime_seconds + budget.ssh_ready_seconds) / 3600
    dearest = max(rate for rate in rates if rate is not None) + disks
    return min(budget.cost_cap_usd, dearest * hours)


def make_overrides(config: Config) -> Overrides:
    """Return the flags that overrule jobs. Raises UsageError for a GPU that RunPod does not know."""
    if config.gpu_id is not None:
        try:
            Gpu(config.gpu_id)
        except DefinitionError as error:
            raise UsageError(f"--gpu-id: {error.message}") from None
    return Overrides(
        cost_cap_usd=config.cost_cap_usd,
        max_runtime_seconds=config.max_runtime_seconds,
        ssh_ready_seconds=config.ssh_ready_seconds,
        gpu_id=config.gpu_id,
        datacenter_id=config.datacenter_id,
        max_gpu_price=config.max_gpu_price,
        cloud=config.cloud,
        fallback_cloud=config.fallback_cloud,
    )


def check_balance(account: Account, worst_case_usd: float, notice: Callable[[str], object]) -> None:
    """Tell if the account's credit may not do. Raises BalanceError where there is none: RunPod would rent nothing."""
    balance = account.balance_usd
    if balance is None:
        return
    if balance <= 0:
        raise BalanceError(
            f"the account has no credit (${round(balance, 2) + 0.0:.2f}): add some at https://console.runpod.io/user/billing"
        )
    if balance < worst_case_usd:
        notice(
            f"the account has ${balance:.2f}, less than this run may cost (${worst_case_usd:.2f}): "
            "RunPod ends pods when the credit is used up"
        )


def confirm(config: Config, worst_case_usd: float) -> bool:
    """Ask whether a run that may cost much may start. Raises UsageError without a terminal to ask on."""
    if config.yes or config.local or config.dry_run or worst_case_usd <= config.confirm_above_usd:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"this run may cost up to ${worst_case_usd:.2f}, more than confirm_above_usd "
            f"(${config.confirm_above_usd:.2f}): say --yes, or lower the caps (--cost-cap-usd, --max-runtime-minutes)"
        )
    answer = input(f"This run may cost up to ${worst_case_usd:.2f}. Start it? [y/N] ")
    return answer.strip().lower() in ("y", "yes")
