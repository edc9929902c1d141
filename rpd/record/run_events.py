"""The events of a run: its journal and those of its nodes, in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rpd.disk.regular import folders_in
from rpd.journal import journal
from rpd.journal.journal import Damage
from rpd.record import lookup

Event = dict[str, Any]

EVENTS: Mapping[str, str] = {
    "run_started": "the run began: where, and by which process",
    "planned": "the ids of all nodes of the run",
    "added": "a node was added to the run while it was running",
    "results": "a search ended: the ids of its trials that have a value, best first",
    "fixture_set_up": "a fixture of scope module, worker or session has a value",
    "node_started": "an attempt of the node began",
    "node_resumed": "the attempt continues in a resumed run",
    "node_finished": "an attempt of the node ended, with its outcome and cause",
    "step_started": "a step on the pod began",
    "step_finished": "a step on the pod ended, with its result",
    "steps_forgotten": "the node starts over: finished steps no longer count",
    "salvage_ended": "the second call of a failed job ended, and why",
    "last_pull_failed": "the last round of a repeated pull failed",
    "intent": "rpd is about to rent a pod of this name",
    "refused": "an offer was refused, with the reason",
    "waiting": "rpd waits: for stock, or for another pod of the run to be released",
    "created": "the pod exists, with its id and offer",
    "recycled": "a stopped pod of an earlier run was started instead",
    "adopted": "a resumed run took over the pod of the killed one",
    "ready": "the pod is ready for commands, with its description of itself",
    "other_gpu": "the pod's GPU is not the one that is paid for",
    "armed": "the deadline of the pod's watchdog",
    "released": "the pod is deleted or stopped, and RunPod confirmed it",
    "kept": "the pod is kept on purpose, until a deadline",
    "unreleased": "the pod could not be released",
}
"""The events of rpd's own journals, with what each says."""


def last_change(run_folder: Path) -> float:
    """Return when a journal or another file of a run or its nodes last changed (seconds since 1970)."""
    newest = 0.0
    for folder in (run_folder, *folders_in(run_folder)):
        for path in (folder, folder / journal.FILE_NAME):
            with suppress(OSError):
                newest = max(newest, path.lstat().st_mtime)
    return newest


def in_order(run_folder: Path, damaged: Callable[[Damage], object] = lambda _damage: None) -> Iterator[Event]:
    """Yield the events of a run and of all its nodes by time; each has its ``node`` if it belongs to one."""
    streams = [journal.read(run_folder / journal.FILE_NAME, damaged)]
    # Events of pods are in the run's journal too, with the node: list them once.
    streams += [
        (event for event in of_node(entry.id, entry.folder, damaged) if "pod_name" not in event)
        for entry in lookup.entries(run_folder)
    ]
    return heapq.merge(*streams, key=lambda event: str(event.get("at", "")))


def of_node(
    node_id: str, folder: Path, damaged: Callable[[Damage], object] = lambda _damage: None
) -> Iterator[Event]:
    """Yield the events of one node in order, each with its ``node``."""
    return ({"node": node_id, **event} for event in journal.read(folder / journal.FILE_NAME, damaged))
