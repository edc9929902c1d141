"""The lock of a run folder: one process drives a run; the kernel releases the lock, however that process ends."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import weakref
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from rpd.errors import UsageError
from rpd.project.owner import host_name

FILE_NAME = ".lock"
_AT = 1 << 20
"""Windows blocks reading of locked bytes, so these are beyond the text."""


class RunIsDriven(UsageError):
    """Another process is driving the run."""


class RunLock:
    """The lock of a run folder, held until ``release`` or the end of the process. A context manager."""

    _locks: ClassVar[weakref.WeakSet[RunLock]] = weakref.WeakSet()

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._locks.add(self)

    @classmethod
    def take(cls, folder: Path) -> RunLock:
        """Take the lock of the run in ``folder``. Raise RunIsDriven; OSError if the folder cannot be written.

        On a disk without locks (some network file systems) this succeeds: then only the journal can tell.
        """
        descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            is_ours = _lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if not is_ours:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise RunIsDriven(
                f"run {folder.name} is driven by another process{holder}. Wait until that ends, or end it "
                f"(Ctrl-C there, or SIGTERM), then resume the run"
            )
        # Only for the message above: a full disk is no reason to let two processes drive one run.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps({"pid": os.getpid(), "host": host_name()}).encode())
        return cls(descriptor)

    def release(self) -> None:
        """Let others drive the run; safe to call twice."""
        if self._descriptor >= 0:
            # Closing releases the lock. The file stays: if it were removed, two processes could lock two
            # files of one name.
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @classmethod
    def forget_all(cls) -> None:
        """Close the copies made by a fork, which would hold the lock as long as the child lives.

        This does not unlock.
        """
        for lock in list(cls._locks):
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RunLock.forget_all)


def _holder(descriptor: int) -> str:
    """Return the holder of the lock in words, as far as it is known."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = json.loads(os.read(descriptor, 4096))
        return f" (pid {int(holder['pid'])} on {holder['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


if sys.platform == "win32":  # pragma: no cover - there are no such locks elsewhere

    def _lock(descriptor: int) -> bool:
        import msvcrt

        os.lseek(descriptor, _AT, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        # Not lockf: that lock is lost when the process closes any other descriptor of the file (as a backup
        # does).
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # A file system without locks: do not keep the user from running.
            return True
        return True
