"""The log of each rank, and all of them together in the log of the node, line by line."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rpd.redaction import Redactor

_BEGUN = ".rank-logs.json"
"""By command: how long the log of each rank was when it began."""
LONGEST_LINE = 64 << 10
"""Bytes of a line without an end that are held back: a progress bar may never end its line."""


class RankLogs:
    """The logs of one command: ``rank-N.log`` holds a rank's raw output, ``write`` gets the output of all by lines.

    Lines come complete and begin with their rank, so that another rank splits neither a secret nor a
    sentence. With ``folder=None`` (a dry run) no files are written. ``failed`` is called when the disk takes
    nothing more.
    """

    def __init__(
        self,
        folder: Path | None,
        nodes: int,
        *,
        redactor: Redactor,
        write: Callable[[bytes], None],
        failed: Callable[[Path, OSError, str], object],
    ) -> None:
        self._lock = threading.Lock()
        self._folder = folder
        self._write = write
        self._logs = [
            _RankLog(
                rank, None if folder is None else folder / f"rank-{rank}.log", redactor, self._line, failed
            )
            for rank in range(nodes)
        ]

    def begin(self, key: str) -> None:
        """Announce the next command: if it is followed again from its first byte, it replaces its earlier output."""
        if self._folder is None:
            return
        begun = self._folder / _BEGUN
        # If any of it fails, lines are there twice at worst.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            sizes: dict[str, list[int]] = (
                json.loads(begun.read_text(encoding="utf-8")) if begun.exists() else {}
            )
            if key in sizes:
                for log, size in zip(self._logs, sizes[key], strict=False):
                    log.cut(size)
                return
            sizes[key] = [log.size for log in self._logs]
            begun.write_text(json.dumps(sizes), encoding="utf-8")

    def of(self, rank: int) -> Callable[[bytes], None]:
        """Return the function that takes the output of a rank, on one thread."""
        return self._logs[rank].write

    def close(self) -> None:
        """Write the held-back bytes, and close the files."""
        for log in self._logs:
            log.close()

    def _line(self, data: bytes) -> None:
        with self._lock:
            self._write(data)


class _RankLog:
    def __init__(
        self,
        rank: int,
        path: Path | None,
        redactor: Redactor,
        say: Callable[[bytes], None],
        failed: Callable[[Path, OSError, str], object],
    ) -> None:
        self._prefix = f"[rank {rank}] ".encode()
        self._path = path
        self._masked = redactor.stream()
        self._say = say
        self._failed = failed
        self._file: BinaryIO | None = None
        self._is_full = False
        self._held = b""

    @property
    def size(self) -> int:
        return self._path.stat().st_size if self._path is not None and self._path.exists() else 0

    def cut(self, length: int) -> None:
        if self._path is not None and self.size > length:
            os.truncate(self._path, length)

    def write(self, data: bytes) -> None:
        self._take(self._masked.feed(data))

    def _take(self, data: bytes) -> None:
        if not data:
            return
        self._keep(data)
        *lines, rest = (self._held + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            lines.append(rest)
            rest = b""
        self._held = rest
        if lines:
            self._say(b"".join(self._prefix + line + b"\n" for line in lines))

    def _keep(self, data: bytes) -> None:
        if self._path is None or self._is_full:
            return
        try:
            if self._file is None:
                self._file = self._path.open("ab")
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self._is_full = True
            self._failed(self._path, error, "the rest is only in output.log")

    def close(self) -> None:
        self._take(self._masked.flush())
        if self._held:
            self._say(self._prefix + self._held + b"\n")
            self._held = b""
        if self._file is not None:
            self._file.close()
