"""An explained bill, grouped by job, day, owner and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rpd.audit.explain_bill import Audit, PodAccount
from rpd.audit.rentals import Rental, User

NOBODY = "(unknown)"
BY = ("job", "day", "owner", "author", "run", "node", "gpu")
"""What a bill can be grouped by."""


@dataclass(slots=True, kw_only=True)
class Group:
    """One line: the total cost of pods, volumes and others, and the part that runs had estimated (USD)."""

    name: str
    pods: int = 0
    billed_usd: float = 0.0
    estimated_usd: float = 0.0


def grouped(audit: Audit, by: str, owners: Mapping[str, str]) -> Sequence[Group]:
    """Return the groups, the most expensive first (days in order); together they are the whole bill.

    ``owners`` says whose pods are that no run here knows, by their ids.
    """
    groups: dict[str, Group] = {}

    def add(name: str, billed: float, estimated: float = 0.0, pods: int = 0) -> None:
        group = groups.setdefault(name, Group(name=name))
        group.billed_usd += billed
        group.estimated_usd += estimated
        group.pods += pods

    for pod in audit.pods:
        for name, share, pods in _shares(pod, by):
            add(name, pod.billed_usd * share, pod.estimated_usd * share, pods)
    for stranger in audit.strangers:
        for day, usd in stranger.by_day.items():
            whose = owners.get(stranger.pod_id, "") if by == "owner" else ""
            add(day if by == "day" else whose or "(pods that no run here knows)", usd)
    for volume in audit.volumes:
        for day, usd in volume.by_day.items():
            add(day if by == "day" else "(network volumes)", usd)
    for name, usd in audit.others.items():
        add(f"({name})", usd)
    order = (lambda group: group.name) if by == "day" else (lambda group: (-group.billed_usd, group.name))
    return sorted(groups.values(), key=order)


def _shares(pod: PodAccount, by: str) -> Iterator[tuple[str, float, int]]:
    """Yield the groups that a pod belongs to, with its share of the bill there; it counts once in each."""
    if by == "day":
        total = sum(pod.by_day.values())
        for day, usd in pod.by_day.items():
            yield day, usd / total if total else 1 / len(pod.by_day), 1
        return
    shares: dict[str, float] = {}
    for rental, user, share in pod.shares():
        name = _name(rental, user, by) or NOBODY
        shares[name] = shares.get(name, 0.0) + share
    for name, share in shares.items():
        yield name, share, 1


def _name(rental: Rental, user: User, by: str) -> str:
    if by in ("job", "node", "author"):
        return str(getattr(user, by))
    return (rental.gpu or "CPU") if by == "gpu" else str(getattr(rental, by))
