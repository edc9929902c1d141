"""The manifests of one run, and an index of their content: ten thousand are read in the time of a few.

The index is a file in the folder of the run, and only ever a cache. Each manifest is still checked: if its
size, times or inode differ from those in the index, the manifest itself is read, and so is one that the index
lacks. A run appends to its index as nodes end, many at a time, and readers append the manifests they had to read; of
two lines about a manifest the later one counts. An index that is missing, damaged, copied from elsewhere or
cannot be written costs time and nothing else.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rpd.disk.regular import read_regular
from rpd.errors import RpdError

FILE_NAME = ".manifests"
MANIFEST = "manifest.toml"
_MOST_BYTES = 1 << 30
_KEPT_BYTES = 1 << 16
_SPARE_LINES = 1000
"""An index with more lines than these, and than it has manifests, that nobody needs any more is written anew."""
_NOT_OURS = frozenset({"artifacts"})
"""Folders of a node that hold the user's own files, which may be called as ours are."""
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_encode = json.JSONEncoder(separators=(",", ":")).encode
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Document = Mapping[str, Any]
Parse = Callable[[Path], Document]


def folders(run_folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each folder that has a manifest, in order, with a stamp that changes whenever the manifest does."""
    waiting = [os.fspath(run_folder)]
    while waiting:
        folder = waiting.pop()
        stamp = _stamp(f"{folder}{os.sep}{MANIFEST}")
        if stamp:
            yield folder, stamp
        else:
            waiting += [f"{folder}{os.sep}{name}" for name in sorted(_subfolders(folder), reverse=True)]


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [name for name in names if name not in _NOT_OURS and not name.startswith(".")]


def _stamp(path: str) -> str:
    """Return size, times and inode of a file; empty if there is none.

    An archive can set a file's modification time, but neither its inode nor its ctime.
    """
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return ""
    if stat.S_ISDIR(status.st_mode):
        return ""
    return f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_size}-{status.st_ino}"


def read(run_folder: Path, parse: Parse, *, keep: bool = True) -> Iterator[tuple[str, Document | RpdError]]:
    """Yield each folder that has a manifest, with the document in it or the error of ``parse``.

    With ``keep``, missing manifests are added to the index.
    """
    index = _Index(run_folder)
    for folder, stamp in folders(run_folder):
        document = index.document(folder, stamp)
        if document is not None:
            yield folder, document
            continue
        try:
            parsed = parse(Path(folder, MANIFEST))
        except RpdError as error:
            yield folder, error
            continue
        index.missed(folder, stamp, parsed)
        yield folder, parsed
    if keep:
        index.keep()


class Additions:
    """The lines that a run adds to its index. Thread-safe; nothing raises.

    They are kept until there are some: a killed run costs those who read it the time for the manifests of the rest.
    """

    def __init__(self, run_folder: Path) -> None:
        self._folder = os.fspath(run_folder)
        self._path = run_folder / FILE_NAME
        self._lock = threading.Lock()
        self._kept = bytearray()

    def add(self, folder: str, document: Document) -> None:
        """Add the manifest in ``folder``, which was just written and holds ``document``."""
        line = _line(_name(self._folder, folder), _stamp(f"{folder}{os.sep}{MANIFEST}"), document)
        with self._lock:
            self._kept += line
            if len(self._kept) > _KEPT_BYTES:
                self._write()

    def flush(self) -> None:
        """Write the kept entries."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        with suppress(OSError):
            _append(self._path, bytes(self._kept))
        self._kept.clear()


class _Index:
    """The entries in the index of one run, and those that it lacks."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = os.fspath(run_folder)
        self._path = run_folder / FILE_NAME
        self._lines: dict[bytes, bytes] = {}
        self._used: list[bytes] = []
        self._fresh: list[bytes] = []
        try:
            data = read_regular(self._path, _MOST_BYTES)
        except (OSError, MemoryError):
            data = b""
        *lines, torn = data.split(b"\n")
        self._count = len(lines)
        self._end = b"\n" if torn else b""
        for line in lines:
            self._lines[line.partition(b"\t")[0]] = line

    def document(self, folder: str, stamp: str) -> Document | None:
        """Return the entry of a manifest with that stamp; None if there is none."""
        name = _name(self._folder, folder)
        line = self._lines.get(name)
        begin = _begin(name, stamp)
        if line is None or not line.startswith(begin):
            return None
        try:
            document = json.loads(line[len(begin) :])
        except (ValueError, RecursionError):
            return None
        self._used.append(name)
        return document if isinstance(document, dict) else None

    def missed(self, folder: str, stamp: str, document: Document) -> None:
        """Take a manifest that had to be read."""
        self._fresh.append(_line(_name(self._folder, folder), stamp, document))

    def keep(self) -> None:
        """Write the missing entries. Never raise."""
        fresh = b"".join(self._fresh)
        with suppress(OSError):
            if self._count > _SPARE_LINES + 2 * (len(self._used) + len(self._fresh)):
                made = self._path.with_name(f"{FILE_NAME}.{os.urandom(4).hex()}")
                _append(made, b"".join(self._lines[name] + b"\n" for name in self._used) + fresh)
                made.replace(self._path)
            elif fresh:
                _append(self._path, self._end + fresh)


def _name(run_folder: str, folder: str) -> bytes:
    return os.fsencode(folder[len(run_folder) :])


def _begin(name: bytes, stamp: str) -> bytes:
    return name + f"\t{stamp}\t".encode()


def _line(name: bytes, stamp: str, document: Document) -> bytes:
    """Return the line of a manifest; nothing for one that JSON cannot hold as it is (dates)."""
    if not stamp or b"\t" in name or b"\n" in name:
        return b""
    try:
        text = _encode(document)
    except (TypeError, ValueError, RecursionError):
        return b""
    return _begin(name, stamp) + text.encode() + b"\n"


def _append(path: Path, data: bytes) -> None:
    """Append in one call, so that concurrent appends of two processes do not mix. Raise OSError."""
    if not data:
        return
    descriptor = os.open(path, _APPEND | _SAFELY, 0o600)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.write(descriptor, data)
    finally:
        os.close(descriptor)
