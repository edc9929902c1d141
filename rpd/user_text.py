"""Reading files that people write: of any editor, of any kind, TOML of any depth. One reader, so that all agree."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_BLOCK = 1 << 16
_COMMANDS = ("/dev/fd/", "/proc/self/fd/")
"""Where shells put ``<(command)``, which may have ended and printed nothing."""


def read_bytes(path: Path, most: int = sys.maxsize) -> bytes:
    """Return what is in a file, or its first ``most`` bytes, without waiting for something that never comes.

    A pipe is read to its end if there is a writer (``<(command)``), and refused otherwise. Raise OSError.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        begun = b"" if stat.S_ISREG(kind) else _begun(descriptor, path, kind)[:most]
        with open(descriptor, "rb", closefd=False) as file:
            return begun + (file.read() if most == sys.maxsize else file.read(most - len(begun)))
    finally:
        os.close(descriptor)


def _begun(descriptor: int, path: Path, kind: int) -> bytes:
    """Return what a pipe or device holds already; from then on reads wait for more. Raise OSError."""
    begun = b""
    with suppress(BlockingIOError):  # a writer that has not written yet
        begun = os.read(descriptor, _BLOCK)
        if not begun and stat.S_ISFIFO(kind) and not str(path).startswith(_COMMANDS):
            raise OSError(errno.EINVAL, "a pipe into which nobody writes", str(path))
    if hasattr(os, "set_blocking"):  # on Windows reads always wait
        os.set_blocking(descriptor, True)
    return begun


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Return the text of a UTF-8 file, without the byte order mark that some editors put before it.

    Raise OSError and UnicodeDecodeError.
    """
    file = io.TextIOWrapper(io.BytesIO(read_bytes(path)), encoding="utf-8", errors=errors)
    return file.read().removeprefix("\ufeff")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table that ``text`` is. Raise ValueError whatever is wrong with it."""
    if not text.strip():  # a file that only marks the root of a project
        return {}
    import tomllib  # a project without settings must not pay for it

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
