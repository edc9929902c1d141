"""Lanes for slots: those of the plan, and those that sources add during the run."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TypeVar

from rpd.errors import RpdError, UsageError
from rpd.stop import Stop, StopLevel
from rpd.values.frozen import EMPTY, replace
from rpd.values.node import Node
from rpd.values.plan import Ahead, Lane, Plan, Source
from rpd.values.report import NodeReport

T = TypeVar("T")


class Lanes:
    """Hands out the lanes of a plan, each once. Thread-safe.

    A slot that gets none waits while a running lane may still lead to another one. ``done`` has the reports of an
    earlier process by node id: a source that hands out such a node again is answered with its report.
    """

    def __init__(self, plan: Plan, stop: Stop, done: Mapping[str, NodeReport] = EMPTY) -> None:
        self._stop = stop
        self._done = done
        self._changed = threading.Condition()
        self._left: deque[Lane] = deque(plan.lanes)
        self._every = plan.sources
        self._sources: deque[Source] = deque(plan.sources)
        """Sources that may still hand out lanes."""
        self._over: list[Source] = []
        self._held: set[Hashable] = set()
        """Shared values that running lanes hold."""
        self._put_off: list[Lane] = []
        """Lanes that cannot start yet because a running lane holds a value they share."""
        self._from: dict[str, Source] = {}
        """Source of each node that was handed out, by node id."""
        self._running = 0
        self._added: Counter[int] = Counter()
        self.has_failed = False
        """Whether a source found that the run is pointless, or does not keep to what it said before the run."""
        self._known = frozenset(node.id for node in plan.nodes) if plan.sources else frozenset()
        self._planned = (
            frozenset(node.id for lane in plan.lanes for node in lane.nodes) if plan.sources else frozenset()
        )
        """Those of them that no source hands out."""

    def take(self, before_waiting: Callable[[], object]) -> Lane | None:
        """Return the next lane, None if there will be no more; hand it back with ``done``.

        ``before_waiting`` is called before the slot waits, so that it can release its pods: they would bill
        meanwhile.
        """
        has_waited = False
        while True:
            with self._changed:
                lane = self._ready()
                if lane is not None:
                    self._running += 1
                    self._held |= lane.shares
                    return lane
                if not self._may_wait():
                    return None
                if has_waited:
                    self._changed.wait()
                    continue
            before_waiting()
            has_waited = True

    def keeps(self, lane: Lane) -> bool:
        """Return whether the values a lane shares should stay alive for a lane that can start after it."""
        if not lane.shares:
            return True
        with self._changed:
            if any(not lane.shares.isdisjoint(put_off.shares) for put_off in self._put_off):
                return True
            source = self._from.get(lane.nodes[0].id)
            return source is None or source.keeps(lane.shares)

    def done(self, lane: Lane) -> None:
        """Take back a finished lane."""
        if not self._every:
            return
        with self._changed:
            self._running -= 1
            self._held -= lane.shares
            self._changed.notify_all()

    def ended(self, node: Node, report: NodeReport) -> None:
        """Tell the sources that a node is over."""
        if not self._every:
            return
        with self._changed:
            for source in self._every:
                self._ask(source, "ended", partial(source.ended, node, report))
            self._changed.notify_all()

    def refused(self, node: Node, reason: str) -> bool:
        """Tell the source of a node that the budget has no room for it; return whether the source handles that."""
        with self._changed:
            source = self._from.get(node.id)
            return source is not None and source.refused(node, reason)

    def added(self, node: Node) -> tuple[Source, Ahead] | None:
        """Return the source of a node that was not in the plan, and its priced stand-in; None for planned nodes."""
        source = self._from.get(node.id) if self._every else None
        if source is None or node.id in self._known:
            return None
        return source, source.ahead_of(node)

    def take_over(self) -> list[Source]:
        """Return the sources that have handed out their last lane, each once."""
        if not self._every:
            return []
        with self._changed:
            over, self._over = self._over, []
            return over

    @property
    def ahead(self) -> int:
        """The number of nodes that may still be added, at most."""
        with self._changed:
            return sum(
                max(0, ahead.most - self._added[id(ahead)])
                for source in self._sources
                for ahead in source.ahead
            )

    def wake(self) -> None:
        """Wake all waiting slots: the run has to end."""
        with self._changed:
            self._changed.notify_all()

    def _ready(self) -> Lane | None:
        if self._stop.level is not StopLevel.NONE:
            return None
        if self._left:
            return self._left.popleft()
        for place, lane in enumerate(self._put_off):
            if self._held.isdisjoint(lane.shares):
                del self._put_off[place]
                return lane
        while True:
            for _ in range(len(self._sources)):
                source = self._sources[0]
                self._sources.rotate(-1)  # sources take turns
                while (handed := self._next_of(source)) is not None:
                    if self._held.isdisjoint(handed.shares):
                        return handed
                    self._put_off.append(handed)
            if not self._drop_finished():
                return None

    def _next_of(self, source: Source) -> Lane | None:
        def accepted() -> Lane | None:
            while (lane := source.next()) is not None:
                self._accept(source, lane)
                left = tuple(node for node in lane.nodes if node.id not in self._done)
                if len(left) < len(lane.nodes):
                    self._answer(source, lane)
                if left:
                    return replace(lane, nodes=left)
            return None

        return self._ask(source, "next", accepted)

    def _answer(self, source: Source, lane: Lane) -> None:
        """Tell a source how nodes of a lane ended in an earlier process: nothing is paid twice."""
        for node in lane.nodes:
            report = self._done.get(node.id)
            if report is not None:
                source.ended(node, report)

    def _ask(self, source: Source, method: str, act: Callable[[], T]) -> T | None:
        """Return the answer of a source; if it raises, nothing new starts, and the run has failed."""
        try:
            return act()
        except RpdError as error:
            why = str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the code of a plugin, which may raise anything
            why = f"{type(source).__name__}.{method}: {type(error).__name__}: {error}{_raised_at(error)}"
        self.has_failed = True
        self._stop.request(StopLevel.DRAIN, why)
        return None

    def _accept(self, source: Source, lane: Lane) -> None:
        """Record the nodes of a lane. Raise UsageError if it breaks the announcement of the source before the run."""
        name = type(source).__name__
        if not isinstance(lane, Lane) or not lane.nodes:
            raise UsageError(
                f"{name}.next: expected an rpd.values.plan.Lane of some nodes or None, got {lane!r}"
            )
        # After all are removed: a source may look at the others when it learns that one is over.
        for node in lane.nodes:
            # Two nodes with one id would share a folder, a report, and a place in the worst case of the run.
            if node.id in self._from or node.id in self._planned:
                raise UsageError(
                    f"{name}.next: the run has a node {node.id} already; give each that you add its own id"
                )
            self._from[node.id] = source
            if node.id not in self._known:
                self._count(name, source, node)

    def _count(self, name: str, source: Source, node: Node) -> None:
        """Count an added node: no more may be added than were priced. Raises UsageError."""
        ahead = source.ahead_of(node)
        if not any(ahead is each for each in source.ahead):
            raise UsageError(f"{name}.ahead_of: expected one of {name}.ahead for {node.id}, got {ahead!r}")
        self._added[id(ahead)] += 1
        if self._added[id(ahead)] > ahead.most:
            raise UsageError(
                f"{name}.next: {node.id} is one more than the {ahead.most} that it said it may add"
            )

    def _drop_finished(self) -> bool:
        """Drop finished sources and tell the others; return whether any is left that may now go on."""
        finished = [
            source
            for source in self._sources
            if self._ask(source, "is_over", partial(getattr, source, "is_over")) in (True, None)
        ]
        for source in finished:
            self._sources.remove(source)
            self._over.append(source)
        # After all are removed: a source may look at the others when it learns that one is over.
        for source in finished:
            for remaining in self._sources:
                self._ask(remaining, "finished", partial(remaining.finished, source))
        return bool(finished and self._sources)

    def _may_wait(self) -> bool:
        """Return whether a running lane may lead to another.

        If nothing runs although sources remain, drain the run.
        """
        if self._stop.level is not StopLevel.NONE or not (self._sources or self._put_off):
            return False
        if self._running:
            return True
        names = ", ".join(type(source).__name__ for source in self._sources)
        self.has_failed = True
        self._stop.request(StopLevel.DRAIN, f"{names} has no node to start, and none is running")
        return False


def _raised_at(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
