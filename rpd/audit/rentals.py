"""Rentals: the pods of the runs in a folder, with their times, owners and estimated costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rpd.errors import RpdError
from rpd.journal import journal
from rpd.record import history
from rpd.values.frozen import frozen

Damaged = Callable[[str], object]


@frozen
class User:
    """A node that used a pod, and its share of the pod's cost (USD, from its manifest)."""

    node: str
    job: str
    author: str = ""
    usd: float = 0.0


@frozen
class Rental:
    """One rental of a pod by a run. Moments are seconds since 1970; ``ended`` is None until the run has released it.

    ``usd`` is the run's estimate until then. ``final_state`` is ``deleted``, ``stopped`` or ``running`` (kept
    on purpose); empty until it is released.
    """

    pod_id: str
    pod_name: str
    run: str
    node: str
    """The node that the pod was rented for."""
    owner: str = ""
    gpu: str = ""
    began: float = 0.0
    ended: float | None = None
    usd: float = 0.0
    usd_per_hr: float = 0.0
    final_state: str = ""
    deadline: float | None = None
    """When its own watchdog ends it, as the run last heard."""
    users: tuple[User, ...] = ()
    """The nodes that used it, by their manifests."""

    def until(self, now: float) -> float:
        """Return when it ended; where that is not known, its deadline."""
        if self.ended is not None:
            return self.ended
        return now if self.deadline is None else max(self.began, min(now, self.deadline))

    def usd_until(self, now: float) -> float:
        """Return its estimated cost; the cost so far if it has not ended."""
        if self.ended is not None:
            return self.usd
        return max(0.0, self.until(now) - self.began) / 3600 * self.usd_per_hr


@dataclass(slots=True)
class Known:
    """The records of runs: their rentals, and the nodes that asked for each network volume (by its name or id)."""

    rentals: list[Rental] = field(default_factory=list)
    volumes: dict[str, set[str]] = field(default_factory=dict)
    runs: int = 0


def read_known(runs_path: Path, *, wanted: Callable[[str], bool], since: float, damaged: Damaged) -> Known:
    """Read the records of a folder of run folders, of backends that are ``wanted``, from ``since`` on.

    A run that ended earlier is left out, unless a pod of it stayed. ``damaged`` is called with each
    unreadable part.
    """
    records = Known()
    begin = datetime.fromtimestamp(since, UTC).isoformat()
    for info in history.runs(runs_path):
        if info.backend and not wanted(info.backend):
            continue
        if info.finished and info.finished < begin and not (info.leftover or info.unreleased):
            continue
        folder = Path(info.folder)
        rentals = list(_rentals(folder, info.owner, damaged))
        if not any(
            each.ended is None or each.ended >= since or each.final_state != "deleted" for each in rentals
        ):
            continue
        records.runs += 1
        users = _users(folder, records.volumes, damaged)
        records.rentals += [replace(each, users=tuple(users.get(each.pod_id, ()))) for each in rentals]
    return records


def _rentals(folder: Path, owner: str, damaged: Damaged) -> Iterator[Rental]:
    """Yield the rentals of one run, by its journal."""
    open_rentals: dict[str, Rental] = {}
    for event in journal.read(folder / journal.FILE_NAME, lambda damage: damaged(str(damage))):
        name = str(event.get("pod_name", ""))
        if event["event"] == "intent":
            if name in open_rentals and open_rentals[name].pod_id:
                yield open_rentals[name]
            open_rentals[name] = _asked(event, folder.name, owner)
        elif name in open_rentals:
            open_rentals[name] = _after(open_rentals[name], event)
    yield from (each for each in open_rentals.values() if each.pod_id)


def _asked(event: Mapping[str, Any], run: str, owner: str) -> Rental:
    terms = event.get("terms") or {}
    rate, gpu = terms.get("usd_per_hr"), terms.get("gpu_id")
    return Rental(
        pod_id="",
        pod_name=event["pod_name"],
        run=run,
        node=str(event.get("node", "")),
        owner=owner,
        gpu=gpu if isinstance(gpu, str) else "",
        began=_moment(event),
        usd_per_hr=float(rate) if isinstance(rate, int | float) else 0.0,
    )


def _after(rental: Rental, event: Mapping[str, Any]) -> Rental:
    """Return the rental after one more line of the journal."""
    match event["event"]:
        case "created" | "adopted":
            rate = event.get("usd_per_hr")
            per_hour = float(rate) if isinstance(rate, int | float) else rental.usd_per_hr
            return replace(rental, pod_id=str(event.get("pod_id", "")), usd_per_hr=per_hour)
        case "armed":
            deadline = event.get("deadline")
            return replace(rental, deadline=float(deadline) if isinstance(deadline, int | float) else None)
        case "kept" | "released":
            ended = _moment(event)
            seconds = event.get("seconds")
            return replace(
                rental,
                pod_id=rental.pod_id or str(event.get("pod_id", "")),
                ended=ended,
                # A pod bills from when it was asked for with success, not from the first try.
                began=max(rental.began, ended - seconds)
                if seconds and rental.ended is None
                else rental.began,
                usd=rental.usd + float(event.get("usd", 0.0)),
                final_state=str(event.get("final_state", "")),
            )
    return rental


def _moment(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp() if "at" in event else 0.0


def _users(folder: Path, volumes: dict[str, set[str]], damaged: Damaged) -> dict[str, list[User]]:
    """Return the nodes that used each pod of a run, by its id; add the volumes they asked for."""
    users: dict[str, list[User]] = {}
    for place, document in history.documents(folder):
        if isinstance(document, RpdError):
            damaged(str(document))
            continue
        try:
            _note_users(document, users, volumes)
        except (AttributeError, KeyError, TypeError, ValueError):
            damaged(f"{place}: its manifest is malformed and left out")
    return users


def _note_users(
    document: Mapping[str, Any], users: dict[str, list[User]], volumes: dict[str, set[str]]
) -> None:
    node = document["node"]
    pods = {pod["id"]: pod for pod in document.get("pods", ()) if pod.get("id")}
    earlier = [each for each in document.get("attempts", ()) if each.get("pod_id")]
    spent = float(document.get("cost", {}).get("estimated_usd", 0.0))
    last = max(0.0, spent - sum(float(each.get("estimated_usd", 0.0)) for each in earlier))
    author = str(document.get("source", {}).get("author", ""))

    def note(pod_id: str, usd: float) -> None:
        user = User(node=str(node["id"]), job=str(node["job"]), author=author, usd=usd)
        users.setdefault(pod_id, []).append(user)

    rates = sum(float(pod.get("rate", 0.0)) for pod in pods.values())
    for pod_id, pod in pods.items():
        note(pod_id, last * float(pod.get("rate", 0.0)) / rates if rates else last / len(pods))
        if pod.get("volume"):
            volumes.setdefault(str(pod["volume"]), set()).add(str(node["id"]))
    for attempt in earlier:
        if attempt["pod_id"] not in pods:
            note(str(attempt["pod_id"]), float(attempt.get("estimated_usd", 0.0)))
