"""Where a report for elsewhere goes: a file, or whatever else a path may name on this system."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import time
from pathlib import Path

from rpd.errors import UsageError
from rpd.record.atomic_write import write_whole
from rpd.values.late_pattern import late_pattern

PATIENCE_SECONDS = 30.0
"""How long a FIFO may have no reader, or a reader that takes nothing."""

_DESCRIPTOR = late_pattern(r"(?:/dev/fd|/proc/(?:self|thread-self|\d+)/fd)/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_RETRY_SECONDS = 0.05


def report_path(flag: str, text: str, folder: Path) -> Path:
    """Return the path that ``text`` of ``flag`` means, relative to ``folder``. Raise UsageError for a folder."""
    path = folder / Path(text).expanduser()
    if path.is_dir():
        raise UsageError(f"{flag} {text}: expected a file, but this is a folder")
    return path


def write_report(path: Path, text: str) -> bool:
    """Write ``text`` (UTF-8) to ``path``; return whether that is a regular file. Raise OSError.

    A file is replaced atomically; for a link, the file it leads to. A terminal, another device or a FIFO
    (``/dev/stdout``, ``>(program)``) is written to and stays what it is.
    """
    if (descriptor := _descriptor_of(path)) is not None:
        _flush_standard(descriptor)
        # A duplicate shares the position, so that earlier and later output keep their order.
        _write_through(os.dup(descriptor), text)
        return False
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG  # nothing, or a link to a file that does not exist yet
    if stat.S_ISREG(mode):
        write_whole(Path(os.path.realpath(path)), text)
        return True
    if stat.S_ISBLK(mode) or stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "a disk" if stat.S_ISBLK(mode) else os.strerror(errno.EISDIR), str(path))
    _write_through(_opened(path), text)
    return False


def _descriptor_of(path: Path) -> int | None:
    """Return the open descriptor of this process that ``path`` names, directly or by links; None for other paths."""
    at = os.path.abspath(path)  # noqa: PTH100 - links are followed here one by one
    for _ in range(40):
        if at in _STANDARD:
            return _STANDARD[at]
        if match := _DESCRIPTOR.fullmatch(at):
            return int(match[1]) if _is_own(at) else None
        try:
            at = os.path.normpath(os.path.join(os.path.dirname(at), os.readlink(at)))  # noqa: PTH115, PTH118, PTH120
        except (OSError, ValueError):
            return None
    return None


def _is_own(at: str) -> bool:
    owner = at.split("/")[2]
    return owner in ("fd", "self", "thread-self", str(os.getpid()))


def _flush_standard(descriptor: int) -> None:
    stream = {1: sys.stdout, 2: sys.stderr}.get(descriptor)
    if stream is not None:
        stream.flush()


def _opened(path: Path) -> int:
    """Open a FIFO or device to write. Raise OSError if nobody reads the FIFO."""
    # Non-blocking: opening a FIFO without a reader would otherwise wait for ever.
    flags = os.O_WRONLY | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return os.open(path, flags)
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo():
                raise
            if time.monotonic() >= deadline:
                raise OSError(errno.ENXIO, "nobody reads this FIFO", str(path)) from error
        time.sleep(_RETRY_SECONDS)


def _write_through(descriptor: int, text: str) -> None:
    """Write all of ``text`` and close. Raise OSError, also if nobody reads it."""
    try:
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        while left:
            _await_writable(descriptor)
            try:
                left = left[os.write(descriptor, left[:_AT_ONCE]) :]
            except BlockingIOError:
                continue
    finally:
        os.close(descriptor)


_AT_ONCE = getattr(select, "PIPE_BUF", 512)
"""A pipe that counts as writable takes so many bytes without blocking."""


def _await_writable(descriptor: int) -> None:
    if sys.platform == "win32":  # knows sockets only
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(PATIENCE_SECONDS * 1000):
        raise OSError(errno.ETIMEDOUT, f"nobody read from it for {PATIENCE_SECONDS:g} s")
