"""The room on the disk of this machine: a pod may say any size, and must not fill it to the last byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from rpd.errors import LocalTransferError
from rpd.values.size import format_size

_RESERVE = 256 << 20
"""Bytes that a pull leaves free, or a hundredth of the disk where that is less."""
_WORTH_A_LOOK = 16 << 20
"""The disk is asked about a file that is as large, and again whenever so much more has come."""


class Room:
    """Watches how much room there is where ``folder`` lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looked_at = 0

    def check(self, size: int, received: int) -> None:
        """Refuse a file of ``size`` bytes that has no room; ``received`` counts what came before it.

        Raises LocalTransferError; OSError.
        """
        if size < _WORTH_A_LOOK and received - self._looked_at < _WORTH_A_LOOK:
            return
        self._looked_at = received
        usage = shutil.disk_usage(self._folder)
        free = usage.free - min(_RESERVE, usage.total // 100)
        if size > free:
            raise LocalTransferError(
                f"a file of {format_size(size)} is to come, and there is room for {format_size(max(0, free))} in "
                f"{self._folder}: make room here, or exclude it"
            )
