"""Copies of a checkpoint on this machine: complete and verified, the newest few kept.

They are below ``checkpoints/`` in the folder of a node: one folder per place on the pod, and in it one per
copy (``0001``, ``0002``, …). A copy is made in ``.incoming`` and gets its number once it is complete and
matches the checksums that the pod computed (``0001.sha256``); so a numbered copy is complete, whenever the
process was killed. Files that did not change are links to those of the copy before (hard links, if the disk
has them).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from rpd.disk.regular import open_regular, read_regular
from rpd.remote.transfer.checksums import MOST_LIST_BYTES, listed_sums
from rpd.values.frozen import frozen

_NUMBERED = re.compile(r"\d{4,9}")
_INCOMING = ".incoming"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def folder_name(path: str) -> str:
    """Return a folder name for the copies of a place on the pod, readable and unique to the place."""
    plain = _UNSAFE.sub("-", path.strip("/")).strip("-.")[:60]
    return f"{plain or 'root'}-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def sums_of(copy: Path) -> Path:
    """Return the path of a copy's checksums."""
    return copy.with_name(f"{copy.name}.sha256")


def newest(folder: Path, damaged: Callable[[Path, str], object] = lambda _copy, _name: None) -> Path | None:
    """Return the newest copy whose files still match the pod's checksums; None if no copy does.

    ``damaged`` is called for each copy that does not, with the name of a file. Raise OSError.
    """
    for copy in reversed(_copies(folder)):
        wrong = _wrong_file(copy)
        if wrong is None:
            return copy
        damaged(copy, wrong)
    return None


def _copies(folder: Path) -> list[Path]:
    """Return the copies, oldest first."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(filter(_NUMBERED.fullmatch, names), key=int)]


def _wrong_file(copy: Path) -> str | None:
    """Return the name of a file that differs from the pod's checksum, None if all match."""
    try:
        sums = listed_sums(read_regular(sums_of(copy), MOST_LIST_BYTES))
    except OSError:
        return sums_of(copy).name
    for name, sha256 in sums.items():
        try:
            with open_regular(copy / name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return name
        except OSError:
            return name
    return None


@frozen(kw_only=False)
class Copies:
    """The copies of one place, of which the newest ``keep`` are kept; for one process at a time.

    All methods raise OSError.
    """

    folder: Path
    keep: int

    @property
    def incoming(self) -> Path:
        """The folder in which the next copy is made."""
        return self.folder / _INCOMING

    def prepare(self) -> None:
        """Start the next copy with the files of the newest one."""
        self.drop()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copies = _copies(self.folder)
        if copies:
            _link_files(copies[-1], self.incoming)

    def drop(self) -> None:
        """Remove an unfinished copy."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.incoming)
        sums_of(self.incoming).unlink(missing_ok=True)

    def finish(self, sums: Mapping[str, str]) -> Path:
        """Give the copy its number, without files that have no checksum; remove copies beyond ``keep``."""
        _remove_others(self.incoming, sums)
        copies = _copies(self.folder)
        number = int(copies[-1].name) + 1 if copies else 1
        copy = self.folder / f"{number:04}"
        # The checksums first: a numbered copy must never be without them, and a list without a copy does no
        # harm.
        sums_of(self.incoming).replace(sums_of(copy))
        self.incoming.rename(copy)
        for old in copies[: max(0, len(copies) + 1 - self.keep)]:
            shutil.rmtree(old, ignore_errors=True)
            sums_of(old).unlink(missing_ok=True)
        return copy


def _link_files(source: Path, target: Path) -> None:
    """Create a folder with hard links to the regular files of another; the pull brings links and empty folders."""
    target.mkdir(mode=0o700)
    for entry in os.scandir(source):
        path = target / entry.name
        if entry.is_dir(follow_symlinks=False):
            _link_files(Path(entry.path), path)
        elif entry.is_file(follow_symlinks=False):
            try:
                os.link(entry.path, path, follow_symlinks=False)
            except (OSError, NotImplementedError):  # a disk without hard links
                shutil.copy2(entry.path, path, follow_symlinks=False)


def _remove_others(folder: Path, names: Mapping[str, str], below: str = "") -> None:
    """Remove files that are not in ``names``: they were on the pod only when an earlier copy was made."""
    for entry in os.scandir(folder):
        name = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            _remove_others(Path(entry.path), names, f"{name}/")
        elif entry.is_file(follow_symlinks=False) and name not in names:
            Path(entry.path).unlink()
