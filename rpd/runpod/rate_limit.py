"""The rate of calls: a token bucket for all of them, and retries for those that may be repeated."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from rpd.errors import RateLimited, TransientError
from rpd.runpod.retry_after import seconds_to_wait
from rpd.values.frozen import frozen
from rpd.values.pod import Quota

T = TypeVar("T")

LONGEST_HOLD = 60.0
"""Longest time, in seconds, that all calls wait because RunPod asked for it; a longer wait is the caller's
decision.
"""


SLOWEST = 1.0
"""Calls per second that always pass, however often RunPod says that there are too many."""
_RECOVERY = 0.98
"""Factor by which the pause between calls shrinks with each success, once it has grown."""
_WINDOW = re.compile(r'"?([a-z-]{1,20})"?;r=([0-9]{1,9});t=([0-9]{1,9})')
_MOST_WINDOWS = 8


class TokenBucket:
    """Lets ``rate`` calls per second pass, and ``burst`` at once after a pause; for any number of threads.

    RunPod states no limit for GraphQL, so its responses set the rate: ``slow_down`` halves it, and it
    recovers with the calls that pass. ``window`` takes the number of calls that a response says are left.
    """

    def __init__(
        self,
        rate: float = 60.0,
        burst: int = 60,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._interval = self._shortest = 1.0 / rate
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self.on_hold: Callable[[float], object] = lambda _: None
        """Called with the seconds of a new hold."""
        self._next = clock() - burst * self._interval
        """When the next call could pass if the bucket never overflowed (by ``clock``)."""
        self._left: dict[str, tuple[int, float]] = {}
        """Calls left in each window that responses have named, and the end of the window."""
        self._most: dict[str, int] = {}
        """The most calls ever left in a window, by its name."""
        self._share = 0.0
        self._share_until = self._next

    def take(self) -> None:
        """Wait until one more call may be made."""
        with self._lock:
            now = self._clock()
            if now < self._share_until and self._share > self._interval:
                self._next = max(self._next, now) + self._share
            else:
                self._next = max(self._next, now - self._burst * self._interval) + self._interval
            # Each call that passes moves the rate back towards the usual one.
            self._interval = max(self._shortest, self._interval * _RECOVERY)
            wait = self._next - now
        if wait > 0:
            self._sleep(wait)

    def slow_down(self) -> None:
        """React to too many calls: halve the rate, and drop the saved-up burst."""
        with self._lock:
            self._interval = min(2 * self._interval, max(self._shortest, 1 / SLOWEST))
            self._next = max(self._next, self._clock())

    def window(self, name: str, left: int, seconds: float) -> None:
        """Take the number of calls ``left`` in the remaining ``seconds`` of the window ``name``.

        The first half of the window's calls pass as they come, so that short runs wait for nothing; the other
        half is spread over the time, so that the calls that release pods are never refused. A long window is
        not spread.
        """
        if name in self._left or len(self._left) < _MOST_WINDOWS:
            self._left[name] = (left, self._clock() + seconds)
        if seconds > LONGEST_HOLD:
            return
        if left == 0:
            self.hold(seconds)
            return
        with self._lock:
            if name in self._most or len(self._most) < _MOST_WINDOWS:
                self._most[name] = max(self._most.get(name, 0), left)
            if 2 * left < self._most.get(name, 0):
                self._share, self._share_until = seconds / left, self._clock() + seconds

    def quotas(self) -> tuple[Quota, ...]:
        """Return the calls left in windows that are not over."""
        now = self._clock()
        return tuple(
            Quota(window=name, left=left, seconds=until - now)
            for name, (left, until) in tuple(self._left.items())
            if until > now
        )

    def hold(self, seconds: float) -> None:
        """Let no call pass for ``seconds`` (at most LONGEST_HOLD)."""
        granted = min(seconds, LONGEST_HOLD)
        with self._lock:
            until = self._clock() + granted
            longer = until > self._next
            self._next = max(self._next, until)
        if longer:
            self.on_hold(granted)


def heed(bucket: TokenBucket, status: int, headers: Mapping[str, str]) -> None:
    """Adjust the rate to a response: ``429``, ``Retry-After``, ``RateLimit``."""
    if status == 429:
        bucket.slow_down()
        wait = seconds_to_wait(headers.get("Retry-After"))
        if wait:
            bucket.hold(wait)
        return
    for name, left, seconds in _WINDOW.findall(headers.get("RateLimit") or ""):
        bucket.window(name, int(left), int(seconds))


@frozen
class Retry:
    """Retries calls that may be repeated without harm: reads, stop, delete. Times are seconds.

    A loop of our own because stamina reports each try through logging. In a program that configures no
    logging that ends on the user's screen, and it can be changed only for the whole process, the user's
    deploy file included.
    """

    tries: int = 4
    first_wait: float = 0.5
    longest_wait: float = 30.0
    sleep: Callable[[float], object] = time.sleep

    def call(self, act: Callable[[], T]) -> T:
        """Return the result of ``act``. Raise its TransientError after all tries, other errors at once."""
        for attempt in range(self.tries - 1):
            try:
                return act()
            except TransientError as error:
                wait = self._wait(error, attempt)
                if wait > self.longest_wait:
                    raise
            self.sleep(wait)
        return act()

    def _wait(self, error: TransientError, attempt: int) -> float:
        spread = random.uniform(0.5, 1.5)  # noqa: S311 - it spreads calls, it guards nothing
        backoff: float = self.first_wait * 2**attempt * spread
        retry_after = error.retry_after if isinstance(error, RateLimited) else None
        return backoff if retry_after is None else retry_after + backoff * 0.1
