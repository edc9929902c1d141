"""Matches the entries of a bill with rentals. Every cent of the bill ends up in exactly one part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from rpd.audit.rentals import Rental, User
from rpd.values.billing import HOUR, Billing, PodBill, VolumeBill
from rpd.values.frozen import frozen

LATE_SECONDS = 3600.0
"""How late the bill may be: what is missing of the last hour is not missing yet."""
CENT = 0.005
"""Amounts that differ by less show as the same cents."""


class Part(StrEnum):
    """Where a part of the bill comes from."""

    AS_ESTIMATED = "as estimated"
    MORE = "more than estimated"
    STOPPED = "disks of stopped pods"
    KEPT = "kept pods"
    AFTER = "pods billed after their release"
    UNKNOWN = "pods that no run here knows"
    VOLUMES = "network volumes"
    OTHERS = "other products"


@dataclass(slots=True, kw_only=True)
class PodAccount:
    """One pod of the runs: its billed cost, in parts, and the estimate of its runs for the same hours (USD)."""

    pod_id: str
    rentals: tuple[Rental, ...]
    billed_usd: float = 0.0
    estimated_usd: float = 0.0
    late_usd: float = 0.0
    """The part of the estimate for hours that the bill may not show yet."""
    parts: dict[Part, float] = field(default_factory=dict)
    missing_usd: float = 0.0
    """How much less than estimated was billed."""
    pending_usd: float = 0.0
    """How much is likely to be billed yet."""
    by_day: dict[str, float] = field(default_factory=dict)

    @property
    def last(self) -> Rental:
        """The last time that a run had it."""
        return self.rentals[-1]

    def part(self, part: Part) -> float:
        """Return one part of the billed cost, in USD."""
        return self.parts.get(part, 0.0)

    def shares(self) -> list[tuple[Rental, User, float]]:
        """Return who used it and which share of the bill (0 to 1) is theirs; the shares add up to 1."""
        entries = [
            (rental, user, user.usd if rental.users else rental.usd)
            for rental in self.rentals
            for user in (rental.users or (User(node=rental.node, job=_job(rental.node)),))
        ]
        total = math.fsum(weight for _, _, weight in entries)
        return [
            (rental, user, weight / total if total else 1 / len(entries)) for rental, user, weight in entries
        ]


@dataclass(slots=True, kw_only=True)
class Stranger:
    """A pod on the bill that no run here knows; ``first`` and ``last`` are its hours (s since 1970)."""

    pod_id: str
    usd: float
    first: float
    last: float
    by_day: dict[str, float]


@dataclass(slots=True, kw_only=True)
class VolumeAccount:
    """One network volume on the bill."""

    volume_id: str
    usd: float
    by_day: dict[str, float]


@frozen
class Audit:
    """A bill that is explained: ``parts`` add up to ``billed_usd``."""

    since: float
    until: float
    billed_usd: float
    parts: Mapping[Part, float]
    pods: Sequence[PodAccount]
    strangers: Sequence[Stranger]
    volumes: Sequence[VolumeAccount]
    others: Mapping[str, float]

    @property
    def missing_usd(self) -> float:
        """How much less than estimated was billed, of pods that the bill should show by now."""
        return math.fsum(pod.missing_usd for pod in self.pods)

    @property
    def pending_usd(self) -> float:
        """How much is likely to be billed yet."""
        return math.fsum(pod.pending_usd for pod in self.pods)

    @property
    def is_explained(self) -> bool:
        """Whether the bill needs no inquiry: every pod has a known run, and none cost more than its run estimated."""
        odd = (Part.MORE, Part.AFTER, Part.UNKNOWN)
        return all(abs(self.parts.get(part, 0.0)) < CENT for part in odd)


def reconcile(bill: Billing, rentals: Iterable[Rental], *, now: float) -> Audit:
    """Explain every cent of ``bill`` by ``rentals``, as far as possible; ``now`` in seconds since 1970."""
    by_pod: dict[str, list[Rental]] = {}
    for rental in rentals:
        by_pod.setdefault(rental.pod_id, []).append(rental)
    lines: dict[str, list[PodBill]] = {}
    for line in bill.pods:
        lines.setdefault(line.pod_id, []).append(line)
    pods = []
    for pod_id, entries in by_pod.items():
        account = PodAccount(pod_id=pod_id, rentals=tuple(sorted(entries, key=lambda each: each.began)))
        _settle(account, lines.get(pod_id, ()), bill, now)
        if account.billed_usd or account.estimated_usd:
            pods.append(account)
    strangers = [_stranger(pod_id, entries) for pod_id, entries in lines.items() if pod_id not in by_pod]
    volumes = _volumes(bill.volumes)
    parts = {
        part: math.fsum(pod.part(part) for pod in pods)
        for part in (Part.AS_ESTIMATED, Part.MORE, Part.STOPPED, Part.KEPT, Part.AFTER)
    }
    parts |= {
        Part.UNKNOWN: math.fsum(each.usd for each in strangers),
        Part.VOLUMES: math.fsum(each.usd for each in volumes),
        Part.OTHERS: math.fsum(bill.others.values()),
    }
    return Audit(
        since=bill.since,
        until=bill.until,
        billed_usd=math.fsum(parts.values()),
        parts=parts,
        pods=sorted(pods, key=lambda pod: (-pod.billed_usd, pod.pod_id)),
        strangers=sorted(strangers, key=lambda each: (-each.usd, each.pod_id)),
        volumes=volumes,
        others=bill.others,
    )


def _settle(account: PodAccount, lines: Sequence[PodBill], bill: Billing, now: float) -> None:
    """Split the lines of one pod into parts, and compare the cost while runs had it with their estimates."""
    _estimate(account, bill, now)
    working = 0.0
    for line in lines:
        account.billed_usd += line.usd
        day = _day(line.start)
        account.by_day[day] = account.by_day.get(day, 0.0) + line.usd
        part, aside = _aside(account, line, now)
        working += line.usd - aside
        if aside:
            account.parts[part] = account.parts.get(part, 0.0) + aside
    account.parts[Part.AS_ESTIMATED] = min(working, account.estimated_usd)
    account.parts[Part.MORE] = max(0.0, working - account.estimated_usd)
    short = max(0.0, account.estimated_usd - working)
    account.pending_usd = min(short, account.late_usd)
    account.missing_usd = short - account.pending_usd


def _estimate(account: PodAccount, bill: Billing, now: float) -> None:
    """Compute the runs' estimate of the pod in the hours of the bill: each rental costs evenly over its time."""
    late = math.floor((now - LATE_SECONDS) / HOUR) * HOUR
    for rental in account.rentals:
        until = rental.until(now)
        account.estimated_usd += _cost_between(rental, bill.since, bill.until, now)
        if until > late:
            account.late_usd += _cost_between(rental, max(late, bill.since), bill.until, now)


