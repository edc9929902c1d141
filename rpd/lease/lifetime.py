"""The lifetime of one pod: the deadline in its watchdog, at which it ends itself, and the users who still need it.

All moments are seconds of ``uptime``, which goes on while this machine sleeps: the pod does, too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Protocol

from rpd.errors import ConnectionLost, RemoteError
from rpd.remote.watchdog import Terms
from rpd.uptime import uptime

SHORT_SECONDS = 60.0
"""Seconds; a deadline nearer than this is extended while no job's own clock runs."""
TOLERANCE_SECONDS = 2.0
"""Seconds; a deadline that is off by less is left alone."""
PULL_SECONDS = 6 * 3600.0
"""Seconds that a pod may live for a pull, even beyond its cap."""


class TellWatchdog(Protocol):
    """Sends its deadline to the watchdog of a pod; ``again``: the watchdog already runs. Raises RemoteError."""

    def __call__(self, seconds: float, *, linger: float, grace: float, again: bool) -> None: ...


class Lifetime:
    """Owns the deadline of a pod. Thread-safe.

    ``tell`` talks to its watchdog; ``is_reachable`` returns whether there is a pod that can be reached.
    """

    def __init__(self, tell: TellWatchdog, is_reachable: Callable[[], bool]) -> None:
        self._tell = tell
        self._is_reachable = is_reachable
        self._arming = threading.Lock()
        self._needed_until: dict[object, float] = {}
        """When each current user may still need the pod, at the latest."""
        self._ends_at: float | None = None
        self._grace = 0.0

    @property
    def ends_at(self) -> float | None:
        """When the pod ends itself without a driver; None before its watchdog is armed."""
        return self._ends_at

    @property
    def grace(self) -> float:
        """Seconds after the deadline for which it tolerates a driver that still beats."""
        return self._grace

    @property
    def is_short(self) -> bool:
        """Whether the deadline is near; False before there is one."""
        return self._ends_at is not None and self._ends_at - uptime() < SHORT_SECONDS

    @property
    def seconds_left(self) -> float:
        """Seconds until it ends itself at the latest; 0 if unknown."""
        return max(0.0, self._ends_at - uptime()) if self._ends_at is not None else 0.0

    def begin(self, user: object, until: float, terms: Terms) -> None:
        """Arm the watchdog of a pod that was just rented. Raise Unguarded if the pod could not end itself."""
        self._needed_until[user] = until
        with self._arming:
            self._arm(until, linger=terms.linger, grace=terms.grace)

    def need(self, user: object, until: float, terms: Terms) -> None:
        """Set until when ``user`` may need the pod; the latest of all users is its deadline. Raise RemoteError."""
        self._needed_until[user] = until
        with self._arming:
            latest = max([*self._needed_until.values()])
            is_off = self._ends_at is None or abs(latest - self._ends_at) > TOLERANCE_SECONDS
            if is_off or self._grace > terms.grace:
                self._arm(latest, linger=terms.linger, grace=terms.grace)

    def leave(self, user: object) -> None:
        """Remove ``user`` from those that need the pod."""
        self._needed_until.pop(user, None)

    def bridge(self, terms: Terms) -> None:
        """Extend a near deadline while the pod is unused but a driver is there. Raise RemoteError.

        Called repeatedly; costs no round trip while the deadline is far. Without a driver the linger time
        ends the pod.
        """
        with self._arming:
            if self.is_short and self._is_reachable() and not self._needed_until:
                until = uptime() + max(terms.linger, 2 * SHORT_SECONDS)
                self._arm(until, linger=terms.linger, grace=terms.grace)

    def allow_pull(self, terms: Terms) -> None:
        """Keep the deadline from ending the pod while results are fetched.

        If the driver dies, the pod still ends at its deadline. Costs no round trip while that is far enough.
        """
        until = self._ends_at
        left = 0.0 if until is None else until + self._grace - uptime()
        if until is not None and left < PULL_SECONDS / 2:
            # If this fails, the pull is still tried: its error explains the problem better.
            with contextlib.suppress(RemoteError), self._arming:
                self._arm(until, linger=terms.linger, grace=left + PULL_SECONDS)

    def keep(self, seconds: float, *, unheard: bool = True) -> bool:
        """Let the pod live for ``seconds`` more without a driver; return whether it can be left like that.

        A pod out of reach does not get the new deadline and lives until its old one; ``unheard`` says whether
        that is allowed.
        """
        if self._is_reachable():
            try:
                with self._arming:
                    self._arm(uptime() + seconds, linger=seconds, grace=0.0)
            except ConnectionLost:
                pass
            except RemoteError:
                return False
            else:
                return True
        # It cannot be reached now, but it already has a deadline.
        return unheard and self._ends_at is not None

    def _arm(self, until: float, *, linger: float, grace: float) -> None:
        """Send a deadline; the caller holds ``_arming``."""
        seconds = until - uptime()
        self._tell(seconds, linger=linger, grace=grace, again=self._ends_at is not None)
        self._ends_at, self._grace = until, grace
