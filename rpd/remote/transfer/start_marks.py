"""Marks: empty files on a pod whose time says when a node started there, by the clock that dates the pod's files."""

from __future__ import annotations

import shlex

_FOLDER = '"${HOME:-/root}/.rpd/begun"'


def mark_path(name: str) -> str:
    """Return the path of a mark as a word for sh."""
    return f"{_FOLDER}/{shlex.quote(name)}"


def make_mark(name: str) -> str:
    """Return a line for sh that makes the mark unless it exists; a failure prints nothing."""
    path = mark_path(name)
    return f"[ -e {path} ] || {{ mkdir -p {_FOLDER} && : >{path}; }} 2>/dev/null\n"
