"""Group commits: one system call makes the writes of many nodes durable, instead of three for each.

Only for nodes that hold no pod. If a power cut takes the last quarter of a second, such a node starts again
and costs nothing; a killed process loses nothing. Events about rented pods are synced at once, before and
after the fact.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from rpd.threads import thread

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
            self._thread = thread(self._commit_groups, name="rpd-commits")
        self._thread.start()

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
        if len(group) > FEW and _sync_file_system(group[0]):
            return
        for folder in map(Path, group):
            try:
                _sync_folder(folder)
            except OSError as error:
                self._failed(folder, error)


def _sync_folder(folder: Path) -> None:
    """Sync the files in a folder, then the folder. Do nothing if it is gone."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                _sync(path, os.O_RDWR)
        if os.name != "nt":  # where folders cannot be opened
            _sync(folder, os.O_RDONLY)


def _sync(path: Path, how: int) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(path: str | Path) -> bool:
    """Sync the whole file system of ``path``; return whether the system can do that."""
    call = _syncfs()
    if call is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return bool(call(descriptor) == 0)
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], Any] | None:
    """Return Linux's ``syncfs``, which Python does not provide; None on other systems."""
    try:
        import ctypes  # imported here because few runs need it

        return getattr(ctypes.CDLL(None), "syncfs", None)
    except (ImportError, OSError, TypeError):  # ImportError: a job may have emptied sys.path
        return None
