"""The worst case of nodes, and the question whether that may be spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from rpd.config import Config
from rpd.errors import BalanceError, DefinitionError, ImpossibleRequest, ProviderError, UsageError
from rpd.events import Events
from rpd.execute.rental_calls import Unforeseen
from rpd.pipeline.expected_pods import Foresight
from rpd.values.job import Budget, Gpu, Job
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.plan import Ahead, Plan
from rpd.values.pod import Account, Offer, PodRequest, Provider, renter_of
from rpd.values.prices import disks_usd_per_hr, worst_usd


class Prices:
    """Worst cases of nodes, each kind of request asked for once. Raises ProviderError if the provider cannot say."""

    def __init__(self, provider: Callable[[], Provider], overrides: Overrides, foresight: Foresight) -> None:
        self._provider = provider
        self._overrides = overrides
        self._foresight = foresight
        self._offers: dict[int, tuple[PodRequest, tuple[Offer, ...]]] = {}
        self._requests: dict[int, tuple[Job, PodRequest]] = {}
        self._worst: dict[Hashable, float | None] = {}
        self._by_pods: dict[tuple[int, int], tuple[object, float | None]] = {}
        self._impossible: tuple[Node, ImpossibleRequest] | None = None
        self._unforeseen: dict[str, set[str]] = {}
        self._held: dict[str, float] = {}
        """Nodes that were added, and what those to come were priced at."""

    def request(self, node: Node) -> PodRequest:
        """Return the request for the first pod of a node, as far as it is known before its fixtures run."""
        pods = self._pods(node)
        return self._request(pods[0][0] if pods else node.job)

    def gpu(self, node: Node) -> Gpu | None:
        """Return the GPU of that pod; None for a CPU pod."""
        return self.request(node).gpu

    def offers(self, node: Node) -> tuple[Offer, ...]:
        """Return the offers to try for a node, in order."""
        return self.offers_for(self.request(node))

    def offers_for(self, request: PodRequest) -> tuple[Offer, ...]:
        """Return the offers to try for a request, in order; read once per request object."""
        pair = self._offers.get(id(request))
        if pair is None:  # the request is kept too: an id means nothing once its object is gone
            pair = self._offers[id(request)] = (
                request,
                tuple(renter_of(self._provider(), request).offers(request)),
            )
        return pair[1]

    def worst_case(self, node: Node) -> float | None:
        """Return the most a node may cost in USD: its cap, or its longest time at the highest rate if that is less.

        Also its cap if its pods are not known yet. None if there are no offers.
        """
        pods = self._pods(node)
        if pods is None:
            return self._budget(node).cost_cap_usd
        if not pods:
            return 0.0
        key = (id(node.job), id(pods))
        pair = self._by_pods.get(key)
        if pair is None:  # the pods are kept too: an id means nothing once its object is gone
            worst = self._once(node, [[self._request(job) for job in jobs] for jobs in pods])
            pair = self._by_pods[key] = (pods, worst)
        return pair[1]

    def ceiling(self, node: Node) -> float:
        """Return the limit of a node's cost: its worst case.

        Its cap if there are no offers, since that may change.
        """
        worst = self.worst_case(node)
        ceiling = self._budget(node).cost_cap_usd if worst is None else worst
        return min(ceiling, self._held.get(node.id, ceiling)) if self._held else ceiling

    def hold(self, node: Node, ahead: Ahead) -> None:
        """Let a node that is added cost no more than those to come were priced at."""
        self._held[node.id] = max(map(self.ceiling, ahead.nodes), default=0.0)

    def worst_case_of(self, node: Node, requests: Sequence[PodRequest]) -> float | None:
        """Return the most a node may cost with just these pods."""
        return self._once(node, [[request] for request in requests]) if requests else 0.0

    def check(self) -> None:
        """Raise UsageError if RunPod can never rent a pod of a node whose worst case was computed."""
        if self._impossible is not None:
            node, error = self._impossible
            raise UsageError(f"{node.definition.location}: {error}")

    def tell_unforeseen(self, events: Events, *, finds_out: bool = False) -> None:
        """Report how many nodes are priced by their cap because their pods are unknown, and why.

        A dry run ``finds_out`` which pods they request, unless the job decides by the output of its commands.
        """
        for why, nodes in self._unforeseen.items():
            count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
            if finds_out:
                events.notice(
                    f"a live run prices {count} by the cost cap, because {why}; here the requested pods are priced"
                )
            else:
                events.notice(
                    f"{count} {'is' if len(nodes) == 1 else 'are'} priced by the cost cap, because {why}"
                )

    def _pods(self, node: Node) -> tuple[tuple[Job, ...], ...] | None:
        """Return for each pod of a node the jobs it may be rented with; None if that is not known beforehand."""
        try:
            return self._foresight.pods(node)
        except Unforeseen as error:
            self._unforeseen.setdefault(str(error), set()).add(node.id)
            return None

    def _request(self, job: Job) -> PodRequest:
        pair = self._requests.get(id(job))
        if pair is None:  # the job is kept too: an id means nothing once its object is gone
            pair = self._requests[id(job)] = (job, self._overrides.request(job, job.gpu))
        return pair[1]

    def _budget(self, node: Node) -> Budget:
        return self._overrides.budget(node.job.budget)

    def _once(self, node: Node, pods: Sequence[Sequence[PodRequest]]) -> float | None:
        key = (id(node.job), *[tuple(map(id, requests)) for requests in pods])
        if key not in self._worst:
            self._worst[key] = self._work_out(node, pods)
        return self._worst[key]

    def _work_out(self, node: Node, pods: Sequence[Sequence[PodRequest]]) -> float | None:
        """Return the worst case with one pod for each of ``pods``, at the most expensive of its requests."""
        budget = self._budget(node)
        rates: list[float | None] = []
        for requests in pods:
            try:
                each = [rate for request in requests for rate in self._rates(request)]
            except ProviderError as error:
                if error.stops_run:
                    raise
                if isinstance(error, ImpossibleRequest):
                    self._impossible = self._impossible or (node, error)
                return budget.cost_cap_usd
            if not each:
                return None
            known_rates = [rate for rate in each if rate is not None]
            rates.append(max(known_rates) if len(known_rates) == len(each) else None)
        return worst_usd(budget, rates)

    def _rates(self, request: PodRequest) -> list[float | None]:
        disks = disks_usd_per_hr(request)
        return [
            None if offer.usd_per_hr is None else offer.usd_per_hr + disks
            for offer in self.offers_for(request)
        ]


def make_overrides(config: Config) -> Overrides:
    """Return the flags that overrule jobs. Raise UsageError for a GPU that RunPod does not know."""
    if config.pods.gpu_id is not None:
        try:
            Gpu(config.pods.gpu_id)
        except DefinitionError as error:
            raise UsageError(f"--gpu-id: {error.message}") from None
    return Overrides(
        cost_cap_usd=config.money.cost_cap_usd,
        max_runtime_seconds=config.money.max_runtime_seconds,
        ssh_ready_seconds=config.pods.ssh_ready_seconds,
        gpu_id=config.pods.gpu_id,
        datacenter_id=config.pods.datacenter_id,
        max_gpu_price=config.money.max_gpu_price,
        cloud=config.pods.cloud,
        fallback_cloud=config.pods.fallback_cloud,
    )


def check_balance(account: Account, worst_case_usd: float) -> str:
    """Return a warning if the account's credit may not be enough, else an empty text.

    Raise BalanceError if there is no credit: RunPod would rent nothing.
    """
    balance = account.balance_usd
    if balance is None:
        return ""
    if balance <= 0:
        raise BalanceError(
            f"the account has no credit (${round(balance, 2) + 0.0:.2f}): add credit at https://console.runpod.io/user/billing"
        )
    if balance < worst_case_usd:
        return (
            f"the account has ${balance:.2f}, less than this run may cost (${worst_case_usd:.2f}): "
            "RunPod ends pods when the credit is used up"
        )
    return ""


def may_start(
    limit: float | None,
    most: float,
    plan: Plan,
    prices: Prices,
    events: Events,
    confirm: Callable[[float, float], bool],
) -> bool:
    """Return whether a run that may cost ``most`` may start: ``confirm`` decides if that is above ``limit``, in USD."""
    if limit is None or most <= limit:
        return True
    events.notice(what_it_rents(plan, prices))
    return confirm(most, limit)


def at_most_usd(budget: float | None, plan: Plan) -> float:
    """Return the most that a run can cost: its worst case, or its budget where that is less."""
    return plan.worst_case_usd if budget is None else min(plan.worst_case_usd, budget)


def check_set_aside(budget: float | None, plan: Plan, prices: Prices) -> None:
    """Raise UsageError if ``--budget`` does not even cover the amounts set aside from the start."""
    kept = [ahead for ahead in plan.ahead if ahead.is_set_aside]
    usd = sum(ahead.most * max(map(prices.ceiling, ahead.nodes), default=0.0) for ahead in kept)
    if budget is not None and usd > budget:
        count = sum(ahead.most for ahead in kept)
        raise UsageError(
            f"--budget {budget:g} does not cover the last {count} nodes, which may cost "
            f"${usd:.2f}: raise it, select fewer nodes, or lower their caps"
        )


_KINDS_SHOWN = 3


def what_it_rents(plan: Plan, prices: Prices) -> str:
    """Return ``6 nodes, 2 at once: each on …`` with the first offer, its price and the most that a node may cost."""
    kinds = Counter(_rented_for(node, prices) for node in plan.nodes)
    for ahead in plan.ahead:
        kinds[_rented_for(max(ahead.nodes, key=prices.ceiling), prices)] += ahead.most
    texts = [
        f"{number if len(kinds) > 1 else 'each'} on {kind}"
        for kind, number in kinds.most_common(_KINDS_SHOWN)
    ]
    if len(kinds) > len(texts):
        texts.append(f"{len(kinds) - len(texts)} more kinds")
    is_single = plan.most == 1
    most = "at most " if plan.ahead else ""
    count = f"{most}{plan.most} {'node' if is_single else 'nodes'}, {plan.width} at a time"
    return f"1 node on {next(iter(kinds))}" if is_single else f"{count}: {'; '.join(texts)}"


def _rented_for(node: Node, prices: Prices) -> str:
    most = f"${prices.ceiling(node):.2f} at most"
    try:
        first = next(iter(prices.offers(node)), None)
    except ProviderError:  # met before, and reported
        first = None
    if first is None:
        return f"a pod that RunPod does not offer now, {most}"
    rate = "at an unknown price" if first.usd_per_hr is None else f"at ${first.usd_per_hr:.2f} an hour"
    return f"{first} {rate}, {most}"
