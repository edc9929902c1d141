"""One open folder, in which names are used without following a symbolic link.

``DescriptorPlace`` makes the system guarantee that: openat(2) and its relatives with O_NOFOLLOW, so that
nobody can slip in a link between a look and an act. ``PathPlace`` looks first and acts afterwards, for
systems that cannot (Windows).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY
_CHANGE = os.O_RDWR | _NOFOLLOW | _BINARY


class Place(Protocol):
    """An open folder; every ``name`` is one entry of it. Every method raises OSError."""

    def enter(self, name: str) -> Place:
        """Open the folder ``name``; a link to one is none."""
        ...

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of ``name`` itself, without following a link; None if there is nothing."""
        ...

    def create(self, name: str, mode: int) -> int:
        """Return the descriptor of a new file to write to, with permission bits that the umask allows."""
        ...

    def write(self, name: str, data: bytes, mode: int, mtime: int) -> None:
        """Make a new file of ``data``: ``create`` and ``dress`` at once."""
        ...

    def change(self, name: str) -> int:
        """Return the descriptor of a regular file that is there, to read and write."""
        ...

    def read(self, name: str) -> int:
        """Return the descriptor of a regular file, to read."""
        ...

    def dress(self, name: str, descriptor: int, mode: int, mtime: int) -> None:
        """Give the open file ``name`` its permission bits and its time."""
        ...

    def make_folder(self, name: str, mode: int) -> None:
        """Make a folder with permission bits that the umask allows."""
        ...

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file or link."""
        ...

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder."""
        ...

    def move(self, name: str, into: Place, new_name: str) -> None:
        """Rename into another folder, over a file or link that is there."""
        ...

    def entries(self) -> Iterator[str]:
        """Yield the names of its entries."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_place(folder: Path) -> Place:
    """Open a folder that is trusted: links on the way to it are followed. Raise OSError."""
    if _has_descriptors():
        return DescriptorPlace(os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)))
    return PathPlace(folder)


def _has_descriptors() -> bool:
    needed = {os.open, os.stat, os.mkdir, os.rename, os.symlink, os.unlink, os.rmdir}
    return bool(_NOFOLLOW) and needed <= os.supports_dir_fd and os.listdir in os.supports_fd


class DescriptorPlace:
    """A folder by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def enter(self, name: str) -> DescriptorPlace:
        return DescriptorPlace(os.open(name, _FOLDER, dir_fd=self.descriptor))

    def status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def create(self, name: str, mode: int) -> int:
        return os.open(name, _NEW, mode, dir_fd=self.descriptor)

    def write(self, name: str, data: bytes, mode: int, mtime: int) -> None:
        descriptor = os.open(name, _NEW, 0o600, dir_fd=self.descriptor)
        try:
            _write_all(descriptor, data)
            if sys.platform != "win32":
                os.fchmod(descriptor, mode)
            os.utime(descriptor, (mtime, mtime))
        finally:
            os.close(descriptor)

    def change(self, name: str) -> int:
        return _regular(os.open(name, _CHANGE | _NONBLOCK, dir_fd=self.descriptor))

    def read(self, name: str) -> int:
        return _regular(os.open(name, _READ | _NOFOLLOW | _NONBLOCK, dir_fd=self.descriptor))

    def dress(self, name: str, descriptor: int, mode: int, mtime: int) -> None:  # noqa: ARG002 - it is open
        if sys.platform != "win32":
            os.fchmod(descriptor, mode)
        os.utime(descriptor, (mtime, mtime))

    def make_folder(self, name: str, mode: int) -> None:
        os.mkdir(name, mode, dir_fd=self.descriptor)

    def link(self, name: str, target: str) -> None:
        os.symlink(target, name, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self.descriptor)

    def remove_folder(self, name: str) -> None:
        os.rmdir(name, dir_fd=self.descriptor)

    def move(self, name: str, into: Place, new_name: str) -> None:
        assert isinstance(into, DescriptorPlace)
        os.replace(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=into.descriptor)

    def entries(self) -> Iterator[str]:
        return iter(os.listdir(self.descriptor))  # noqa: PTH208 - a path is what must not be used

    def close(self) -> None:
        os.close(self.descriptor)


class PathPlace:
    """A folder by its path; the type of a name is checked before it is used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def enter(self, name: str) -> PathPlace:
        status = self.status(name)
        if status is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        return PathPlace(self.folder / name)

    def status(self, name: str) -> os.stat_result | None:
        try:
            return (self.folder / name).lstat()
        except FileNotFoundError:
            return None

    def create(self, name: str, mode: int) -> int:
        return os.open(self.folder / name, _NEW, mode)

    def write(self, name: str, data: bytes, mode: int, mtime: int) -> None:
        descriptor = self.create(name, 0o600)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        self.dress(name, descriptor, mode, mtime)

    def change(self, name: str) -> int:
        return self._existing(name, _CHANGE)

    def read(self, name: str) -> int:
        return self._existing(name, _READ)

    def _existing(self, name: str, flags: int) -> int:
        status = self.status(name)
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise _irregular(name)
        return _regular(os.open(self.folder / name, flags | _NONBLOCK))

    def dress(self, name: str, descriptor: int, mode: int, mtime: int) -> None:  # noqa: ARG002 - by its path
        (self.folder / name).chmod(mode)
        os.utime(self.folder / name, (mtime, mtime))

    def make_folder(self, name: str, mode: int) -> None:
        (self.folder / name).mkdir(mode)

    def link(self, name: str, target: str) -> None:
        (self.folder / name).symlink_to(target)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def remove_folder(self, name: str) -> None:
        (self.folder / name).rmdir()

    def move(self, name: str, into: Place, new_name: str) -> None:
        assert isinstance(into, PathPlace)
        (self.folder / name).replace(into.folder / new_name)

    def entries(self) -> Iterator[str]:
        return (entry.name for entry in self.folder.iterdir())

    def close(self) -> None:
        """Hold nothing open."""


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def _regular(descriptor: int) -> int:
    """Return ``descriptor`` if it is that of a regular file; a FIFO or device is closed again."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular("")
    return descriptor


def _irregular(name: str) -> OSError:
    return OSError(errno.EINVAL, "not a regular file", name)
