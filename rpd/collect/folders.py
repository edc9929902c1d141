"""The walk through folders that finds deploy files."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rpd.values.runfolder import MARKS, is_run_folder

SKIPPED_FOLDERS = frozenset(
    map(
        os.path.normcase,
        ("_darcs", "build", "CVS", "dist", "node_modules", "venv", "{arch}", "__pycache__"),
    )
)
"""Folders that are never entered unless they are named on the command line; so are ``.*`` and ``*.egg``.

No patterns: Python would compile ten of them for the first folder, and nearly every project has a ``__pycache__``.
"""


def walk(folder: Path, patterns: Sequence[str], is_ignored: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the files below ``folder`` whose name matches one of ``patterns``; files and folders are sorted together.

    A folder is entered after the files sorted before it were yielded, so that the caller can learn from a
    conftest what to ignore. A link into a folder that is being walked is not followed. Run folders are not
    entered: they contain files that pods sent back.
    """
    yield from _walk(folder, patterns, is_ignored, (os.path.realpath(folder),))


def is_in_run_folder(path: Path) -> bool:
    """Return whether ``path`` is a run folder or is in one."""
    return any(
        is_run_folder(each.name, [mark for mark in MARKS if (each / mark).is_file()])
        for each in (path, *path.parents)
    )


def _walk(
    folder: Path, patterns: Sequence[str], is_ignored: Callable[[Path], bool], above: tuple[str, ...]
) -> Iterator[Path]:
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError:  # not readable, or gone meanwhile
        return
    if len(above) > 1 and is_run_folder(os.path.basename(above[-1]), {entry.name for entry in entries}):  # noqa: PTH119
        return
    for entry in entries:
        path = folder / entry.name
        if _is_folder(entry):
            real = os.path.realpath(path) if entry.is_symlink() else f"{above[-1]}{os.sep}{entry.name}"
            if real not in above and not _is_skipped(path) and not is_ignored(path):
                yield from _walk(path, patterns, is_ignored, (*above, real))
        elif matches(entry.name, str(path), patterns) and _is_file(entry) and not is_ignored(path):
            yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_skipped(folder: Path) -> bool:
    name = os.path.normcase(folder.name)
    is_named = name in SKIPPED_FOLDERS or name.startswith(".") or name.endswith(".egg")
    return is_named or is_virtual_environment(folder)


def is_virtual_environment(folder: Path) -> bool:
    """Return whether ``folder`` contains a virtual (PEP 405) or conda environment."""
    try:
        return (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir()
    except OSError:  # not readable
        return False


def matches(name: str, path: str, patterns: Sequence[str]) -> bool:
    """Return whether a file matches one of ``patterns``.

    A pattern with a slash is compared with the end of the path.
    """
    return any(
        fnmatch.fnmatch(path, f"*{os.sep}{pattern}") if "/" in pattern else fnmatch.fnmatch(name, pattern)
        for pattern in patterns
    )
