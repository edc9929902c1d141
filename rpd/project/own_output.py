"""The files that this very process writes: they grow while a project is sent, and are no part of it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rpd.values.late_pattern import late_pattern

_STREAMS = (1, 2)
_SPECIAL = late_pattern(r"([\\*?\[\]])")


class OwnOutput:
    """Files and folders that this process writes: reports, run folders, where its output is redirected to."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._paths = tuple(dict.fromkeys(Path(os.path.realpath(path)) for path in paths))
        self._known: dict[Path, tuple[str, ...]] = {}

    @classmethod
    def of_process(cls, paths: Iterable[Path]) -> OwnOutput:
        """Return ``paths`` and the files that standard output and standard error go to."""
        return cls((*paths, *_redirected()))

    def below(self, folder: Path) -> tuple[str, ...]:
        """Return the output below ``folder``, as rules in the syntax of ``.gitignore`` for that folder."""
        rules = self._known.get(folder)
        if rules is None:
            rules = self._known[folder] = tuple(self._rules(Path(os.path.realpath(folder))))
        return rules

    def _rules(self, folder: Path) -> Iterator[str]:
        for name in self._names(folder):
            yield "/" + _SPECIAL.sub(r"\\\1", name)

    def files_below(self, folder: Path) -> list[str]:
        """Return the files of it that are there below ``folder``, relative to it."""
        return [name for name in self._names(Path(os.path.realpath(folder))) if (folder / name).is_file()]

    def _names(self, folder: Path) -> Iterator[str]:
        for path in self._paths:
            if path != folder and path.is_relative_to(folder):
                yield path.relative_to(folder).as_posix()


def _redirected() -> Iterator[Path]:
    """Yield the regular files behind standard output and standard error, where this system tells their paths."""
    for stream in _STREAMS:
        try:
            if stat.S_ISREG(os.fstat(stream).st_mode):
                yield _path_of(stream)
        except OSError:  # closed, or not known
            continue


def _path_of(descriptor: int) -> Path:
    """Return the path of an open file. Raise OSError."""
    if sys.platform == "darwin":
        import fcntl

        name = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).split(b"\0")[0]
        return Path(os.fsdecode(name))
    return Path(f"/proc/self/fd/{descriptor}").readlink()
