"""The cost of a node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bill:
    """The charges of one attempt of a node so far: pod time in seconds, and USD.

    ``ceiling`` is the most that the attempt may cost in USD: the worst case shown before the run less the
    cost of earlier attempts; None: the cap of its job.
    """

    seconds: float = 0.0
    usd: float = 0.0
    ceiling: float | None = None

    def charge(self, seconds: float, usd: float) -> None:
        """Add a charge of a pod."""
        self.seconds += seconds
        self.usd += usd
