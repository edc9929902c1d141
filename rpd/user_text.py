"""Reading what people write: files of any editor and kind, TOML of any depth, Python. One reader, so that all agree."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from _thread import RLock
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ast

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


_parsing = RLock()  # of a module that is built in: a collection loads no threading
_TRIES = 10


def parse_python(text: str | bytes) -> ast.Module:
    """Return the syntax tree of Python source. Raise SyntaxError, and ValueError for NUL characters.

    The nodes of a run are in threads, and two threads that make trees at once may break each other's in CPython 3.11
    and 3.12, with a SystemError (https://github.com/python/cpython/issues/106905). So only one makes them here. Other
    code of the process may do so too, and then it is tried again.
    """
    import ast  # a run of plain jobs needs no trees

    with _parsing:
        for _ in range(_TRIES):
            with suppress(SystemError):
                return ast.parse(text)
        return ast.parse(text)
