"""Writing a file whole: readers find the old text or the new one, never a part, also after a power cut."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

_numbers = itertools.count()


def write_whole(path: Path, text: str, *, sync: bool = True) -> None:
    """Write ``text`` (UTF-8) to a temporary file next to ``path``, fsync it and rename it. Raises OSError.

    Without ``sync``, who wants it to outlast a power cut sees to that.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
