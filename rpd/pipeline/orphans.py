"""Pods outside of a run: which are ours, and which were left behind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rpd.errors import UsageError
from rpd.journal import journal
from rpd.journal.driver_alive import is_driven, is_running
from rpd.journal.files import journal_paths
from rpd.journal.journal import Damage
from rpd.lease import registries
from rpd.lease.naming import is_named_by
from rpd.redaction import NO_SECRETS
from rpd.select import spellings
from rpd.values.frozen import frozen, replace
from rpd.values.pod import NAME_PREFIX, PodInfo, PodStatus, Provider
from rpd.values.prices import HOURS_PER_MONTH, running_usd_per_hr, stopped_usd_per_month


@frozen
class Claim:
    """The state of a pod according to the journals on this machine. Times are seconds since 1970.

    ``node`` requested it. ``is_driven``: whether the process of its run is alive. ``ending`` is empty until
    the run gives the pod back; then it is ``kept``, or how it was released (``stop``, ``recycle``,
    ``delete``). ``ends_at`` is when its watchdog ends it, None if unknown. ``doubt`` says why all of this may
    be wrong: part of the journal is missing. Empty: nothing is.

    The pod has been billing ``since`` then. As of ``changed``, when it was last stopped or kept: it had cost
    ``usd`` while running, and had been stopped for ``idle_seconds`` in all; ``is_stopped`` if it was stopped
    then.
    """

    run: str
    folder: Path
    node: str
    is_driven: bool
    pod_id: str = ""
    ending: str = ""
    ends_at: float | None = None
    doubt: str = ""
    since: float = 0.0
    changed: float = 0.0
    usd: float = 0.0
    idle_seconds: float = 0.0
    is_stopped: bool = False


@frozen
class Leftover:
    """A pod of a run on this machine that is no longer needed: the reason, and its run."""

    pod: PodInfo
    run: str
    reason: str


def is_ours(pod: PodInfo) -> bool:
    """Return whether a pod carries rpd's stamp."""
    return pod.name.startswith(NAME_PREFIX)


class Claims(dict[str, Claim]):
    """Claims by pod name. ``damage`` lists the unreadable parts of the journals."""

    def __init__(self) -> None:
        super().__init__()
        self.damage: list[Damage] = []

    def of(self, pod: PodInfo) -> Claim | None:
        """Return the claim on a pod; if its journal is damaged, its name still tells its run."""
        claim = self.get(pod.name)
        if claim is not None:
            return claim
        for damage in self.damage:
            folder = damage.path.parent
            if is_named_by(folder.name, pod.name):
                return Claim(run=folder.name, folder=folder, node="", is_driven=False, doubt=str(damage))
        return None


def claims(runs_path: Path) -> Claims:
    """Return the claims of the runs under ``runs_path`` on their pods; later runs override earlier ones."""
    all_claims = Claims()
    for path in journal_paths(runs_path):
        all_claims.update(_claims_of(path, all_claims, all_claims.damage))
    return all_claims


def _claims_of(path: Path, earlier: Mapping[str, Claim], damage: list[Damage]) -> dict[str, Claim]:
    by_name: dict[str, Claim] = {}
    started: Mapping[str, Any] | None = None
    reported = len(damage)
    for event in journal.read(path, damage.append):
        name = event.get("pod_name", "")
        if event["event"] == "run_started":
            started = event
        elif event["event"] == "intent":
            by_name[name] = _asked_for(event, path.parent, by_name.get(name) or earlier.get(name))
        elif name in by_name:
            by_name[name] = _updated(by_name[name], event)
    is_driven = started is not None and is_running(started)
    doubt = str(damage[reported]) if len(damage) > reported else ""
    if started is None and not doubt:
        doubt = f"{path} does not say which process drives the run"
    return {name: replace(claim, is_driven=is_driven, doubt=doubt) for name, claim in by_name.items()}


def _asked_for(event: Mapping[str, Any], folder: Path, before: Claim | None) -> Claim:
    """Return the claim that an intent makes; ``before`` is the one on the same pod from when it was stopped."""
    at = _moment(event)
    claim = Claim(
        run=folder.name,
        folder=folder,
        node=event.get("node", ""),
        is_driven=False,
        since=at,
        changed=at,
    )
    if before is None:
        return claim
    idle = max(0.0, at - before.changed) if before.is_stopped else 0.0
    return replace(
        claim,
        since=before.since,
        usd=before.usd,
        idle_seconds=before.idle_seconds + idle,
        pod_id=before.pod_id,
    )


