"""Ending a node from inside it: ``rpd.skip(reason)`` and ``rpd.fail(reason)``."""

from __future__ import annotations

from typing import NoReturn


class Skipped(Exception):
    """Raised by ``rpd.skip``; the node is reported as skipped."""


class Failed(Exception):
    """Raised by ``rpd.fail``; the node is reported as failed."""


def skip(reason: str) -> NoReturn:
    """End the node as skipped."""
    raise Skipped(reason)


def fail(reason: str) -> NoReturn:
    """End the node as failed."""
    raise Failed(reason)
