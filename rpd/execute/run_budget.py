"""The purse: a cap on the spending of a whole run, kept by reserving the worst case before a node starts."""

from __future__ import annotations

import threading


class Purse:
    """The budget of a run, in USD; ``cap`` None is no cap. Thread-safe.

    The cost of finished nodes plus the reservations of running ones never exceeds the cap, as long as no node
    costs more than its own worst case.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap = cap
        self._changed = threading.Condition()
        self._reserved: dict[str, float] = {}
        self._pots: dict[int, float] = {}
        """Amounts set aside for nodes to come."""
        self._spent = spent
        self._is_closed = False

    @property
    def spent(self) -> float:
        """The cost of finished nodes, in USD."""
        with self._changed:
            return self._spent

    def set_aside(self, pot: int, usd: float) -> None:
        """Keep ``usd`` for nodes that will reserve from ``pot``; 0 releases the rest of it."""
        with self._changed:
            self._pots[pot] = usd
            self._changed.notify_all()

    def reserve(self, node_id: str, worst_case: float, pot: int | None = None) -> bool:
        """Reserve ``worst_case`` for a node and return True, or return False if the cap forbids it.

        Wait while running nodes may still turn out cheaper than their reservations. The money in ``pot`` is
        available to the node.
        """
        if self.cap is None:
            return True
        with self._changed:
            # Waiting pays only while the node would fit if all running nodes were free.
            while not self._is_closed and self._spent + self._kept(pot, worst_case) + worst_case <= self.cap:
                kept = self._kept(pot, worst_case)
                if self._spent + kept + sum(self._reserved.values()) + worst_case <= self.cap:
                    self._reserved[node_id] = worst_case
                    if pot is not None:
                        self._pots[pot] = max(0.0, self._pots.get(pot, 0.0) - worst_case)
                    return True
                self._changed.wait()
            return False

    def _kept(self, pot: int | None = None, usd: float = 0.0) -> float:
        """Return the sum of all pots, less the part that a node may take from its own."""
        if not self._pots:
            return 0.0
        kept = sum(self._pots.values())
        return kept if pot is None else kept - min(usd, self._pots.get(pot, 0.0))

    def extend(self, node_id: str, extra: float) -> bool:
        """Reserve ``extra`` more for a running node; return False if the run has no cap or no room under it.

        Never wait: the node is already running, and others may wait for it.
        """
        if self.cap is None:
            return False
        with self._changed:
            if self._spent + self._kept() + sum(self._reserved.values()) + extra > self.cap:
                return False
            self._reserved[node_id] = self._reserved.get(node_id, 0.0) + extra
            return True

    def settle(self, node_id: str, cost: float) -> None:
        """Replace the reservation of a node by its actual (further) cost."""
        with self._changed:
            self._reserved.pop(node_id, None)
            self._spent += cost
            self._changed.notify_all()

    def close(self) -> None:
        """Wake everyone who waits: the run has to end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