def _moment(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp() if "at" in event else 0.0


def _ended(claim: Claim, event: Mapping[str, Any], ending: str) -> Claim:
    """Return the claim on a pod that its run has given back, or kept."""
    return replace(
        claim,
        ending=ending,
        changed=_moment(event) or claim.changed,
        usd=claim.usd + event.get("usd", 0.0),
        is_stopped=event.get("final_state") == "stopped",
    )


def _updated(claim: Claim, event: Mapping[str, Any]) -> Claim:
    """Return the claim after one more line of the journal."""
    match event["event"]:
        case "created" | "adopted":
            return replace(claim, pod_id=str(event.get("pod_id", "")))
        case "armed":
            deadline = event.get("deadline")
            return replace(claim, ends_at=float(deadline) if isinstance(deadline, int | float) else None)
        case "kept":
            return _ended(claim, event, "kept")
        case "released":
            return _ended(claim, event, str(event.get("how") or "delete"))
    return claim


def leftovers(pods: Iterable[PodInfo], runs_path: Path, *, now: float | None = None) -> list[Leftover]:
    """Return the pods that runs under ``runs_path`` left and that are no longer needed, according to the journals.

    These are pods whose run died without giving them back, pods that outlived a confirmed deletion, and kept
    pods whose time is over. Pods kept or stopped on purpose, pods of running runs, pods unknown to any
    journal here, and pods with a damaged journal are not included.
    """
    all_claims = claims(runs_path)
    moment = time.time() if now is None else now
    left = []
    for pod in pods:
        claim = all_claims.of(pod)
        if claim is not None and is_ours(pod) and (reason := _why_left(claim, moment)):
            left.append(Leftover(pod=pod, run=claim.run, reason=reason))
    return left


def left_registries(provider: Provider, runs_path: Path) -> list[tuple[Path, registries.StoredCredentials]]:
    """Return the registry credentials that dead runs left at RunPod, each with the journal of its run."""
    left = [
        (path, entry)
        for path in journal_paths(runs_path)
        for entry in registries.stored_by(path)
        if not is_driven(path.parent)
    ]
    there = registries.still_there(provider, [entry for _, entry in left])
    return [(path, entry) for path, entry in left if entry in there]


def _why_left(claim: Claim, now: float) -> str:
    if claim.doubt:
        return ""
    match claim.ending:
        case "":
            return "" if claim.is_driven else "its run ended without deleting it"
        case "kept" if claim.ends_at is not None and claim.ends_at < now:
            return "it was kept for a time that is over"
        case "delete" if not claim.is_driven:
            return "its run deleted it, but it still exists"
    return ""


def find(pods: Sequence[PodInfo], wanted: str, known: Mapping[str, Claim] | None = None) -> PodInfo:
    """Return the pod with that id or name, the only one whose id or name begins so, or that of the node ``wanted``.

    ``known`` tells which node asked for which pod. Raise UsageError.
    """
    texts = spellings(wanted)
    readings: list[Callable[[PodInfo], bool]] = [
        lambda pod: wanted in (pod.id, pod.name, *(member.id for member in pod.members)),
        lambda pod: pod.id.startswith(wanted) or pod.name.startswith(wanted),
        lambda pod: any(text in _node_names(pod, known) for text in texts),
        lambda pod: any(name.startswith(texts) for name in _node_names(pod, known)),
        lambda pod: any(text in name for name in _node_names(pod, known) for text in texts),
    ]
    for fits in readings:
        matching = [pod for pod in pods if fits(pod)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise UsageError(f"{wanted!r} may be {', '.join(pod.id for pod in matching)}: name one")
    raise UsageError(f"no pod {wanted!r} in this account (see `rpd ps`)")


def _node_names(pod: PodInfo, known: Mapping[str, Claim] | None) -> tuple[str, ...]:
    claim = (known or {}).get(pod.name)
    return (claim.node, claim.node.rpartition("::")[2]) if claim is not None and claim.node else ()


def usd_per_hr(pod: PodInfo) -> float | None:
    """Return the present cost of a pod per hour, including disks; None if RunPod does not report its rate."""
    if pod.status is PodStatus.EXITED:
        return stopped_usd_per_month(pod.volume_gb) / HOURS_PER_MONTH
    if pod.usd_per_hr is None:
        return None
    return pod.usd_per_hr + running_usd_per_hr(pod.volume_gb + pod.container_disk_gb)


def state(pod: PodInfo, claim: Claim | None) -> str:
    """Return the state of a pod in one or two words."""
    if pod.status is not PodStatus.RUNNING:
        return "stopped" if pod.status is PodStatus.EXITED else pod.status.lower()
    if claim is None:
        return "running"
    if claim.doubt:
        return "unclear"
    if claim.ending == "kept":
        return "kept"
    return "in use" if claim.is_driven else "left behind"


def seconds_left(pod: PodInfo, claim: Claim | None, now: float) -> float | None:
    """Return in how many seconds the pod's own watchdog ends it; None for a stopped one, which has none."""
    if claim is None or claim.ends_at is None or pod.status is not PodStatus.RUNNING:
        return None
    return claim.ends_at - now


def spent_usd(pod: PodInfo, claim: Claim, now: float) -> float | None:
    """Return the cost of a pod so far, including disks, according to the journals; None if they do not suffice."""
    if not claim.since or claim.doubt or claim.is_stopped is not (pod.status is PodStatus.EXITED):
        return None
    lately = unrecorded_usd(pod, claim, now)
    if lately is None:
        return None
    idle = claim.idle_seconds / 3600 * stopped_usd_per_month(pod.volume_gb) / HOURS_PER_MONTH
    return claim.usd + idle + lately


def unrecorded_usd(pod: PodInfo, claim: Claim, now: float) -> float | None:
    """Return the cost of a pod since its last journal entry, None if its rate is not known."""
    rate = usd_per_hr(pod)
    return None if rate is None else max(0.0, now - claim.changed) / 3600 * rate


def bills_since(pod: PodInfo, claim: Claim | None) -> float | None:
    """Return since when a pod has been billing (s since 1970), None if neither a journal nor RunPod says."""
    return claim.since if claim is not None and claim.since else changed_at(pod)


def stopped_at(pod: PodInfo, claim: Claim | None) -> float | None:
    """Return when a pod was stopped, None if neither a journal nor RunPod says."""
    return claim.changed if claim is not None and claim.is_stopped and claim.changed else changed_at(pod)


_CHANGED = re.compile(r"\b([A-Z][a-z]{2} \d{1,2} \d{4} \d\d:\d\d:\d\d) GMT\+0000")


def changed_at(pod: PodInfo) -> float | None:
    """Return when a pod's state last changed according to RunPod; None if it does not say."""
    match = _CHANGED.search(pod.last_status_change)
    if match is None:
        return None
    try:
        return datetime.strptime(f"{match[1]} +0000", "%b %d %Y %H:%M:%S %z").timestamp()
    except ValueError:
        return None


def note_stop_asked(claim: Claim, pod: PodInfo, *, keep_disk: bool) -> None:
    """Record in the journal of a run that goes on that somebody releases its pod now.

    The run rents no other pod for the node then. With ``keep_disk`` it leaves the pod stopped.
    """
    with suppress(OSError):  # the pod is released all the same
        _record(claim, journal.STOP_ASKED, pod, keep_disk=keep_disk)


def note_stopped(claim: Claim, pod: PodInfo, *, usd: float) -> None:
    """Record in the journal of the pod's run that it was stopped on purpose, so that it is not taken for left behind.

    ``usd`` is its cost since the last entry of the journal.
    """
    _record(claim, "released", pod, final_state="stopped", how="stop", usd=round(usd, 6))


def _record(claim: Claim, event: str, pod: PodInfo, **detail: Any) -> None:
    """Write an event about a pod to the journal of its run. Raise OSError."""
    with closing(journal.FileJournal(claim.folder / journal.FILE_NAME, NO_SECRETS)) as written:
        written.write(event, sync=True, node=claim.node, pod_name=pod.name, pod_id=pod.id, **detail)
