"""Recycling: finding a pod that an earlier run stopped so that a like one need not be rented."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpd.journal import journal
from rpd.journal.files import RunFiles, journal_paths
from rpd.journal.past import offer_of
from rpd.values.job import Release
from rpd.values.pod import Offer, PodInfo, PodStatus, Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A pod that was stopped to be used again, and the private key of the run that made it: only that one opens it."""

    name: str
    pod_id: str
    offer: Offer | None
    key: Path


class Recycler:
    """Gives out stopped pods, each once. Thread-safe."""

    def __init__(self, runs_path: Path) -> None:
        self._runs_path = runs_path
        self._lock = threading.Lock()
        self._given: set[str] = set()

    def take(self, kind: str, provider: Provider) -> Stopped | None:
        """Return a pod of that kind that RunPod still has, stopped; None if there is none. Raises ProviderError."""
        with self._lock:
            for held in self._there(lambda intent: intent.get("kind") == kind, provider):
                if held.key.is_file():
                    self._given.add(held.pod_id)
                    return held
        return None

    def outgrown(self, kind: str, node: str, provider: Provider) -> list[Stopped]:
        """Return the pods of other kinds that were stopped for that node, and cost money still; each once.

        Raises ProviderError.
        """
        with self._lock:
            found = list(
                self._there(
                    lambda intent: intent.get("node") == node and intent.get("kind", kind) != kind, provider
                )
            )
            self._given.update(held.pod_id for held in found)
            return found

    def _there(self, fits: Callable[[Mapping[str, Any]], bool], provider: Provider) -> Iterator[Stopped]:
        """Yield what was stopped, was asked for with an intent that ``fits``, and is still there, not given out yet."""
        candidates = [held for held in _stopped(self._runs_path, fits) if held.pod_id not in self._given]
        there = {pod.id: pod for pod in provider.list()} if candidates else {}
        yield from (held for held in candidates if _is_stopped(there.get(held.pod_id)))


def _is_stopped(pod: PodInfo | None) -> bool:
    return pod is not None and pod.status is PodStatus.EXITED


def _stopped(runs_path: Path, fits: Callable[[Mapping[str, Any]], bool]) -> Iterator[Stopped]:
    """Yield the pods with an intent that fits which past runs stopped to be used again, the latest first."""
    for path in filter(Path.is_file, reversed(journal_paths(runs_path))):
        yield from _stopped_in(path, fits)


def _stopped_in(path: Path, fits: Callable[[Mapping[str, Any]], bool]) -> Iterator[Stopped]:
    intents = {}
    found: dict[str, Stopped] = {}
    for event in journal.read(path):
        name = event.get("pod_name", "")
        if event["event"] == "intent" and fits(event):
            intents[name] = offer_of(event.get("terms"))
        elif event["event"] == "released" and name in intents:
            found.pop(name, None)
            if event.get("how") == Release.RECYCLE and event.get("final_state") == "stopped":
                key = RunFiles(path.parent, path.parent.name).private_key
                found[name] = Stopped(name=name, pod_id=event["pod_id"], offer=intents[name], key=key)
    yield from found.values()
