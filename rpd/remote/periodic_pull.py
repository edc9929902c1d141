"""A pull that repeats while a node runs, on a connection of its own."""

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
    """Fetches once what is there over ``remote``. Raises RemoteError."""

    def __call__(self, remote: Remote, *, required: bool) -> Pulled | None: ...


class PeriodicPull:
    """Fetches every ``seconds``, from one thread, until ``close`` or ``last``.

    ``connect`` opens the connection it has to itself; ``failed`` is called with a sentence the first time it fails.
    The next pull makes up for one that failed.
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
        """What the newest pull that came to its end brought."""
        self._pulls = Repeater(
            self._beside, seconds=seconds, name="rpd-periodic-pull", failed=self._tell_failed
        )

    def start(self) -> None:
        """Begin; the first pull comes after ``seconds``."""
        self._pulls.start()

    def _beside(self) -> None:
        self._once(required=False)

    def _tell_failed(self, error: Exception) -> None:
        """Tell of a pull that failed: the job goes on, and the last pull tells of what stays wrong."""
        if not self._pulls.is_ending:
            self._failed(f"{type(error).__name__}: {error}")

    def _once(self, *, required: bool) -> None:
        if self._remote is None:
            remote = self._connect()
            with self._lock:
                self._remote = remote
        self.latest = self._fetch(self._remote, required=required) or self.latest

    def last(self, *, required: bool) -> Pulled | None:
        """Let a pull that is under way end, fetch one last time, and close. Raises RemoteError."""
        self._pulls.stop(wait=None)
        try:
            self._once(required=required)
        finally:
            self.close()
        return self.latest

    def close(self) -> None:
        """End it, in the middle of a pull if need be; from any thread, and more than once."""
        self._pulls.stop()
        with self._lock:
            remote = self._remote
        if remote is not None:
            with contextlib.suppress(RpdError):
                remote.close()
