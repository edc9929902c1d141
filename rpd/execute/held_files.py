"""The descriptors of this process that are open when a run begins: code of a job that closes all of them fails.

Code that makes a program a daemon closes every descriptor, by ``os.closerange`` or by ``os.close`` in a loop. In a job
it would close the journal, the lock of the run and every connection to a pod, and files that are opened later would
get their numbers. ``os.closerange`` is refused at the first of them. ``os.close`` is refused for what no module of a
user opens, copies of the standard streams and pipes, which a loop from below meets first; not for regular files,
because a module may have opened them, nor for what is opened later.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from rpd.errors import UsageError


class HeldFiles:
    """Takes the place of ``os.close`` and ``os.closerange`` from ``begin`` to ``end``."""

    def __init__(self) -> None:
        self._process = -1
        self._acts_for_node: Callable[[], bool] = lambda: False
        self._held: dict[int, os.stat_result] = {}
        self._standard: list[os.stat_result] = []
        self._close, self._closerange = os.close, os.closerange

    def begin(self) -> None:
        """Take their place, and hold nothing yet."""
        # What a run found may have been put back after its end: that is not the original.
        if os.close != self._close_one:
            self._close, os.close = os.close, self._close_one
        if os.closerange != self._close_range:
            self._closerange, os.closerange = os.closerange, self._close_range

    def hold(self, acts_for_node: Callable[[], bool]) -> None:
        """Hold what is open now, but for the standard streams: those are the job's to close.

        ``acts_for_node`` says whether the current thread acts for a node.
        """
        self._acts_for_node = acts_for_node
        self._process = os.getpid()
        self._held = {number: now for number in _open_numbers() if (now := _file_of(number)) is not None}
        self._standard = [now for number in range(3) if (now := _file_of(number)) is not None]

    def end(self) -> None:
        """Put the originals back."""
        self._held = {}
        if os.close == self._close_one:
            os.close = self._close
        if os.closerange == self._close_range:
            os.closerange = self._closerange

    def _close_one(self, fd: int) -> None:
        held = self._held.get(fd)  # the end of a run, on another thread, lets go of all
        if held is not None:
            if not self._may_be_a_modules(held) and self._is_refused((fd,)):
                _refuse(f"os.close({fd})")
            self._held.pop(fd, None)  # the next file may get its number
        self._close(fd)

    def _may_be_a_modules(self, held: os.stat_result) -> bool:
        """Return whether a user's module may have opened it at its import, a lock for instance.

        A loop over all descriptors meets others first: copies of the standard streams, pipes and connections.
        """
        return stat.S_ISREG(held.st_mode) and not any(os.path.samestat(each, held) for each in self._standard)

    def _close_range(self, fd_low: int, fd_high: int, /) -> None:
        if self._is_refused(number for number in list(self._held) if fd_low <= number < fd_high):
            _refuse(f"os.closerange({fd_low}, {fd_high})")
        self._closerange(fd_low, fd_high)

    def _is_refused(self, numbers: Iterable[int]) -> bool:
        """Return whether a job's own code, not a library, closes one of ours; forked processes close their copies."""
        return (
            self._process == os.getpid()
            and self._acts_for_node()
            and any(map(self._is_held, numbers))
            and _is_called_by_user()
        )

    def _is_held(self, number: int) -> bool:
        now, held = _file_of(number), self._held.get(number)
        return now is not None and held is not None and os.path.samestat(now, held)


def _refuse(call: str) -> NoReturn:
    raise UsageError(
        f"{call} would close the files and connections of rpd, which calls your code in its own process: leave it out "
        "(a program that you start with subprocess inherits none of them)"
    )


def _is_called_by_user() -> bool:
    from rpd.project.libraries import is_library  # hardly any job closes what it did not open

    frame = sys._getframe(3)  # noqa: SLF001 - the only way to the caller without a traceback
    return not is_library(frame.f_code.co_filename, Path.cwd())


def _open_numbers() -> list[int]:
    """Return the numbers of open descriptors beyond the standard streams; where no folder lists them, likely ones."""
    with suppress(OSError), os.scandir("/dev/fd") as entries:
        return [number for entry in entries if (number := int(entry.name)) > 2]
    return list(range(3, 64))  # Windows


def _file_of(number: int) -> os.stat_result | None:
    try:
        return os.fstat(number)
    except OSError:
        return None
