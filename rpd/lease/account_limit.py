"""Headroom: waits for an account limit (pods, dollars per hour) that the run's own pods have used up.

A create that is refused because of the limit may succeed as soon as another node of the run releases its pod.
So it waits for that, but only while another node is running that does not wait itself.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from rpd.stop import Stop

LOOK_SECONDS = 0.5
LOOKS = 4
"""How many times in a row no node may be seen running: between two nodes of a slot there is a moment without one."""


class Headroom:
    """Tracks which nodes are running, which of them wait for room, and when a pod was released. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working: set[str] = set()
        self._waiting: set[str] = set()
        self._given = 0
        self._free = 0

    def working(self, node_id: str) -> AbstractContextManager[None]:
        """Count a node as running inside the block."""
        return _Working(self, node_id)

    def begin(self, node_id: str) -> None:
        """Count a node as running from now on."""
        with self._changed:
            self._working.add(node_id)

    def end(self, node_id: str) -> None:
        """Count it no more."""
        with self._changed:
            self._working.discard(node_id)
            self._changed.notify_all()

    def mark(self) -> int:
        """Return the ``since`` argument for ``wait``; call it before requesting a pod."""
        with self._changed:
            return self._given

    def gave(self) -> None:
        """Note that a pod was released: one waiting node may try again."""
        with self._changed:
            self._given += 1
            # No more tickets than waiting nodes: a ticket left over would let a later node try in vain.
            self._free = min(self._free + 1, len(self._waiting))
            self._changed.notify_all()

    def wait(self, node_id: str, since: int, stop: Stop) -> bool:
        """Wait until it is worth trying again; return False if no running node could release a pod.

        Raise Interrupted.
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


class _Working:
    """A block in which a node is running. A class: it is entered for each node."""

    __slots__ = ("_headroom", "_node_id")

    def __init__(self, headroom: Headroom, node_id: str) -> None:
        self._headroom = headroom
        self._node_id = node_id

    def __enter__(self) -> None:
        self._headroom.begin(self._node_id)

    def __exit__(self, *_: object) -> None:
        self._headroom.end(self._node_id)