def _cost_between(rental: Rental, begin: float, end: float, now: float) -> float:
    until = rental.until(now)
    lasted, usd = until - rental.began, rental.usd_until(now)
    if lasted <= 0:
        return usd if begin <= rental.began < end else 0.0
    return usd * max(0.0, min(until, end) - max(rental.began, begin)) / lasted


def _aside(account: PodAccount, line: PodBill, now: float) -> tuple[Part, float]:
    """Return how much of a line is not for the time that a run worked on the pod, and which part that is."""
    end = line.start + HOUR
    at_work = [each for each in account.rentals if each.began < end and each.until(now) >= line.start]
    before = [each for each in account.rentals if each.began < end]
    state = before[-1].final_state if before and before[-1].ended is not None else ""
    if not at_work:
        if not before:
            return (
                Part.AFTER,
                line.usd,
            )  # before any run had it: somebody else's use of a pod that a run took over
        if state == "running":
            return Part.KEPT, line.usd
        return (Part.STOPPED if state == "stopped" and not line.compute_usd else Part.AFTER), line.usd
    if before[-1].until(now) >= end or state not in ("stopped", "running"):
        return Part.MORE, 0.0
    extra = max(0.0, line.usd - math.fsum(_cost_between(each, line.start, end, now) for each in at_work))
    if state == "stopped":
        return Part.STOPPED, min(extra, line.disk_usd)
    return Part.KEPT, extra


def _stranger(pod_id: str, lines: Sequence[PodBill]) -> Stranger:
    return Stranger(
        pod_id=pod_id,
        usd=math.fsum(line.usd for line in lines),
        first=min(line.start for line in lines),
        last=max(line.start for line in lines) + HOUR,
        by_day=_by_day((line.start, line.usd) for line in lines),
    )


def _volumes(lines: Iterable[VolumeBill]) -> list[VolumeAccount]:
    entries: dict[str, list[VolumeBill]] = {}
    for line in lines:
        entries.setdefault(line.volume_id, []).append(line)
    accounts = [
        VolumeAccount(
            volume_id=volume_id,
            usd=math.fsum(line.usd for line in each),
            by_day=_by_day((line.start, line.usd) for line in each),
        )
        for volume_id, each in entries.items()
    ]
    return sorted(accounts, key=lambda each: (-each.usd, each.volume_id))


def _by_day(amounts: Iterable[tuple[float, float]]) -> dict[str, float]:
    days: dict[str, float] = {}
    for start, usd in amounts:
        days[_day(start)] = days.get(_day(start), 0.0) + usd
    return days


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _job(node: str) -> str:
    return node.rpartition("::")[2].partition("[")[0]


def in_cents(amounts: Sequence[float], total: float) -> list[int]:
    """Return the amounts in whole cents that add up to ``total`` in whole cents: the largest remainders round up."""
    whole = [math.floor(amount * 100) for amount in amounts]
    left = round(total * 100) - sum(whole)
    order = sorted(range(len(amounts)), key=lambda at: whole[at] - amounts[at] * 100)
    for at in order[: max(0, left)]:
        whole[at] += 1
    return whole
