"""The lock of a run folder: one process drives a run, and the kernel lets go of the lock however that process ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import weakref
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from rpd.errors import UsageError

FILE_NAME = ".lock"
_AT = 1 << 20
"""Windows locks bytes and then nobody can read them: these lie behind the text."""


class RunIsDriven(UsageError):
    """Another process drives the run."""


class RunLock:
    """Holds the lock of a run folder until ``release``, or the end of the process. A context manager."""

    _locks: ClassVar[weakref.WeakSet[RunLock]] = weakref.WeakSet()

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._locks.add(self)

    @classmethod
    def take(cls, folder: Path) -> RunLock:
        """Take the lock of the run in ``folder``. Raises RunIsDriven; OSError where the folder cannot be written.

        A disk that knows no locks (some network file systems) gives none: then only the journal can tell.
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
        # For the message above only: a full disk is no reason to let two drive one run.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        return cls(descriptor)

    def release(self) -> None:
        """Let others drive the run; safe to call twice."""
        if self._descriptor >= 0:
            # Closing lets go of it. The file stays: who removed it would let two processes lock two files of one name.
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
        """Close what a fork copied, which would hold the lock for as long as the child lives. Not an unlock."""
        for lock in list(cls._locks):
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RunLock.forget_all)


def _holder(descriptor: int) -> str:
    """Return in words who holds the lock, as far as it said so."""
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
        # Not lockf: that lock is lost when the process closes any other descriptor of the file (a backup reads it).
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True
