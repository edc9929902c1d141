"""The question before a command that costs money or deletes something for good."""

from __future__ import annotations

import os
import sys

from rpd.errors import UsageError


def can_ask() -> bool:
    """Return whether somebody can answer: ``!rpd`` in a notebook looks like a terminal that nobody types on."""
    return sys.stdin.isatty() and "JPY_PARENT_PID" not in os.environ


def confirmed(question: str, why: str, *, yes: bool) -> bool:
    """Ask, unless ``yes`` (``--yes``). Raise UsageError, saying ``why`` it asks, without a terminal to ask on."""
    if yes:
        return True
    if not can_ask():
        raise UsageError(f"{why}: pass --yes if you mean it. {question}.")
    return input(f"{question}. Continue? [y/N] ").strip().lower() in ("y", "yes")
