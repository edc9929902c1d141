"""Reads files that may come from elsewhere: regular ones only, never through a link, up to a limit."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_IS_LINK = (errno.ELOOP, errno.EMLINK)  # the second one on FreeBSD
_FLAGS = os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file. Raise OSError for a link, FIFO, device or folder, without blocking."""
    try:
        if not _NO_LINK and path.is_symlink():  # for systems whose open() cannot refuse one
            raise OSError(errno.ELOOP, "", str(path))
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in _IS_LINK:
            raise OSError(errno.ELOOP, "a symbolic link is not followed", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def is_regular(path: Path) -> bool:
    """Return whether there is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def read_regular(path: Path, most: int) -> bytes:
    """Return all of a file of at most ``most`` bytes. Raise OSError."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return data


def tail_of(path: Path, most: int) -> bytes:
    """Return the last ``most`` bytes of a file. Raise OSError."""
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most))
        return file.read(most)


def lines_of(path: Path, longest: int) -> Iterator[bytes]:
    """Yield the lines of a file; one longer than ``longest`` bytes comes in pieces. Raise OSError."""
    with open_regular(path) as file:
        while line := file.readline(longest):
            yield line


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without links. Empty if it cannot be read."""
    try:
        with os.scandir(folder) as scanned:
            names = [entry.name for entry in scanned if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]
