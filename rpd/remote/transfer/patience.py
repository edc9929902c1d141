"""Time limits for the parts of a transfer, in seconds."""

from __future__ import annotations

SHORT_SECONDS = 120.0
"""For scripts that look at a tree without reading it."""

STALL_SECONDS = 900.0
"""Enough to sum a large file on a slow disk; without a limit a stuck network file system would block forever."""
