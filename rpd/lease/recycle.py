"""Recycling: finds a pod that an earlier node left stopped, so that a like one need not be rented."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from rpd.journal import journal
from rpd.journal.files import RunFiles, journal_paths
from rpd.journal.replay import offer_of
from rpd.values.frozen import frozen, replace
from rpd.values.job import Release
from rpd.values.pod import Offer, PodInfo, PodStatus, Provider


@frozen
class Stopped:
    """A pod that was stopped for reuse.

    ``kind`` is that of the request it was made for, ``node`` the node that requested it, ``key`` the private
    key of the run that made it: no other opens it. ``before`` names its users so far, each as ``run node``,
    the latest last.
    """

    name: str
    kind: str
    node: str
    offer: Offer | None
    key: Path
    pod_id: str = ""
    before: tuple[str, ...] = ()
    run: str = ""
    """The run that used it last."""


class Recycler:
    """Hands out stopped pods, each once. Thread-safe.

    With ``only_of`` it hands out the pods of that run alone; those of earlier runs are ``unwanted``.
    """

    def __init__(self, runs_path: Path, *, only_of: str = "") -> None:
        self._runs_path = runs_path
        self._only_of = only_of
        self._lock = threading.Lock()
        self._given: set[str] = set()

    def take(self, kind: str, provider: Provider) -> Stopped | None:
        """Return a pod of that kind that still exists, stopped; None if there is none. Raise ProviderError."""
        with self._lock:
            for pod in self._there(lambda pod: pod.kind == kind and not self._is_old(pod), provider):
                if pod.key.is_file():
                    self._given.add(pod.pod_id)
                    return pod
        return None

    def outgrown(self, kind: str, node: str, provider: Provider) -> list[Stopped]:
        """Return the pods of other kinds that were stopped for that node and still cost money, each once.

        Raise ProviderError.
        """
        return self._take_all(lambda pod: pod.node == node and pod.kind != kind, provider)

    def unwanted(self, kind: str, node: str, provider: Provider) -> list[Stopped]:
        """Return the pods that earlier runs left stopped for that node or for one like it, each once.

        Empty unless ``only_of`` is set. Raise ProviderError.
        """
        return self._take_all(
            lambda pod: self._is_old(pod) and (pod.kind == kind or pod.node == node), provider
        )

    def _is_old(self, pod: Stopped) -> bool:
        return bool(self._only_of) and pod.run != self._only_of

    def _take_all(self, fits: Callable[[Stopped], bool], provider: Provider) -> list[Stopped]:
        with self._lock:
            taken = list(self._there(fits, provider))
            self._given.update(stopped.pod_id for stopped in taken)
            return taken

    def _there(self, fits: Callable[[Stopped], bool], provider: Provider) -> Iterator[Stopped]:
        """Yield the pods that fit, still exist, are stopped, and were not handed out yet; the latest first."""
        stopped = reversed(_stopped(self._runs_path))
        candidates = [
            candidate for candidate in stopped if candidate.pod_id not in self._given and fits(candidate)
        ]
        there = {pod.id: pod for pod in provider.list()} if candidates else {}
        yield from (candidate for candidate in candidates if _is_stopped(there.get(candidate.pod_id)))


def _is_stopped(pod: PodInfo | None) -> bool:
    return pod is not None and pod.status is PodStatus.EXITED


def _stopped(runs_path: Path) -> list[Stopped]:
    """Return the pods that were stopped for reuse, judged by the last word of any journal on each.

    A pod that failed when it was reused is not among them, nor is one whose last use has no recorded end.
    """
    pods: dict[str, Stopped] = {}
    stopped: dict[str, Stopped] = {}
    for path in journal_paths(runs_path):
        for event in journal.read(path):
            name = event.get("pod_name", "")
            match event["event"]:
                case "intent":
                    stopped.pop(name, None)
                    pods[name] = _asked_again(pods.get(name), event, path) or _asked_for(event, path)
                case "released" if name in pods:
                    stopped.pop(name, None)
                    if event.get("how") == Release.RECYCLE and event.get("final_state") == "stopped":
                        stopped[name] = replace(pods[name], pod_id=event.get("pod_id", ""))
    return list(stopped.values())


def _asked_for(event: journal.Event, path: Path) -> Stopped:
    return Stopped(
        name=event["pod_name"],
        kind=event.get("kind", ""),
        node=event.get("node", ""),
        offer=offer_of(event.get("terms")),
        key=RunFiles(path.parent, path.parent.name).private_key,
        before=(_user(event, path),),
        run=path.parent.name,
    )


def _asked_again(pod: Stopped | None, event: journal.Event, path: Path) -> Stopped | None:
    """Return a known pod with one more user; None for a new one."""
    if pod is None:
        return None
    return replace(
        pod,
        node=event.get("node", pod.node),
        before=(*pod.before, _user(event, path)),
        run=path.parent.name,
    )


def _user(event: journal.Event, path: Path) -> str:
    return f"{path.parent.name} {event.get('node', '')}".rstrip()
