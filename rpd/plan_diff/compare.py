"""Gives every node a status, from its fingerprints here, in another tree, and in its last passed run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from rpd.values.frozen import frozen, replace

Fingerprint = Mapping[str, str]
Differences = Callable[[Fingerprint, Fingerprint], Sequence[str]]
"""What is another in the first than in the second, in words."""


class Status(StrEnum):
    """The status of a node."""

    NEW = "new"
    CHANGED = "changed"
    CACHED = "cached"
    GONE = "gone"

    @property
    def runs(self) -> bool:
        """Whether it has to run."""
        return self in (Status.NEW, Status.CHANGED)


@frozen
class Passed:
    """A node's last pass: its fingerprint then (empty: not on record), and the folder of its files.

    ``lost`` looks whether one of these is no longer there, and says so.
    """

    fingerprint: Fingerprint
    finished: str = ""
    folder: str = ""
    lost: Callable[[], Sequence[str]] = tuple


@frozen
class Planned:
    """One node: its id, its fate and the reasons."""

    id: str
    status: Status
    reasons: tuple[str, ...] = ()


def compare(
    here: Mapping[str, Fingerprint],
    there: Mapping[str, Fingerprint] | None,
    passed: Mapping[str, Passed],
    differences: Differences,
    *,
    ref: str = "",
    needs: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Planned]:
    """Return the status of every node ``here``, then of those only ``there`` (None: no other tree).

    ``needs`` has for a node the ids of those it needs, which come before it: where one of them runs, so may it.
    """
    planned = []
    for node, now in here.items():
        before = passed.get(node)
        reasons = ("it never passed here",) if before is None else _since(before, now, differences)
        if before is not None and not reasons:
            planned.append(_cached(node, f"passed at {before.finished}"))
        elif there is not None:
            planned.append(_beside(node, now, there.get(node), differences, ref))
        else:
            status = Status.NEW if before is None else Status.CHANGED
            planned.append(Planned(id=node, status=status, reasons=reasons))
    planned = _after_needs(planned, needs)
    gone = [node for node in there or () if node not in here]
    return [*planned, *(Planned(id=node, status=Status.GONE) for node in gone)]


def _since(before: Passed, now: Fingerprint, differences: Differences) -> tuple[str, ...]:
    """Return the changes since a node passed."""
    if not before.fingerprint:
        return ("its inputs when it passed are not on record",)
    return tuple(differences(now, before.fingerprint) or before.lost())


def _after_needs(planned: Sequence[Planned], needs: Mapping[str, Sequence[str]]) -> list[Planned]:
    """Return the status of nodes if each that runs has another result than before."""
    running: set[str] = set()
    settled = []
    for node in planned:
        first = next((need for need in needs.get(node.id, ()) if need in running), None)
        if first is not None and not node.status.runs:
            node = replace(
                node, status=Status.CHANGED, reasons=(f"{first}, which it needs, may leave other results",)
            )
        running.update([node.id] if node.status.runs else ())
        settled.append(node)
    return settled


def _beside(
    node: str, now: Fingerprint, then: Fingerprint | None, differences: Differences, ref: str
) -> Planned:
    if then is None:
        return Planned(id=node, status=Status.NEW, reasons=(f"not on {ref}",))
    reasons = tuple(dict.fromkeys([*differences(now, then), *differences(then, now)]))
    if reasons:
        return Planned(id=node, status=Status.CHANGED, reasons=reasons)
    return _cached(node, f"as on {ref}")


def _cached(node: str, reason: str) -> Planned:
    return Planned(id=node, status=Status.CACHED, reasons=(reason,))
