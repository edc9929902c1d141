"""The emulator's own error."""

from __future__ import annotations


class EmulatorError(Exception):
    """The emulator cannot do its work: it does not start, or cannot start pods on this machine."""
