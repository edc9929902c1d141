"""A pull that repeats while a node runs, on its own connection."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Protocol

from rpd.errors import RpdError
from rpd.remote.protocol import Remote
from rpd.threads import Repeater
from rpd.values.step import Pulled


class Fetch(Protocol):
    """Fetches over ``remote`` once. Raises RemoteError."""

    def __call__(self, remote: Remote, *, required: bool) -> Pulled | None: ...


class PeriodicPull:
    """Fetches every ``seconds``, from one thread, until ``close`` or ``last``.

    ``connect`` opens its own connection; ``failed`` is called with a sentence on the first failure. The next
    pull makes up for a failed one.
    """

    def __init__(
        self, fetch: Fetch, *, connect: Callable[[], Remote], seconds: float, failed: Callable[[str], None]
    ) -> None:
        self._fetch = fetch
        self._connect = connect
        self._failed = failed
        self._remote: Remote | None = None
        self._lock = threading.Lock()
        self.latest: Pulled | None = None
        """The result of the latest completed pull."""
        self._pulls = Repeater(
            self._beside, seconds=seconds, name="rpd-periodic-pull", failed=self._tell_failed
        )

    def start(self) -> None:
        """Start; the first pull happens after ``seconds``."""
        self._pulls.start()

    def _beside(self) -> None:
        self._once(required=False)

    def _tell_failed(self, error: Exception) -> None:
        """Report a failed pull: the job continues, and the last pull raises an error that persists."""
        if not self._pulls.is_ending:
            self._failed(f"{type(error).__name__}: {error}")

    def _once(self, *, required: bool) -> None:
        if self._remote is None:
            remote = self._connect()
            with self._lock:
                self._remote = remote
        self.latest = self._fetch(self._remote, required=required) or self.latest

    def last(self, *, required: bool) -> Pulled | None:
        """Let a running pull end, fetch one last time, and close. Raise RemoteError."""
        self._pulls.stop(wait=None)
        try:
            self._once(required=required)
        finally:
            self.close()
        return self.latest

    def close(self) -> None:
        """End it, in the middle of a pull if necessary; from any thread, and more than once."""
        self._pulls.stop()
        with self._lock:
            remote = self._remote
        if remote is not None:
            with contextlib.suppress(RpdError):
                remote.close()
