"""The past of a run: the state that a killed process left, read from its journals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from rpd.errors import Cause
from rpd.journal import journal
from rpd.journal.files import RunFiles
from rpd.journal.journal import Damage
from rpd.values.frozen import EMPTY, frozen, replace
from rpd.values.mutable import fresh, mutable
from rpd.values.pod import Cloud, Offer
from rpd.values.report import AttemptRecord, Outcome


@frozen
class PastStep:
    """A step that was started at ``began`` (UTC, ISO 8601).

    ``result`` is its answer, None if it has none; ``log_bytes`` and ``series_bytes`` are the sizes of
    ``output.log`` and of the file of series when it started.
    """

    index: int
    kind: str
    fingerprint: str
    log_bytes: int
    series_bytes: int = 0
    began: str = ""
    pod: str = ""
    """The name of the pod on which it was done."""
    result: Mapping[str, Any] | None = None
    exit_code: int | None = None
    seconds: float = 0.0
    marks: tuple[tuple[str, str], ...] = ()
    """The parts it announced, each with its time; an empty name ends a part."""
    command: str = ""


@frozen
class PastNode:
    """A node to be resumed: its attempt, the start of that (UTC, ISO 8601), and its steps in order.

    ``earlier`` are its finished attempts. ``billed_seconds`` and ``usd`` are the use and cost of pods of this
    attempt that are already gone.
    """

    attempt: int
    started: str
    steps: tuple[PastStep, ...] = ()
    earlier: tuple[AttemptRecord, ...] = ()
    billed_seconds: float = 0.0
    usd: float = 0.0
    is_whole: bool = True
    """Whether its journal is complete; otherwise the node starts a new attempt."""


@frozen
class PastLease:
    """A pod that was requested and not released. ``pod_id`` is empty if the answer to its create was never read.

    ``holder`` names the wide fixture that held it; empty for a pod of one node alone.
    """

    name: str
    node_id: str
    holder: str
    pod_id: str
    created: str
    offer: Offer | None


@mutable
class Past:
    """The state to resume from. Each pod is handed out once. Thread-safe."""

    leases: list[PastLease] = fresh(factory=list)
    nodes: Mapping[str, PastNode] = EMPTY
    damage: Sequence[Damage] = ()
    """The unreadable parts of the journals."""
    wide_fixtures: frozenset[str] = frozenset()
    """Fixtures wider than a node that had a value in the earlier process."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._set_up_again: set[str] = set()

    def is_set_up_again(self, fixture: str) -> bool:
        """Return whether ``fixture`` had a value in the earlier process and is set up for the first time since."""
        with self._lock:
            if fixture not in self.wide_fixtures or fixture in self._set_up_again:
                return False
            self._set_up_again.add(fixture)
            return True

    def take(self, node_id: str, holder: str) -> PastLease | None:
        """Hand out a pod for a node, or for the wide fixture ``holder``; preferably the one that the node worked on.

        A node with an incomplete journal gets no pod of its own: nobody knows what may still be running
        there.
        """
        node = self.nodes.get(node_id)
        if not holder and (node is None or not node.is_whole):
            return None
        worked_on = {step.pod for step in node.steps} if node else set()
        with self._lock:
            fitting = [
                lease
                for lease in self.leases
                if lease.holder == holder and (holder or lease.node_id == node_id)
            ]
            if not fitting:
                return None
            chosen = next((lease for lease in fitting if lease.name in worked_on), fitting[0])
            self.leases.remove(chosen)
            return chosen

    def rest(self) -> list[PastLease]:
        """Hand out every pod that was not taken."""
        with self._lock:
            left, self.leases = self.leases, []
        return left


def read(files: RunFiles) -> Past:
    """Return the past of the run in ``files``, as far as its journals can be read."""
    nodes = {}
    damage: list[Damage] = []
    for path in sorted(files.folder.glob(f"*/{journal.FILE_NAME}")):
        past = _read_node(path, damage.append)
        if past is not None:
            nodes[past[0]] = past[1]
    leases = _read_leases(files.journal, damage.append)
    return Past(
        leases=leases,
        nodes=nodes,
        damage=tuple(damage),
        wide_fixtures=frozenset(
            str(event.get("fixture"))
            for event in journal.read(files.journal)
            if event["event"] == journal.WIDE_FIXTURE
        ),
    )


def _read_leases(path: Path, damaged: Callable[[Damage], object]) -> list[PastLease]:
    """Return the leases in a run's journal that were begun and not ended."""
    leases: dict[str, PastLease] = {}
    for event in journal.read(path, damaged):
        name = event.get("pod_name", "")
        match event["event"]:
            case "intent":
                leases[name] = PastLease(
                    name=name,
                    node_id=event.get("node", ""),
                    holder=event.get("holder", ""),
                    pod_id="",
                    created=event["at"],
                    offer=offer_of(event.get("terms")),
                )
            case "created" if name in leases:
                # It bills before the answer has arrived, so the moment of the intent stays.
                leases[name] = replace(leases[name], pod_id=event["pod_id"])
            case "created" if "at" in event:  # the line of its intent is damaged
                leases[name] = PastLease(
                    name=name,
                    node_id=event.get("node", ""),
                    holder=event.get("holder", ""),
                    pod_id=event["pod_id"],
                    created=event["at"],
                    offer=None,
                )
            case "refused" | "released" | "kept":
                leases.pop(name, None)
    return list(leases.values())


