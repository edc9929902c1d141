"""Marks: empty files on a pod whose time says when a node began there, by the clock that its files are dated by."""

from __future__ import annotations

import shlex

_FOLDER = '"${HOME:-/root}/.rpd/begun"'


def mark_path(name: str) -> str:
    """Return the path of a mark as a word for sh."""
    return f"{_FOLDER}/{shlex.quote(name)}"


def make_mark(name: str) -> str:
    """Return a line for sh that makes the mark unless it is there; where it cannot be made, nothing is said."""
    path = mark_path(name)
    return f"[ -e {path} ] || {{ mkdir -p {_FOLDER} && : >{path}; }} 2>/dev/null\n"
