"""Notices of commands without a screen: sentences for the person, on stderr."""

from __future__ import annotations

from rpd.cli.output import note


def tell(text: str) -> None:
    """Print a sentence."""
    note(f"rpd: {text}")


class Notices:
    """Prints notices of plugins on stderr, so that stdout holds only the result."""

    def rpd_notice(self, text: str) -> None:
        """Print a sentence."""
        tell(text)
