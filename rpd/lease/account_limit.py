"""Headroom: the limit of an account (pods, dollars an hour) that a run's own pods use up is waited for.

A create that is refused for it may succeed as soon as another node of the run gives its pod back; so it waits for that,
and for no longer than another node goes on that does not wait itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rpd.stop import Stop

LOOK_SECONDS = 0.5
LOOKS = 4
"""How often in a row nobody must be seen at work: between two nodes of a slot nobody is, for a moment."""


class Headroom:
    """Knows which nodes are at work, which of them wait for room, and when a pod was given back. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working: set[str] = set()
        self._waiting: set[str] = set()
        self._given = 0
        self._free = 0

    @contextmanager
    def working(self, node_id: str) -> Iterator[None]:
        """Count a node as at work while inside."""
        with self._changed:
            self._working.add(node_id)
        try:
            yield
        finally:
            with self._changed:
                self._working.discard(node_id)
                self._changed.notify_all()

    def mark(self) -> int:
        """Return what to give ``wait`` as ``since``: taken before asking for a pod."""
        with self._changed:
            return self._given

    def gave(self) -> None:
        """Tell that a pod was given back: one node that waits for room may ask again."""
        with self._changed:
            self._given += 1
            self._free = min(self._free + 1, len(self._waiting))
            self._changed.notify_all()

    def wait(self, node_id: str, since: int, stop: Stop) -> bool:
        """Wait until it is worth asking again; False where no other node is at work that could give a pod back.

        Raises Interrupted.
        """
        with self._changed:
            if self._given != since:
                return True
            self._waiting.add(node_id)
            idle = 0
            try:
                while True:
                    stop.check()
                    if self._free:
                        self._free -= 1
                        return True
                    idle = 0 if self._working - self._waiting else idle + 1
                    if idle >= LOOKS:
                        return False
                    self._changed.wait(LOOK_SECONDS)
            finally:
                self._waiting.discard(node_id)
                self._free = min(self._free, len(self._waiting))
