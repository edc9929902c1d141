"""The past: what an earlier process, killed in the middle, left of a run, as its journals tell."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rpd.errors import Cause
from rpd.journal import journal
from rpd.journal.files import RunFiles
from rpd.values.pod import Cloud, Offer
from rpd.values.report import AttemptRecord, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PastStep:
    """A step that was begun at ``began`` (UTC, ISO 8601).

    ``result`` is what it returned, None if it did not come to that; ``log_bytes`` is how long ``output.log`` was when
    it began.
    """

    index: int
    kind: str
    fingerprint: str
    log_bytes: int
    began: str = ""
    pod: str = ""
    """The name of the pod it was done on."""
    result: Mapping[str, Any] | None = None
    exit_code: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastNode:
    """A node that has to be carried on: its attempt, when that began (UTC, ISO 8601), and its steps in order.

    ``earlier`` are its attempts that were over. ``billed_seconds`` and ``usd`` are what pods of this attempt cost that
    are gone already.
    """

    attempt: int
    started: str
    steps: tuple[PastStep, ...] = ()
    earlier: tuple[AttemptRecord, ...] = ()
    billed_seconds: float = 0.0
    usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLease:
    """A pod that was asked for and not released. ``pod_id`` is empty where the answer to its create was never read.

    ``holder`` names the wide fixture that held it; empty for a pod of one node alone.
    """

    name: str
    node_id: str
    holder: str
    pod_id: str
    created: str
    offer: Offer | None


@dataclass(kw_only=True)
class Past:
    """What can be carried on with. Each pod is given out once. Thread-safe."""

    leases: list[PastLease] = field(default_factory=list)
    nodes: Mapping[str, PastNode] = field(default_factory=dict)
    wide_fixtures: frozenset[str] = frozenset()
    """The fixtures wider than a node that had a value in the earlier process."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._set_up_again: set[str] = set()

    def is_set_up_again(self, fixture: str) -> bool:
        """Whether ``fixture`` had a value in the earlier process and is set up for the first time since."""
        with self._lock:
            if fixture not in self.wide_fixtures or fixture in self._set_up_again:
                return False
            self._set_up_again.add(fixture)
            return True

    def take(self, node_id: str, holder: str) -> PastLease | None:
        """Give out a pod for a node, or for the wide fixture ``holder``: best the one the node worked on."""
        node = self.nodes.get(node_id)
        worked_on = {step.pod for step in node.steps} if node else set()
        with self._lock:
            fitting = [
                held for held in self.leases if held.holder == holder and (holder or held.node_id == node_id)
            ]
            if not fitting:
                return None
            chosen = next((held for held in fitting if held.name in worked_on), fitting[0])
            self.leases.remove(chosen)
            return chosen

    def rest(self) -> list[PastLease]:
        """Give out every pod that nobody asked for."""
        with self._lock:
            left, self.leases = self.leases, []
        return left


def read(files: RunFiles) -> Past:
    """Return the past of the run in ``files``. Raises OSError where its journal cannot be read."""
    nodes = {}
    for path in sorted(files.folder.glob(f"*/{journal.FILE_NAME}")):
        found = _read_node(path)
        if found is not None:
            nodes[found[0]] = found[1]
    return Past(
        leases=_read_leases(files.journal),
        nodes=nodes,
        wide_fixtures=frozenset(
            str(event.get("fixture"))
            for event in journal.read(files.journal)
            if event["event"] == journal.WIDE_FIXTURE
        ),
    )


def _read_leases(path: Path) -> list[PastLease]:
    """Return the leases that were begun and not ended, by the journal of the run."""
    held: dict[str, PastLease] = {}
    for event in journal.read(path):
        name = event.get("pod_name", "")
        match event["event"]:
            case "intent":
                held[name] = PastLease(
                    name=name,
                    node_id=event.get("node", ""),
                    holder=event.get("holder", ""),
                    pod_id="",
                    created=event["at"],
                    offer=offer_of(event.get("terms")),
                )
            case "created":
                known = held[name]
                held[name] = PastLease(
                    name=name,
                    node_id=known.node_id,
                    holder=known.holder,
                    pod_id=event["pod_id"],
                    created=known.created,  # it bills before the answer that it does has arrived
                    offer=known.offer,
                )
            case "refused" | "released" | "kept":
                held.pop(name, None)
    return list(held.values())


def offer_of(terms: Mapping[str, Any] | None) -> Offer | None:
    """Return the offer that a journal line tells of."""
    return None if terms is None else Offer(**{**terms, "cloud": Cloud(terms["cloud"])})


def _read_node(path: Path) -> tuple[str, PastNode] | None:
    """Return id and story of a node, as its journal tells it; one that ended is at the beginning of another attempt."""
    node_id, attempt, started = "", 1, ""
    steps: dict[int, PastStep] = {}
    earlier: list[AttemptRecord] = []
    seconds = usd = 0.0
    for event in journal.read(path):
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
            case "steps_forgotten":
                steps = {}
            case "released" | "kept":
                seconds += event.get("seconds", 0.0)
                usd += event.get("usd", 0.0)
            case "node_finished":
                attempt, steps, seconds, usd = attempt + 1, {}, 0.0, 0.0
                if "attempt" in event:
                    earlier.append(_attempt_of(event["attempt"]))
    if not node_id:
        return None
    return node_id, PastNode(
        attempt=attempt,
        started=started,
        steps=tuple(steps[index] for index in sorted(steps)),
        earlier=tuple(earlier),
        billed_seconds=seconds,
        usd=usd,
    )


def _begun(event: Mapping[str, Any], known: PastStep | None) -> PastStep:
    """Return the step an event begins; one that was begun before, and is carried on, began then."""
    step = PastStep(
        index=event["index"],
        kind=event["kind"],
        fingerprint=event.get("fingerprint", ""),
        log_bytes=event.get("log_bytes", 0),
        began=event["at"],
        pod=event.get("pod", ""),
    )
    is_same = known is not None and (known.pod, known.fingerprint) == (step.pod, step.fingerprint)
    return replace(step, began=known.began) if known is not None and is_same else step


def _attempt_of(record: Mapping[str, Any]) -> AttemptRecord:
    cause = record["cause"]
    return AttemptRecord(
        **{**record, "outcome": Outcome(record["outcome"]), "cause": None if cause is None else Cause(cause)}
    )


def unreleased(path: Path) -> tuple[str, ...]:
    """Return the names of the pods that the run asked for and never gave back for good, by its journal.

    Those are pods that run, are kept, or are stopped, whichever process of the run left them: all accept its key only.
    Raises OSError where the journal cannot be read.
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
