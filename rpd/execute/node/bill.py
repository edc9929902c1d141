"""The cost of a node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bill:
    """What one attempt of a node was charged with so far: pod time in seconds, and USD.

    ``ceiling`` is what the attempt may cost, in USD: the worst case shown before the run, less what earlier
    attempts cost; None: the cap of its job.
    """

    seconds: float = 0.0
    usd: float = 0.0
    ceiling: float | None = None

    def charge(self, seconds: float, usd: float) -> None:
        """Add what a pod billed."""
        self.seconds += seconds
        self.usd += usd
