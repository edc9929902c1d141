"""Writing a file whole: readers find the old text or the new one, never a part, also after a power cut."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from rpd.disk.durable import sync_names, sync_open

_numbers = itertools.count()
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def write_whole(path: str | Path, text: str, *, sync: bool = True) -> None:
    """Write ``text`` (UTF-8) to a temporary file next to ``path``, fsync it and rename it. Raises OSError.

    Lone surrogates, which a pod may put into a name, are escaped: they must not cost the file.
    Without ``sync``, the caller is responsible if the file must outlast a power cut.
    """
    folder, name = os.path.split(path)
    folder = folder or os.curdir
    temporary = f"{folder}{os.sep}.{name}.{os.getpid()}-{next(_numbers)}.tmp"
    try:
        _write(temporary, memoryview(text.encode("utf-8", "backslashreplace")), sync=sync)
        os.replace(temporary, path)  # noqa: PTH105 - called for each node
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - as above
        raise
    if sync:
        sync_names(folder)


def _write(path: str, data: memoryview, *, sync: bool) -> None:
    """Write a new file by the fewest calls of the system: each lets another thread of the run take its turn."""
    descriptor = os.open(path, _NEW, 0o666)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        if sync:
            sync_open(descriptor)
    finally:
        os.close(descriptor)
