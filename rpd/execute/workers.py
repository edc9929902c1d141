"""The execution of a plan: slots that run its lanes in parallel."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

from rpd.errors import LocalError
from rpd.execute.context import RunContext
from rpd.execute.lanes import Lanes
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.runner import Runner
from rpd.execute.repeated_setup import note_wide_fixture
from rpd.execute.run_budget import Purse
from rpd.execute.scopes import Scopes, TeardownError
from rpd.journal.commits import Commits
from rpd.journal.journal import ADDED, RESULTS
from rpd.lease.lease import Lease
from rpd.stop import INTERRUPTED, StopLevel
from rpd.threads import begun
from rpd.values.node import Node
from rpd.values.plan import Ahead, Lane, Plan, Source
from rpd.values.report import NodeReport, in_plan_order

GIVE_UP_SECONDS = 3.0


class Waiting:
    """Runs whose shared pods were still rented when they were reported, each kept under one such pod.

    Finding those that are due costs one look per pod, however many runs wait.
    """

    def __init__(self) -> None:
        self._by_lease: dict[Lease, list[tuple[int, NodeRun]]] = {}
        self._count = 0

    def add(self, run: NodeRun) -> None:
        """Keep ``run`` until none of its pods is rented any more."""
        self._count += 1
        self._by_lease.setdefault(run.use.open_lease or run.use.leases[0], []).append((self._count, run))

    def take_due(self) -> list[NodeRun]:
        """Return the runs whose pods are all released, each once, in the order in which they were added."""
        due = []
        for lease in [lease for lease in self._by_lease if not lease.is_open]:
            for number, run in self._by_lease.pop(lease):
                still_open = run.use.open_lease
                if still_open is None:
                    due.append((number, run))
                else:
                    self._by_lease.setdefault(still_open, []).append((number, run))
        return [run for _, run in sorted(due, key=itemgetter(0))]


class Execution:
    """The execution of one plan. ``reports`` grows in the order in which nodes finish."""

    def __init__(
        self,
        plan: Plan,
        context: RunContext,
        *,
        failure_limit: int | None,
        kill: bool,
        purse: Purse,
        worst_case: Callable[[Node], float],
        hold: Callable[[Node, Ahead], object] = lambda _node, _ahead: None,
        done: Sequence[NodeReport] = (),
    ) -> None:
        """Keep the arguments. ``hold`` holds an added node to the worst case that was shown for nodes to come."""
        self._plan = plan
        self._context = context
        self._failure_limit = failure_limit
        self._at_limit = StopLevel.END if kill else StopLevel.DRAIN
        self._purse = purse
        self._worst_case = worst_case
        self._hold = hold
        self._scopes = Scopes(plan.kinds, partial(note_wide_fixture, context), stop=context.stop)
        self._runner = Runner(context, self._scopes)
        self._slots = context.mode.slots(context.stop)
        self._lanes = Lanes(plan, context.stop, {report.node.id: report for report in done})
        self._commits = Commits(context.disk.failed)
        self._lock = threading.Lock()
        self._failures = 0
        self._reports: dict[str, NodeReport] = {report.node.id: report for report in done}
        self._waiting = Waiting()
        self._crash: BaseException | None = None
        self._given_up = False
        self._added = 0

    @property
    def reports(self) -> tuple[NodeReport, ...]:
        """The reports so far, in the order of the plan."""
        with self._lock:
            return in_plan_order(self._reports.values())

    @property
    def has_failed(self) -> bool:
        """Whether a source found that the run is pointless."""
        return self._lanes.has_failed

    @property
    def added(self) -> int:
        """The number of nodes that joined the plan during the run."""
        with self._lock:
            return self._added

    def run(self) -> None:
        """Run every lane, then tear down the rest. Raise only for a defect of rpd itself."""
        for ahead in self._plan.ahead:
            if ahead.is_set_aside:
                self._purse.set_aside(
                    id(ahead), ahead.most * max(map(self._worst_case, ahead.nodes), default=0.0)
                )
        forget = self._context.stop.listen(self._let_nobody_wait)
        try:
            sources = self._plan.sources
            waiting = sum(len(source.lanes) for source in sources) + sum(
                each.most for each in self._plan.ahead
            )
            count = max(1, min(self._plan.width, len(self._plan.lanes) + waiting))
            self._slots.run(*(partial(self._slot, number) for number in range(self._slots.most(count))))
            self._slots.run(self._tear_down)
        finally:
            forget()
            self._commits.finish()
        if self._crash is not None:
            raise self._crash

    def give_up(self) -> None:
        """Report the nodes that a second Ctrl-C cut short, once every pod is released.

        Slots get GIVE_UP_SECONDS to notice that their pods are gone; later events of a job function that
        hangs in the driver are ignored.
        """
        deadline = time.monotonic() + GIVE_UP_SECONDS
        self._slots.join(deadline)
        for run, report in self._runner.abandon():
            with self._lock:
                is_over = run.node.id in self._reports
            if not is_over:
                self._publish(run.node, report)
        self._amend()
        with self._lock:
            self._given_up = True

    def _let_nobody_wait(self, _level: StopLevel) -> None:
        self._purse.close()
        self._lanes.wake()

    def _tear_down(self) -> None:
        """Tear down the values that outlived every slot."""
        try:
            self._amend(errors=self._scopes.all_done())
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            self._crash = self._crash or error

    def _slot(self, number: int) -> None:
        try:
            free = partial(self._free, number)
            while (lane := self._lanes.take(free)) is not None:
                try:
                    self._run_lane(lane, number)
                    if not self._lanes.keeps(lane):
                        self._amend(errors=self._scopes.give_back(lane.nodes))
                finally:
                    self._lanes.done(lane)
                self._leave_sources()
            free()
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread, once all slots are done
            self._crash = self._crash or error
            # Only in a dry run does Ctrl-C arrive here: its main thread is the slot, and nothing handles
            # signals.
            is_interrupt = isinstance(error, KeyboardInterrupt)
            self._context.stop.request(
                StopLevel.END, f"{INTERRUPTED}SIGINT" if is_interrupt else "an internal error"
            )

    def _free(self, number: int) -> None:
        """Release the values of an idle slot: its pod would bill."""
        self._amend(errors=self._scopes.slot_done(number))
        self._leave_sources()

    def _leave_sources(self) -> None:
        """Tear down values that were kept for future nodes of sources that have none any more."""
        for source in self._lanes.take_over():
            for node_id, ids in () if source.is_part else source.results.items():
                self._context.journal.write(RESULTS, of=node_id, ids=list(ids))
            for ahead in source.ahead:
                self._purse.set_aside(id(ahead), 0.0)
            stood = [node for ahead in source.ahead for node in ahead.nodes]
            self._amend(errors=[error for node in stood for error in self._scopes.node_done(node)])
            self._context.events.nodes_added(nodes=(), ahead=self._lanes.ahead)

    def _run_lane(self, lane: Lane, number: int) -> None:
        waiting = deque(lane.nodes)
        if self._slots.most(lane.places) == 1:
            self._run_place(waiting, number, ())
            return
        places = [tuple(range(i * lane.gpus_each, (i + 1) * lane.gpus_each)) for i in range(lane.places)]
        threads = [
            begun(
                partial(self._run_place_safely, waiting, number, gpus, 1 / lane.places),
                name=f"rpd-slot-{number}-gpu-{gpus[0]}",
            )
            for gpus in places[: len(lane.nodes)]
        ]
        for each in threads:
            each.join()

    def _run_place_safely(
        self, waiting: deque[Node], number: int, gpus: tuple[int, ...], share: float
    ) -> None:
        try:
            self._run_place(waiting, number, gpus, share)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread, once all slots are done
            self._crash = self._crash or error
            self._context.stop.request(StopLevel.END, "an internal error")

    def _run_place(
        self, waiting: deque[Node], number: int, gpus: tuple[int, ...], share: float = 1.0
    ) -> None:
        """Run waiting nodes one after the other; with ``gpus``, on those GPUs of a pod that others use too."""
        while self._context.stop.level is StopLevel.NONE:
            try:
                node = waiting.popleft()
            except IndexError:
                return
            added = self._lanes.added(node)
            if added is not None:
                self._hold(node, added[1])
            if not self._may_cost(node, id(added[1]) if added and added[1].is_set_aside else None):
                continue
            if added is not None:
                self._tell_added(node, added[0])
            try:
                report, run = self._runner.run(node, number, gpus, share)
            except LocalError as error:  # nothing of the node could be recorded: it counts as not run
                self._context.stop.request(StopLevel.DRAIN, str(error))
                return
            self._publish(node, report)
            self._amend(run)

    def _may_cost(self, node: Node, pot: int | None) -> bool:
        """Reserve the worst case of a node; if the budget of the run forbids it, start nothing new."""
        if self._purse.cap is None:
            return True
        worst = self._worst_case(node)
        if self._purse.reserve(node.id, worst, pot):
            return True
        spent = f"${self._purse.spent:.2f} of ${self._purse.cap:.2f} is spent"
        reason = f"budget: {spent}, and {node.id} may cost ${worst:.2f}"
        if self._context.stop.level is not StopLevel.NONE or not self._lanes.refused(node, reason):
            self._context.stop.request(StopLevel.DRAIN, reason)
        return False

    def _tell_added(self, node: Node, source: Source) -> None:
        """Announce a node that a source has added, before anything of it begins."""
        self._context.journal.write(ADDED, sync=True, id=node.id, **source.note(node))
        self._scopes.add(node)
        with self._lock:
            self._added += 1
            self._context.places.setdefault(node.id, len(self._context.places))
        self._context.events.nodes_added(nodes=(node,), ahead=self._lanes.ahead)

    def _publish(self, node: Node, report: NodeReport) -> None:
        with self._lock:
            if self._given_up:
                return
            before = self._reports.get(node.id)
            is_new = before is None
            self._reports[node.id] = report
            if is_new and not report.result.outcome.is_ok:
                self._failures += 1
            at_limit = self._failure_limit is not None and self._failures >= self._failure_limit
        self._purse.settle(
            node.id, report.cost.estimated_usd - (before.cost.estimated_usd if before else 0.0)
        )
        # Before the hooks, which take time: no other slot may start a node meanwhile.
        if at_limit and self._context.stop.level is StopLevel.NONE:
            self._context.stop.request(self._at_limit, f"stopping after {self._failures} failures")
        self._context.events.node_report(node=node, report=report)
        if report.folder and not report.had_pod:
            self._commits.soon(report.folder)
        if is_new:
            self._lanes.ended(node, report)

    # --- wider teardowns --------------------------------------------------------------------------------------------

    def _amend(self, finished: NodeRun | None = None, errors: Sequence[TeardownError] = ()) -> None:
        """Report nodes again whose shared pods were released since, or whose shared values failed to tear down.

        The last user of a pod comes first: it pays for the pod's time after its last node.
        """
        late = [*errors, *self._runner.take_late_errors()]
        with self._lock:
            if finished is not None and finished.use.had_open_pods:
                self._waiting.add(finished)
            due = self._waiting.take_due()
        guilty = [error.user for error in late if error.user is not None]
        for run in dict.fromkeys([*reversed(due), *guilty]):
            with self._lock:
                report = self._reports.get(run.node.id)
            if report is not None:
                own = [error for error in late if error.user is run]
                amended = self._runner.amend(report, run, own)
                if amended != report:
                    self._publish(run.node, amended)
