"""Pods outside of a run: which are ours, and which were left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rpd.errors import UsageError
from rpd.journal import journal
from rpd.journal.files import journal_paths
from rpd.journal.writer import is_running
from rpd.values.pod import NAME_PREFIX, PodInfo, PodStatus
from rpd.values.prices import HOURS_PER_MONTH, running_usd_per_hr, stopped_usd_per_month


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the journals on this machine tell of a pod. Times are seconds since 1970.

    ``node`` asked for it. ``is_driven`` tells whether the process of its run is still there. ``ending`` is empty
    until the run gave the pod back: then it is ``kept``, or how it was released (``stop``, ``recycle``, ``delete``).
    ``ends_at`` is when its own watchdog ends it, None where nobody told.
    """

    run: str
    folder: Path
    node: str
    is_driven: bool
    pod_id: str = ""
    ending: str = ""
    ends_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A pod that a run on this machine made and that nobody needs any more: why, and by which run."""

    pod: PodInfo
    run: str
    reason: str


def is_ours(pod: PodInfo) -> bool:
    """Whether a pod carries rpd's stamp."""
    return pod.name.startswith(NAME_PREFIX)


def claims(runs_path: Path) -> dict[str, Claim]:
    """Return what the runs under ``runs_path`` tell of their pods, by the pod's name; later runs have the last word."""
    found: dict[str, Claim] = {}
    for path in filter(Path.is_file, journal_paths(runs_path)):
        found.update(_claims_of(path))
    return found


def _claims_of(path: Path) -> dict[str, Claim]:
    found: dict[str, Claim] = {}
    started: Mapping[str, Any] | None = None
    for event in journal.read(path):
        name = event.get("pod_name", "")
        if event["event"] == "run_started":
            started = event
        elif event["event"] == "intent":
            node = str(event.get("node", ""))
            found[name] = Claim(run=path.parent.name, folder=path.parent, node=node, is_driven=False)
        elif name in found:
            found[name] = _told(found[name], event)
    is_driven = started is not None and is_running(started)
    return {name: replace(claim, is_driven=is_driven) for name, claim in found.items()}


def _told(claim: Claim, event: Mapping[str, Any]) -> Claim:
    """Return the claim after one more line of the journal."""
    match event["event"]:
        case "created" | "adopted":
            return replace(claim, pod_id=str(event.get("pod_id", "")))
        case "armed":
            deadline = event.get("deadline")
            return replace(claim, ends_at=float(deadline) if isinstance(deadline, int | float) else None)
        case "kept":
            return replace(claim, ending="kept")
        case "released":
            return replace(claim, ending=str(event.get("how") or "delete"))
    return claim


def leftovers(pods: Iterable[PodInfo], runs_path: Path, *, now: float | None = None) -> list[Leftover]:
    """Return the pods that runs under ``runs_path`` left and nobody needs any more, by what the journals say.

    Those are pods whose run is dead and never gave them back, pods that outlived a confirmed deletion, and kept pods
    whose time is over. Pods kept or stopped on purpose, pods of runs that still go on, and pods no journal here knows
    are not among them.
    """
    known = claims(runs_path)
    moment = time.time() if now is None else now
    found = []
    for pod in pods:
        claim = known.get(pod.name)
        if claim is not None and is_ours(pod) and (reason := _why_left(claim, moment)):
            found.append(Leftover(pod=pod, run=claim.run, reason=reason))
    return found


def _why_left(claim: Claim, now: float) -> str:
    match claim.ending:
        case "":
            return "" if claim.is_driven else "its run ended without giving it back"
        case "kept" if claim.ends_at is not None and claim.ends_at < now:
            return "it was kept for a time that is over"
        case "delete" if not claim.is_driven:
            return "it was deleted, and is there all the same"
    return ""


def find(pods: Sequence[PodInfo], wanted: str, known: Mapping[str, Claim] | None = None) -> PodInfo:
    """Return the pod with that id or name, the only one whose id or name begins so, or that of the node ``wanted``.

    ``known`` tells which node asked for which pod. Raises UsageError.
    """
    readings: list[Callable[[PodInfo], bool]] = [
        lambda pod: wanted in (pod.id, pod.name),
        lambda pod: pod.id.startswith(wanted) or pod.name.startswith(wanted),
        lambda pod: wanted in _node_names(pod, known),
        lambda pod: any(name.startswith(wanted) for name in _node_names(pod, known)),
        lambda pod: any(wanted in name for name in _node_names(pod, known)),
    ]
    for fits in readings:
        found = [pod for pod in pods if fits(pod)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{wanted!r} may be {', '.join(pod.id for pod in found)}: say which")
    raise UsageError(f"no pod {wanted!r} on this account (see `rpd ps`)")


def _node_names(pod: PodInfo, known: Mapping[str, Claim] | None) -> tuple[str, ...]:
    claim = (known or {}).get(pod.name)
    return (claim.node, claim.node.rpartition("::")[2]) if claim is not None and claim.node else ()


def usd_per_hr(pod: PodInfo) -> float | None:
    """Return what a pod costs an hour now, disks and all; None where RunPod does not tell its rate."""
    if pod.status is PodStatus.EXITED:
        return stopped_usd_per_month(pod.volume_gb) / HOURS_PER_MONTH
    if pod.usd_per_hr is None:
        return None
    return pod.usd_per_hr + running_usd_per_hr(pod.volume_gb + pod.container_disk_gb)


def note_stopped(claim: Claim, pod: PodInfo) -> None:
    """Tell the journal of the pod's run that it was stopped on purpose, so that nobody takes it for left behind."""
    written = journal.FileJournal(claim.folder / journal.FILE_NAME, lambda record: record)
    written.write(
        "released",
        sync=True,
        node=claim.node,
        pod_name=pod.name,
        pod_id=pod.id,
        final_state="stopped",
        how="stop",
    )
    written.close()
