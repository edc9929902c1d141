"""Making files outlast a power cut: the only place that asks the system to bring them to the disk.

An error here is final. The system may have dropped the content, and then the next sync succeeds because nothing is left
to write. So after an error, write the content again or report that it is not safe; a second sync proves nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

FEW = 16
"""Up to this many files are synced one by one: the file system as a whole may have much of others to write."""

_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
"""Errors that mean that a folder was not written; all others mean that it cannot be synced on this file system."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def sync_open(descriptor: int) -> None:
    """Bring an open file to the disk. Raise OSError."""
    os.fsync(descriptor)


def sync_names(folder: str | Path) -> None:
    """Bring the names in a folder to the disk, where the system can. Raise OSError if they may be lost."""
    try:
        _sync(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno in _LOST:
            raise


def sync_files_in(folder: Path) -> None:
    """Bring the files directly in a folder, and their names, to the disk. Do nothing if it is gone. Raise OSError."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                _sync(path, os.O_RDWR)  # Windows syncs nothing that is opened for reading only
        sync_names(folder)


def sync_tree(path: Path, *, within: Path, files: int) -> None:
    """Bring a file or folder to the disk, with the names of all folders from ``within`` down to it. Raise OSError.

    No link is followed. ``files`` is about how many files there are: many are synced with their whole file system.
    """
    if files > FEW and sync_file_system(within):
        return
    for each, is_folder in _walk(path):
        sync_names(each) if is_folder else _sync(each, os.O_RDWR | _NO_LINK)
    for folder in path.parents:
        if folder.is_relative_to(within):
            sync_names(folder)


def _walk(path: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the regular files and folders at and below ``path``, each with whether it is a folder."""
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        yield path, False
    elif stat.S_ISDIR(status.st_mode):
        for each in path.iterdir():
            yield from _walk(each)
        yield path, True


def _sync(path: str | Path, how: int) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: str | Path) -> bool:
    """Sync the whole file system of ``path``; return whether that worked.

    If it did not, sync the files one by one. If the error was about somebody else's file, that succeeds. If it was
    about one of these, Linux reports it again to the next process that opens the file.
    """
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
