"""The screen: hears the hooks of a run and draws it."""

from __future__ import annotations

from rpd.terminal.live_view import Terminal

__all__ = ["Terminal"]
