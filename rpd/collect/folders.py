"""The walk through folders: which files in them are deploy files."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

SKIPPED_FOLDERS = (
    "*.egg",
    ".*",
    "_darcs",
    "build",
    "CVS",
    "dist",
    "node_modules",
    "venv",
    "{arch}",
    "__pycache__",
)
"""Names of folders that are never entered unless they are named on the command line."""


def walk(folder: Path, patterns: Sequence[str], is_ignored: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the files below ``folder`` whose name matches one of ``patterns``; files and folders sorted together.

    A folder is entered after the files sorted before it were yielded, so that the caller can learn (from a conftest)
    what to ignore while walking. A link into a folder that is being walked is not followed.
    """
    yield from _walk(folder, patterns, is_ignored, (os.path.realpath(folder),))


def _walk(
    folder: Path, patterns: Sequence[str], is_ignored: Callable[[Path], bool], above: tuple[str, ...]
) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        return
    for entry in entries:
        path = folder / entry.name
        if entry.is_dir():
            real = os.path.realpath(path) if entry.is_symlink() else f"{above[-1]}{os.sep}{entry.name}"
            if real not in above and not _is_skipped(path) and not is_ignored(path):
                yield from _walk(path, patterns, is_ignored, (*above, real))
        elif entry.is_file() and matches(entry.name, str(path), patterns) and not is_ignored(path):
            yield path


def _is_skipped(folder: Path) -> bool:
    name = folder.name
    return any(fnmatch.fnmatch(name, pattern) for pattern in SKIPPED_FOLDERS) or is_virtual_environment(
        folder
    )


def is_virtual_environment(folder: Path) -> bool:
    """Return whether ``folder`` holds a virtual (PEP 405) or conda environment."""
    return (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir()


def matches(name: str, path: str, patterns: Sequence[str]) -> bool:
    """Return whether a file is one of ``patterns``; a pattern with a slash is held against the end of the path."""
    return any(
        fnmatch.fnmatch(path, f"*{os.sep}{pattern}") if "/" in pattern else fnmatch.fnmatch(name, pattern)
        for pattern in patterns
    )
