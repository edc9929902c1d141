"""A folder tree whose names somebody else chose. No operation on it ever reaches a file outside it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path

from rpd.disk.place import Place, open_place

DEEPEST = 128
"""More folders than that one in another are not gone into."""


class LeadsOut(OSError):
    """A name that would lead out of the tree, or may: by ``..``, by being absolute, or through a symbolic link."""


class Tree:
    """The folder ``root`` (which is trusted, and so is the path to it) and everything below.

    A name is a path relative to it, with ``/``. Each folder on the way is opened from the one before and none
    through a symbolic link; ``..``, absolute names and empty parts are refused. Methods raise OSError with
    the whole path.
    """

    def __init__(self, root: Path, place: Place | None = None) -> None:
        self._path = root
        self._root = open_place(root) if place is None else place
        # Many files of one folder come in a row.
        self._last: tuple[str, Place] | None = None

    def path(self, name: str) -> Path:
        """Return the path of a name, for people and for reports."""
        return self._path / name

    def below(self, name: str) -> Tree:
        """Open a folder in it as a separate tree."""
        with self._naming(name):
            place, last = self._at(name)
            return Tree(self._path / name, place.enter(last))

    def close(self) -> None:
        """Let go of it."""
        self._forget()
        self._root.close()

    # --- looking ----------------------------------------------------------------------------------------------------

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of a name, without following a link.

        None if it, or a folder above it, is missing or a link.
        """
        with self._naming(name):
            try:
                place, last = self._at(name)
            except (FileNotFoundError, NotADirectoryError, LeadsOut):
                return None
            return place.status(last)

    def read(self, name: str) -> BufferedReader:
        """Open a regular file."""
        with self._naming(name):
            place, last = self._at(name)
            return os.fdopen(place.read(last), "rb")

    # --- writing ----------------------------------------------------------------------------------------------------

    def create(self, name: str, *, mode: int = 0o600) -> FileIO:
        """Open a new file, unbuffered, in folders that are made; FileExistsError if there is anything of that name."""
        with self._naming(name):
            place, last = self._at(name, make=True)
            return os.fdopen(place.create(last, mode), "wb", buffering=0)

    def write(self, name: str, data: bytes, mode: int, mtime: int) -> None:
        """Make a new file of ``data``: ``create``, ``write_all`` and ``dress`` in little time, for many of them."""
        try:
            place, last = self._at(name, make=True)
            place.write(last, data, mode, mtime)
        except OSError as error:
            raise self._named(error, name) from error

    def change(self, name: str) -> FileIO:
        """Open a regular file that is there, unbuffered, to write over it."""
        with self._naming(name):
            place, last = self._at(name)
            return os.fdopen(place.change(last), "r+b", buffering=0)

    def dress(self, name: str, file: FileIO, mode: int, mtime: int) -> None:
        """Give an open file its permission bits and its time."""
        with self._naming(name):
            place, last = self._at(name)
            place.dress(last, file.fileno(), mode, mtime)

    def make_folder(self, name: str, *, mode: int = 0o777) -> None:
        """Make a folder and those above it, in the place of links if need be; fine if it is there."""
        with self._naming(name):
            self._folder(name, make=True, mode=mode)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link, in folders that are made."""
        with self._naming(name):
            place, last = self._at(name, make=True)
            place.link(last, target)

    def remove(self, name: str) -> None:
        """Remove a file or link, if there is one."""
        with self._naming(name), contextlib.suppress(FileNotFoundError):
            place, last = self._at(name)
            place.remove(last)

    def move(self, name: str, into: Tree, new_name: str) -> None:
        """Rename into another tree, over a file or link; folders above are made, in the place of links if need be."""
        with into._naming(new_name):
            place, last = self._at(name)
            target, new_last = into._at(new_name, make=True)
            # Windows renames over nothing that is a folder; elsewhere only an empty one would give way.
            status = target.status(new_last)
            if status is not None and stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            place.move(last, target, new_last)

    def remove_all(self, name: str) -> None:
        """Remove a folder and all below it, as far as that can be done."""
        with contextlib.suppress(OSError):
            place, last = self._at(name)
            self._forget_below(name)
            _remove_all(place, last, DEEPEST)

    # --- going there ------------------------------------------------------------------------------------------------

    def _at(self, name: str, *, make: bool = False) -> tuple[Place, str]:
        """Return the open folder that holds ``name``, and its last part."""
        folder, _, last = name.rpartition("/")
        _check_part(last)
        return self._folder(folder, make=make), last

    def _folder(self, name: str, *, make: bool = False, mode: int = 0o777) -> Place:
        if not name:
            return self._root
        if self._last is not None and self._last[0] == name:
            return self._last[1]
        parts = name.split("/")
        if len(parts) > DEEPEST:
            raise OSError(errno.ENAMETOOLONG, f"more than {DEEPEST} nested folders")
        place = self._root
        for part in parts:
            _check_part(part)
            try:
                entered = _enter(place, part, make=make, mode=mode)
            finally:
                if place is not self._root:
                    place.close()
            place = entered
        self._forget()
        self._last = (name, place)
        return place

    def _forget(self) -> None:
        if self._last is not None:
            self._last[1].close()
            self._last = None

    def _forget_below(self, name: str) -> None:
        if self._last is not None and f"{self._last[0]}/".startswith(f"{name}/"):
            self._forget()

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Let errors name the whole path: the system knows the last part only."""
        try:
            yield
        except OSError as error:
            raise self._named(error, name) from error

    def _named(self, error: OSError, name: str) -> OSError:
        is_way_out = isinstance(error, LeadsOut) or error.errno == errno.ELOOP
        kind = LeadsOut if is_way_out else OSError
        return kind(error.errno, error.strerror, str(self._path / name))


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write all of ``data`` to an unbuffered file, which may take less at once. Raise OSError."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _check_part(part: str) -> None:
    if part in ("", ".", "..") or "\0" in part or (os.name == "nt" and ("\\" in part or ":" in part)):
        raise LeadsOut(errno.EINVAL, "the name leads out of its folder")


def _enter(place: Place, part: str, *, make: bool, mode: int) -> Place:
    """Return the folder ``part``, made if it may be; a link in its place is removed for it, as ``rsync`` does."""
    try:
        return place.enter(part)
    except OSError as error:
        status = place.status(part)
        is_link = status is not None and stat.S_ISLNK(status.st_mode)
        if not make or (status is not None and not is_link):
            if is_link:
                raise LeadsOut(errno.ELOOP, "a symbolic link is in the way") from error
            raise
        if is_link:
            place.remove(part)
        with contextlib.suppress(FileExistsError):  # another pull was quicker
            place.make_folder(part, mode)
        return place.enter(part)


def _remove_all(place: Place, name: str, depth: int) -> None:
    status = place.status(name)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        place.remove(name)
        return
    if depth > 0:
        below = place.enter(name)
        try:
            for entry in list(below.entries()):
                with contextlib.suppress(OSError):
                    _remove_all(below, entry, depth - 1)
        finally:
            below.close()
    place.remove_folder(name)
