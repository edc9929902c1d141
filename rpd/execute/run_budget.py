"""The purse: a cap on what a whole run may spend, held by reserving the worst case before a node starts."""

from __future__ import annotations

import threading


class Purse:
    """Money of a run, in USD; ``cap`` None is no cap. Thread-safe.

    What finished nodes cost plus what is reserved for running ones never exceeds the cap, as long as no node costs more
    than its own worst case.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap = cap
        self._changed = threading.Condition()
        self._reserved: dict[str, float] = {}
        self._pots: dict[int, float] = {}
        """What is set aside for nodes to come."""
        self._spent = spent
        self._is_closed = False

    @property
    def spent(self) -> float:
        """What finished nodes cost."""
        with self._changed:
            return self._spent

    def set_aside(self, pot: int, usd: float) -> None:
        """Keep ``usd`` for nodes that will be reserved from that pot; 0 gives the rest of it free."""
        with self._changed:
            self._pots[pot] = usd
            self._changed.notify_all()

    def reserve(self, node_id: str, worst_case: float, pot: int | None = None) -> bool:
        """Set ``worst_case`` aside for a node and return True, or return False where the cap forbids it.

        Waits as long as running nodes may turn out to cost less than was set aside for them. What is in ``pot`` is
        there for the node.
        """
        if self.cap is None:
            return True
        with self._changed:
            while not self._is_closed and self._spent + self._kept(pot, worst_case) + worst_case <= self.cap:
                kept = self._kept(pot, worst_case)
                if self._spent + kept + sum(self._reserved.values()) + worst_case <= self.cap:
                    self._reserved[node_id] = worst_case
                    if pot is not None:
                        self._pots[pot] = max(0.0, self._pots.get(pot, 0.0) - worst_case)
                    return True
                self._changed.wait()
            return False

    def _kept(self, pot: int | None = None, wanted: float = 0.0) -> float:
        """Return what is in all pots, without what a node takes out of its own."""
        if not self._pots:
            return 0.0
        kept = sum(self._pots.values())
        return kept if pot is None else kept - min(wanted, self._pots.get(pot, 0.0))

    def extend(self, node_id: str, extra: float) -> bool:
        """Set ``extra`` more aside for a running node; return False where the cap has no room for it, or there is none.

        Does not wait: the node is on its way, and others may wait for it.
        """
        if self.cap is None:
            return False
        with self._changed:
            if self._spent + self._kept() + sum(self._reserved.values()) + extra > self.cap:
                return False
            self._reserved[node_id] = self._reserved.get(node_id, 0.0) + extra
            return True

    def settle(self, node_id: str, cost: float) -> None:
        """Replace what was set aside for a node by what it cost (more)."""
        with self._changed:
            self._reserved.pop(node_id, None)
            self._spent += cost
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