def offer_of(terms: Mapping[str, Any] | None) -> Offer | None:
    """Return the offer in a journal line, None if it has none."""
    if terms is None:
        return None
    try:
        offer = Offer(**{**terms, "cloud": Cloud(terms["cloud"])})
        return offer if _is_sound(offer) else None
    except (KeyError, TypeError, ValueError):
        return None


def _is_sound(offer: Offer) -> bool:
    return (
        isinstance(offer.gpu_id, str | None)
        and isinstance(offer.count, int)
        and isinstance(offer.datacenter, str | None)
        and isinstance(offer.usd_per_hr, int | float | None)
        and isinstance(offer.stock, str)
    )


def _read_node(path: Path, damaged: Callable[[Damage], object]) -> tuple[str, PastNode] | None:
    """Return id and past of a node from its journal; a finished one is at the start of another attempt."""
    node_id, attempt, started = "", 1, ""
    steps: dict[int, PastStep] = {}
    earlier: list[AttemptRecord] = []
    damage: list[Damage] = []
    seconds = usd = 0.0
    for event in journal.read(path, damage.append):
        match event["event"]:
            case "node_started":
                node_id, attempt, started = event["node"], event.get("attempt", 1), event["at"]
                steps = {}
            case "step_started":
                steps[event["index"]] = _begun(event, steps.get(event["index"]))
            case "step_finished" if event["index"] in steps:
                steps[event["index"]] = replace(
                    steps[event["index"]],
                    result=event.get("result"),
                    exit_code=event.get("exit_code"),
                    seconds=event.get("seconds", 0.0),
                )
            case "step_mark" if event.get("index") in steps:
                step = steps[event["index"]]
                said = (str(event.get("name", "")), str(event.get("at", "")))
                steps[event["index"]] = replace(step, marks=(*step.marks, said))
            case "steps_forgotten":
                steps = {}
            case "released" | "kept":
                seconds += event.get("seconds", 0.0)
                usd += event.get("usd", 0.0)
            case "node_finished":
                attempt, steps, seconds, usd = attempt + 1, {}, 0.0, 0.0
                earlier += _attempts_of(event.get("attempt"))
    for each in damage:
        damaged(each)
    if not node_id:
        return None
    if damage:
        # The missing step may be the one that staged the project. A new attempt keeps its commands apart from
        # old ones.
        attempt, steps = attempt + 1, {}
    return node_id, PastNode(
        is_whole=not damage,
        attempt=attempt,
        started=started,
        steps=_unbroken(steps),
        earlier=tuple(earlier),
        billed_seconds=seconds,
        usd=usd,
    )


def _unbroken(steps: Mapping[int, PastStep]) -> tuple[PastStep, ...]:
    """Return the steps up to the first gap: steps after a damaged line are repeated."""
    return tuple(steps[index] for index in takewhile(steps.__contains__, count()))


def _begun(event: Mapping[str, Any], earlier: PastStep | None) -> PastStep:
    """Return the step that an event begins; a resumed one keeps its first beginning."""
    step = PastStep(
        index=event["index"],
        kind=event["kind"],
        fingerprint=event.get("fingerprint", ""),
        log_bytes=event.get("log_bytes", 0),
        series_bytes=event.get("series_bytes", 0),
        began=event["at"],
        pod=event.get("pod", ""),
        command=str(event.get("command", "")),
    )
    is_same = earlier is not None and (earlier.pod, earlier.fingerprint) == (step.pod, step.fingerprint)
    return (
        replace(step, began=earlier.began, marks=earlier.marks) if earlier is not None and is_same else step
    )


def _attempts_of(record: object) -> list[AttemptRecord]:
    """Return the attempt in a journal line; an empty list if it has none."""
    if not isinstance(record, dict):
        return []
    try:
        outcome, cause = Outcome(record["outcome"]), record["cause"]
        made = AttemptRecord(
            **{**record, "outcome": outcome, "cause": None if cause is None else Cause(cause)}
        )
    except (KeyError, TypeError, ValueError):
        return []
    amounts, texts = (made.number, made.seconds, made.estimated_usd), (made.reason, made.pod_id, made.gpu)
    sound = all(isinstance(amount, int | float) for amount in amounts) and all(
        isinstance(text, str) for text in (*texts, made.datacenter)
    )
    return [made] if sound else []


def unreleased(path: Path) -> tuple[str, ...]:
    """Return the names of the pods that the run requested and never released for good, by its journal.

    These pods may be running, kept or stopped, whichever process of the run left them: all accept only its
    key. Raise OSError if the journal cannot be read.
    """
    open_pods: dict[str, None] = {}
    for event in journal.read(path):
        name = str(event.get("pod_name", ""))
        match event["event"]:
            case "intent" | "adopted" | "kept":
                open_pods[name] = None
            case "refused":
                open_pods.pop(name, None)
            case "released" if event.get("final_state", "deleted") == "deleted":
                open_pods.pop(name, None)
    return tuple(open_pods)
