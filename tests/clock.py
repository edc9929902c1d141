"""Seconds that pass when a test says so."""

from __future__ import annotations


class Clock:
    """Called, it tells its time; ``sleep`` moves it on."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
