"""The report of a node, made from its run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rpd.execute.context import RunContext
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.pod_use import Bill
from rpd.execute.node.verdict import Verdict
from rpd.journal.files import ARTIFACTS
from rpd.lease.lease import Lease
from rpd.project.fingerprint import fingerprint
from rpd.remote.telemetry import NVIDIA_SMI, PACKAGES
from rpd.values.frozen import replace
from rpd.values.pod import PodInfo
from rpd.values.printable import tellable
from rpd.values.report import (
    AttemptRecord,
    CostRecord,
    EnvironmentRecord,
    NodeRecord,
    NodeReport,
    PodRecord,
    Result,
    SourceRecord,
)

_NO_SOURCE = SourceRecord()
_UNKNOWN = EnvironmentRecord()
_FACTS = ("gpu_name", "driver", "cuda", "python", "uname")


def node_report(
    context: RunContext, run: NodeRun, verdict: Verdict, started: datetime, earlier: tuple[AttemptRecord, ...]
) -> NodeReport:
    """Return the report of a run in its current state; ``earlier`` are the attempts before it."""
    run.use.had_open_pods = run.use.open_lease is not None
    node = run.node
    lease, pods = run.use.main_lease, _pod_records(run)
    source = context.source(context.project(node.file)) if run.results.staged or lease else _NO_SOURCE
    if run.results.staged:
        source = replace(
            source,
            tree_sha256=run.results.staged.tree_sha256,
            files=run.results.staged.files,
            bytes=run.results.staged.bytes,
        )
    parts = context.mode.fingerprint(lambda: _fingerprint(context, run))
    if parts:
        source = replace(source, fingerprint=parts)
    return NodeReport(
        node=NodeRecord(
            id=node.id,
            job=node.definition.name,
            file=node.file,
            line=node.definition.line,
            parameters={name: tellable(value) for name, value in node.parameters.items()},
            marks=tuple(dict.fromkeys(mark.name for mark in node.marks)),
            run=context.run_id if run.files else "",
            owner=context.owner if run.files else "",
            needs=node.needs,
            place=context.places.get(node.id),
        ),
        result=Result(
            outcome=verdict.outcome,
            cause=verdict.cause,
            reason=verdict.reason,
            attempts=run.attempt,
            started=started.isoformat(timespec="milliseconds"),
            finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
            phases=_rounded(run.results.phases),
            files=_files(run),
        ),
        pod=pods.get(lease) if lease else None,
        cost=_cost_record(run.use.bill, lease, run.use.budget.cost_cap_usd, earlier),
        source=source,
        environment=_environment(lease) if lease else _UNKNOWN,
        steps=tuple(run.steps.taken),
        marks=tuple(run.steps.marks),
        artifacts=tuple(run.results.artifacts),
        attempts=earlier,
        pods=tuple(pods.values()),
        metrics=_metrics(run),
        series=run.series.records,
        variables={
            name: tellable(value) for name, value in {**context.variables, **run.results.variables}.items()
        },
        folder=str(run.files.on_disk or ""),
        failure=verdict.failure,
    )


def amended(report: NodeReport, run: NodeRun, verdict: Verdict) -> NodeReport:
    """Return ``report`` with the time, money and outcome after the teardown of wider values."""
    lease, pods = run.use.main_lease, _pod_records(run)
    return replace(
        report,
        result=replace(
            report.result,
            outcome=verdict.outcome,
            cause=verdict.cause,
            reason=verdict.reason,
            phases=_rounded(run.results.phases),
        ),
        pod=pods.get(lease) if lease else None,
        cost=_cost_record(run.use.bill, lease, report.cost.cap_usd, report.attempts),
        steps=tuple(run.steps.taken),
        marks=tuple(run.steps.marks),
        artifacts=tuple(run.results.artifacts),
        pods=tuple(pods.values()),
        metrics=_metrics(run),
        failure=verdict.failure,
    )


def _metrics(run: NodeRun) -> dict[str, Any]:
    """Return the metrics that the job recorded, and the last value of each series under names it did not record."""
    return {name: record.last for name, record in run.series.records.items()} | run.results.metrics


def _files(run: NodeRun) -> tuple[str, ...]:
    folder = run.files.on_disk
    if folder is None:
        return ()
    try:
        names = os.listdir(folder)  # noqa: PTH208 - called for each node
    except OSError:
        return ()
    return tuple(sorted(name for name in names if name != ARTIFACTS and not name.startswith(".")))


def _rounded(phases: Mapping[str, float]) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in phases.items()}


def _fingerprint(context: RunContext, run: NodeRun) -> Mapping[str, str]:
    """Return the hashes, by name, of everything the result of a node depends on."""
    job, leases, sent = run.node.job, run.use.leases, run.results.sent
    shared = {part: sha256 for lease in leases for part, sha256 in lease.sent.items()}
    return fingerprint(
        run.node,
        lock_sha256=context.lock_sha256(run.node.file),
        variables=context.variables,
        sent={**shared, **context.needed.fingerprint(run.node, sent), **sent},
        digest=context.digest_of(job.image, job.registry) if leases else "",
    )


def _environment(lease: Lease) -> EnvironmentRecord:
    if not (lease.facts or lease.kept or lease.other_gpu):
        return _UNKNOWN
    facts = {name: lease.facts.get(name, "") for name in _FACTS}
    return EnvironmentRecord(
        **facts,
        warning=lease.other_gpu,
        packages=lease.kept.get(PACKAGES, ""),
        nvidia_smi=lease.kept.get(NVIDIA_SMI, ""),
    )


def _pod_records(run: NodeRun) -> dict[Lease, PodRecord]:
    """Return the pods of a node, in the order in which it got them."""
    digest_of = run.context.digest_of
    return {
        lease: _pod_record(lease, lease.pod, digest_of(lease.request.image, lease.request.registry))
        for lease in run.use.leases
        if lease.pod is not None
    }


def _pod_record(lease: Lease, pod: PodInfo, digest: str) -> PodRecord:
    offer, storage = lease.offer, lease.request.storage
    has_volume = bool(storage.network_volume or storage.volume_gb)
    return PodRecord(
        id=pod.id,
        name=pod.name,
        gpu=lease.gpu_of(pod) or "",
        count=offer.count if offer and offer.gpu_id else pod.gpu_count // pod.nodes,
        nodes=pod.nodes,
        members=tuple(member.id for member in pod.members),
        datacenter=pod.datacenter or "",
        cloud=(offer.cloud if offer else pod.cloud) or "",
        image=pod.image or lease.request.image,
        digest=digest,
        spot=lease.request.spot,
        rate=lease.rate_usd_per_hr,
        final_state=lease.final_state or "running",
        reused=lease.is_reused,
        before=lease.before,
        volume=storage.network_volume or "",
        volume_gb=storage.volume_gb or 0,
        mount=lease.request.mount if has_volume else "",
        container_disk_gb=lease.request.container_disk_gb,
    )


def attempt_record(report: NodeReport) -> AttemptRecord:
    """Return the record of the report's last attempt."""
    pod = report.pod
    return AttemptRecord(
        number=report.result.attempts,
        outcome=report.result.outcome,
        cause=report.result.cause,
        reason=report.result.reason,
        pod_id=pod.id if pod else "",
        gpu=pod.gpu if pod else "",
        datacenter=pod.datacenter if pod else "",
        seconds=round(report.result.seconds, 3),
        estimated_usd=round(report.cost.estimated_usd - _usd(report.attempts), 6),
    )


def _usd(attempts: Sequence[AttemptRecord]) -> float:
    return sum(attempt.estimated_usd for attempt in attempts)


def _cost_record(
    bill: Bill, lease: Lease | None, cap: float, earlier: tuple[AttemptRecord, ...] = ()
) -> CostRecord:
    """Return the cost of all attempts of a node, at the rate of the last one's pod."""
    before = _usd(earlier)
    if lease is None:
        return CostRecord(cap_usd=cap, estimated_usd=round(before, 6))
    return CostRecord(
        rate_usd_per_hr=lease.rate_usd_per_hr,
        rate_source=lease.rate_source,
        billed_seconds=round(bill.seconds, 3),
        estimated_usd=round(bill.usd + before, 6),
        cap_usd=cap,
    )
