"""The question before a command that costs money or deletes something for good."""

from __future__ import annotations

import sys

from rpd.errors import UsageError


def confirmed(question: str, why: str, *, yes: bool) -> bool:
    """Ask, unless ``yes`` (``--yes``). Raise UsageError, saying ``why`` it asks, without a terminal to ask on."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{why}: pass --yes if you mean it. {question}.")
    return input(f"{question}. Continue? [y/N] ").strip().lower() in ("y", "yes")
