"""Group commits: one system call makes the writes of many nodes durable, instead of three for each.

Only for nodes that hold no pod. If a power cut takes the last quarter of a second, such a node starts again
and costs nothing; a killed process loses nothing. Events about rented pods are synced at once, before and
after the fact.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from rpd.disk.durable import sync_file_system, sync_files_in
from rpd.threads import started

GROUP_SECONDS = 0.25
FEW = 4
"""Up to this many folders are synced file by file: the file system as a whole may have much of others to write."""


class Commits:
    """Makes folders durable a moment after they were written. Thread-safe.

    ``failed`` is called with the folder and the error if that fails.
    """

    def __init__(self, failed: Callable[[Path, OSError], object]) -> None:
        self._failed = failed
        self._lock = threading.Lock()
        self._waiting: list[str | Path] = []
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()

    def soon(self, folder: str | Path) -> None:
        """Make ``folder`` and the files in it durable within a moment."""
        with self._lock:
            self._waiting.append(folder)
            if self._thread is not None:
                return
            try:
                self._thread = started(self._commit_groups, name="rpd-commits")
            except RuntimeError:  # the system has no thread left for this process
                group, self._waiting = self._waiting, []
            else:
                return
        self._commit(group)

    def finish(self) -> None:
        """Return when everything is durable."""
        self._hurry.set()
        with self._lock:
            under_way = self._thread
        if under_way is not None:
            under_way.join()

    def _commit_groups(self) -> None:
        while True:
            self._hurry.wait(GROUP_SECONDS)
            with self._lock:
                group, self._waiting = self._waiting, []
                if not group:
                    self._thread = None
                    return
            self._commit(group)

    def _commit(self, group: Sequence[str | Path]) -> None:
        # One syncfs for many folders: a sync of each file would wait for the disk once per file.
        if len(group) > FEW and sync_file_system(group[0]):
            return
        for folder in map(Path, group):
            try:
                sync_files_in(folder)
            except OSError as error:
                self._failed(folder, error)
