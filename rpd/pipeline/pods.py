"""Pods outside of a run: which are ours, which were left behind, and giving them back."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rpd.errors import ProviderError, ReleaseError, UsageError
from rpd.execute import journal
from rpd.values.pod import NAME_PREFIX, PodInfo, Provider

CONFIRM_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A pod that a run on this machine made and never released, with the run's folder."""

    pod: PodInfo
    run: str


def is_ours(pod: PodInfo) -> bool:
    """Whether a pod carries rpd's stamp."""
    return pod.name.startswith(NAME_PREFIX)


def leftovers(pods: Iterable[PodInfo], runs_path: Path) -> list[Leftover]:
    """Return the pods of dead runs under ``runs_path`` that are still there, by what the journals say.

    Pods kept on purpose, pods of runs that still go on, and pods no journal here knows are not among them.
    """
    unreleased: dict[str, str] = {}
    for path in sorted(runs_path.glob(f"*/{journal.FILE_NAME}")):
        unreleased.update(dict.fromkeys(_unreleased_names(path), path.parent.name))
    return [
        Leftover(pod=pod, run=unreleased[pod.name]) for pod in pods if is_ours(pod) and pod.name in unreleased
    ]


def _unreleased_names(path: Path) -> set[str]:
    names: set[str] = set()
    for event in journal.read(path):
        if event["event"] == "run_started" and is_running(event):
            return set()
        if event["event"] == "intent":
            names.add(event["pod_name"])
        elif event["event"] in ("released", "kept"):
            names.discard(event["pod_name"])
    return names


def is_running(event: dict[str, object]) -> bool:
    """Whether the process that wrote the event is still there; one on another machine is taken to be."""
    if event.get("host") != socket.gethostname():
        return True
    pid = event.get("pid")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def find(pods: Sequence[PodInfo], wanted: str) -> PodInfo:
    """Return the pod with that id or name, or the only one whose id or name begins so. Raises UsageError."""
    exact = [pod for pod in pods if wanted in (pod.id, pod.name)]
    found = exact or [pod for pod in pods if pod.id.startswith(wanted) or pod.name.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no pod {wanted!r} on this account (see `rpd ps`)")
    raise UsageError(f"{wanted!r} may be {', '.join(pod.id for pod in found)}: say which")


def delete(provider: Provider, pod: PodInfo) -> None:
    """Delete a pod and confirm it by reading back. Raises ReleaseError."""
    reason = "RunPod still lists it"
    for attempt in range(CONFIRM_TRIES):
        try:
            provider.delete(pod.id)
            if provider.get(pod.id) is None:
                return
        except ProviderError as error:
            reason = str(error)
        time.sleep(min(0.25 * 2**attempt, 10.0))
    raise ReleaseError(pod.id, pod.name, reason)
