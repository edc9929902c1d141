"""Globs on the pod: splitting a path at its glob, and quoting that for sh."""

from __future__ import annotations

import posixpath
import re
import shlex

from rpd.values.late_pattern import late_pattern

_GLOB = late_pattern(r"[*?]|\[[^]/]+\]")


def is_glob(part: str) -> bool:
    """Return whether a part of a path contains a glob."""
    return _GLOB.search(part) is not None


def split_glob(path: str) -> tuple[str, str | None]:
    """Return the folder before the first part with ``*``, ``?`` or ``[``, and the rest.

    (folder, None) without a glob.
    """
    parts = path.split("/")
    for index, part in enumerate(parts):
        if is_glob(part):
            return "/".join(parts[:index]) or "/", "/".join(parts[index:])
    return posixpath.dirname(path), None


def glob_words(pattern: str) -> str:
    """Return ``pattern`` for sh with only ``*``, ``?`` and ``[…]`` active, all else quoted."""
    pieces = re.split(r"(\*+|\?|\[[!^]?[A-Za-z0-9_.-]+\])", pattern)
    return "".join(piece if index % 2 else shlex.quote(piece) for index, piece in enumerate(pieces) if piece)
