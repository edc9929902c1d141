"""The plugin of a dry run: reports the acts of a live run for each node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rpd.events import Events
from rpd.pipeline.worst_case import Prices
from rpd.plan import uses_pod
from rpd.values.dryrun import DryRunNode, DryRunPod
from rpd.values.job import Job
from rpd.values.node import Node
from rpd.values.pod import PodRequest
from rpd.values.report import NodeReport, Outcome

if TYPE_CHECKING:
    from rpd.pipeline.live_check import Outlooks


class DryRunPlugin:
    """Turns the reports of a dry run into the plan of each node; ``outlooks`` are those of a live one.

    ``asked`` has the requests of each node, by its id: a fixture may change the pod.
    """

    def __init__(
        self,
        events: Events,
        prices: Prices,
        asked: Mapping[str, Sequence[PodRequest]],
        outlooks: Outlooks | None = None,
    ) -> None:
        self._events = events
        self._prices = prices
        self._asked = asked
        self._outlooks = outlooks
        self._lines: dict[int, tuple[str, ...]] = {}
        self._described: dict[tuple[int, int], tuple[tuple[str, ...], str]] = {}
        """By request and job, which others keep: the lines of the request, and what becomes of the pod."""
        self._drawn: set[str] = set()

    def rpd_node_report(self, node: Node, report: NodeReport) -> None:
        """Tell the plan of one node, once: the teardown of something shared brings its last user a second report."""
        if node.id in self._drawn:
            return
        self._drawn.add(node.id)
        requests = self._asked.get(node.id, ())
        # A node that was skipped, or did not get that far, is shown as planned.
        is_foreseen = not requests and uses_pod(node) and report.result.outcome is not Outcome.PASSED
        if is_foreseen:
            requests, worst = [self._prices.request(node)], self._prices.worst_case(node)
        else:
            worst = self._prices.worst_case_of(node, requests)
        if requests:
            planned = self._planned(node, report, requests, worst)
        else:
            planned = DryRunNode(node_id=node.id, steps=report.steps, worst_case_usd=0.0)
        self._events.dry_run_node(node=node, planned=planned)

    def record_exit_code(self, exit_code: int) -> None:
        """Keep no record."""

    def _planned(
        self, node: Node, report: NodeReport, requests: Sequence[PodRequest], worst: float | None
    ) -> DryRunNode:
        first, *others = requests
        key = (id(first), id(node.job))
        described = self._described.get(key)
        if described is None:
            described = self._described[key] = (
                (*self._lines_of(first), *_secrets(node.job)),
                f"{node.job.lifecycle.on_success} on success, {node.job.lifecycle.on_failure} on failure",
            )
        outlooks = None if report.result.outcome is Outcome.SKIPPED else self._outlooks
        return DryRunNode(
            node_id=node.id,
            request=described[0],
            offers=self._prices.offers_for(first),
            steps=report.steps,
            release=described[1],
            worst_case_usd=worst,
            outlook=outlooks.of(first) if outlooks else None,
            more_pods=tuple(
                DryRunPod(request=self._lines_of(request), offers=self._prices.offers_for(request))
                for request in others
            )
            if others
            else (),
        )

    def _lines_of(self, request: PodRequest) -> tuple[str, ...]:
        lines = self._lines.get(id(request))
        if lines is None:
            lines = self._lines[id(request)] = _lines(request)
        return lines


def _secrets(job: Job) -> Iterator[str]:
    """Yield a line that says how the secrets of a job get to its pod."""
    if job.secrets:
        texts = [
            f"{secret.name} as {secret.to} (mode {secret.mode:04o})" if secret.to else secret.name
            for secret in job.secrets
        ]
        yield f"secrets: {', '.join(texts)}"


def _lines(request: PodRequest) -> tuple[str, ...]:
    """Return the facts of a request that are not RunPod's defaults, a line each."""
    storage = request.storage
    facts = {
        "image": request.image,
        "template": request.template_id or "",
        "gpu": str(request.gpu) if request.gpu else "none (CPU pod)",
        "cpu": ", ".join(request.cpu),
        "cluster": f"{request.cluster} of type {request.cluster.type}" if request.cluster else "",
        "cloud": f"{request.cloud}, then {request.fallback_cloud}"
        if request.fallback_cloud
        else request.cloud,
        "data centres": ", ".join(request.datacenters),
        "countries": ", ".join(request.countries),
        "compliance": ", ".join(request.compliance),
        "global network": "yes" if request.global_network else "",
        "disk": f"{request.container_disk_gb} GB" if request.container_disk_gb else "",
        "volume": f"{storage.volume_gb} GB at {request.mount}" if storage.volume_gb else "",
        "network volume": _network_volume(request),
        "spot": "yes" if request.spot else "",
        "ports": ", ".join(request.ports),
        "cuda": ", ".join(request.cuda) or (f"{request.min_cuda} or newer" if request.min_cuda else ""),
        "env": ", ".join(request.env),
    }
    return tuple(f"{name}: {fact}" for name, fact in facts.items() if fact)


def _network_volume(request: PodRequest) -> str:
    storage = request.storage
    if storage.network_volume is None:
        return ""
    tier = f" ({storage.tier})" if storage.tier else ""
    return f"{storage.network_volume}{tier} at {request.mount}"
