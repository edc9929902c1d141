"""The free space on this machine's disk: a pod may announce any size, and must not fill the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from rpd.errors import LocalTransferError
from rpd.values.size import format_size

_RESERVE = 256 << 20
"""Bytes that a pull leaves free, or a hundredth of the disk if that is less."""
_WORTH_A_LOOK = 16 << 20
"""Free space is checked for a file of this size, and again after this many bytes have arrived."""


class Room:
    """Watches the free space on the disk of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looked_at = 0

    def check(self, size: int, received: int) -> None:
        """Refuse a file of ``size`` bytes if there is no room; ``received`` counts the bytes before it.

        Raise LocalTransferError, OSError.
        """
        if size < _WORTH_A_LOOK and received - self._looked_at < _WORTH_A_LOOK:
            return
        self._looked_at = received
        usage = shutil.disk_usage(self._folder)
        free = usage.free - min(_RESERVE, usage.total // 100)
        if size > free:
            raise LocalTransferError(
                f"a file of {format_size(size)} does not fit: only {format_size(max(0, free))} are free in "
                f"{self._folder}: make room here, or exclude it"
            )
