"""Which files git tracks, read from the index of a repository: git itself is not needed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from rpd.user_text import read_bytes, read_text

_HEADER = struct.Struct(">4sII")
# ctime, mtime, dev, ino, mode, uid, gid, size (ten words), the object's SHA-1, flags: gitformat-index(5).
_FIXED_BYTES = 62
_FLAGS_AT = 60
_EXTENDED = 0x4000


def git_folder(repository: Path) -> Path:
    """Return the folder of the index: ``.git``, or where the file ``.git`` of a worktree or submodule points."""
    at = repository / ".git"
    if at.is_file():
        try:
            text = read_text(at, errors="surrogateescape")
        except OSError:
            return at
        if text.startswith("gitdir:"):
            return repository / text.removeprefix("gitdir:").strip().replace("\0", "")
    return at


def tracked_files(repository: Path) -> frozenset[str]:
    """Return the names of all tracked files, relative to ``repository``; none if there is no index we can read."""
    try:
        data = read_bytes(git_folder(repository) / "index")
        return frozenset(name.decode("utf-8", "surrogateescape") for name in _names(data))
    except (OSError, struct.error, ValueError, IndexError):
        return frozenset()


def _names(data: bytes) -> Iterator[bytes]:
    signature, version, count = _HEADER.unpack_from(data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("not an index")
    at, name = _HEADER.size, b""
    for _ in range(count):
        start = at
        (flags,) = struct.unpack_from(">H", data, at + _FLAGS_AT)
        at += _FIXED_BYTES + (2 if flags & _EXTENDED else 0)
        kept = 0
        if version == 4:
            # Each name is the length of the prefix shared with the previous name, and the rest.
            dropped, at = _offset(data, at)
            kept = len(name) - dropped
        end = data.index(b"\0", at)
        name = name[:kept] + data[at:end]
        at = end + 1 if version == 4 else start + (end - start + 8) // 8 * 8
        yield name


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """Return a number in git's variable-length encoding, and where it ends."""
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = (value + 1) << 7 | data[at] & 0x7F
    return value, at + 1
