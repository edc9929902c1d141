"""The runner: one node from set-up to report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from rpd.errors import (
    Cause,
    DefinitionError,
    LocalError,
    PodLost,
    RpdError,
)
from rpd.execute import no_network
from rpd.execute.alarms import Alarms
from rpd.execute.clock import JobClock
from rpd.execute.context import RunContext
from rpd.execute.node import outcome_marks
from rpd.execute.node.attempts import Attempts
from rpd.execute.node.current import acting_for
from rpd.execute.node.ladder import Ladder
from rpd.execute.node.node_run import NodeRun
from rpd.execute.node.pod_use import Bill, PodUse
from rpd.execute.node.report import amended, attempt_record, node_report
from rpd.execute.node.verdict import PASSED, Verdict
from rpd.execute.scopes import Scopes, Setup, TeardownError
from rpd.hooks import hookimpl
from rpd.journal.files import NodeFiles
from rpd.stop import StopLevel
from rpd.uptime import uptime
from rpd.values.duration import format_duration
from rpd.values.frozen import field_names
from rpd.values.node import Node
from rpd.values.report import (
    AttemptRecord,
    NodeReport,
    Outcome,
    Skip,
)
from rpd.values.retry import RetryPolicy
from rpd.values.size import format_size


@hookimpl(trylast=True)
def rpd_run_node(call: Callable[[], object]) -> bool:
    """Call the job function: the innermost implementation of the hook."""
    call()
    return True


def _check_result(node: Node, result: object) -> None:
    """Raise DefinitionError if a job returned code that has yet to run: it would pass and have done nothing."""
    if result is not None and (hasattr(result, "__await__") or hasattr(result, "gi_frame")):
        with suppress(Exception):
            result.close()  # type: ignore[attr-defined] # a coroutine complains that nobody awaited it
        how = "call asyncio.run(…) in it" if hasattr(result, "__await__") else "a job does not yield"
        raise DefinitionError(
            node.name, "", f"expected a function that does its work when it is called ({how})", result
        )


SALVAGE_SECONDS = 20.0
"""Seconds that a job's own code may take when it is called again for its remaining pulls."""


class Runner:
    """Runs the nodes of one run. Several slots call ``run`` at once."""

    def __init__(self, context: RunContext, scopes: Scopes) -> None:
        self._context = context
        self._scopes = scopes
        self._mode = context.mode
        self._ladder = Ladder(context)
        events = context.events
        self._alarms = Alarms(
            lambda error: events.notice(f"an alarm failed: {type(error).__name__}: {error}")
        )
        self._tells_fixtures = events.is_heard("fixture_setup") or events.is_heard("fixture_teardown")
        self._asks_whether_to_skip = events.is_heard("skip_node")
        self._tells_starts = events.is_heard("node_started")
        self._late_errors: SimpleQueue[TeardownError] = SimpleQueue()
        self._live: dict[str, tuple[NodeRun, datetime, tuple[AttemptRecord, ...]]] = {}

    def run(
        self, node: Node, slot: int, gpus: tuple[int, ...] = (), share: float = 1.0
    ) -> tuple[NodeReport, NodeRun]:
        """Run one node, with the retries its policy allows, and return its report.

        ``gpus`` are the GPUs the node has to itself on a shared pod, ``share`` is its part of that pod. Never
        raise for errors of the node or its pod; raise LocalError if the node's folder cannot be made.
        """
        files = self._files_of(node)
        past = self._context.past.nodes.get(node.id) if self._context.past else None
        if self._tells_starts:
            self._context.events.node_started(node=node, folder=files.on_disk)
        try:
            attempts = Attempts(policy=RetryPolicy.of(node), number=past.attempt if past else 1)
        except DefinitionError as error:
            attempts = Attempts(policy=RetryPolicy())
            wrong: Verdict | None = Verdict(Outcome.ERROR, Cause.CODE, str(error))
        else:
            wrong = outcome_marks.evaluate(node)
        skip: Skip | None = None
        if wrong is None and self._asks_whether_to_skip:
            skip, wrong = self._skipped(node)
        earlier: list[AttemptRecord] = list(past.earlier) if past else []
        while True:
            run = self._open(node, files, attempts, earlier)
            run.use.gpus, run.use.share = gpus, share
            if skip is not None:
                run.results.metrics.update(skip.metrics)
            if past is not None:
                run.steps.remembered.extend(past.steps)
                run.series.resume()
                run.use.bill.seconds, run.use.bill.usd = past.billed_seconds, past.usd
                past = None
            report = self._attempt(run, slot, wrong, tuple(earlier))
            if (
                report.result.outcome.is_ok
                or not self._may_go_on(run)
                or not attempts.another(report.result.cause, run.error)
            ):
                break
            earlier.append(attempt_record(report))
            self._context.events.notice(
                text=f"{node.id}: {report.result.cause}: {report.result.reason}; retrying"
            )
            self._scopes.forget_failures(run)
        for late in self._scopes.node_done(node):
            self._late_errors.put(late)
        return report, run

    def _may_go_on(self, run: NodeRun) -> bool:
        """Return whether a node that did not pass may be tried again."""
        # Where a pod could not be given back, another attempt might only add one more that bills.
        is_stuck = any(lease.is_open and not lease.is_wide for lease in run.use.leases)
        # A pod that stays for its results, or for a look at it, must not become one for each attempt.
        is_kept = any(lease.final_state == "running" for lease in run.use.leases)
        return self._context.stop.level is StopLevel.NONE and not is_stuck and not is_kept

    def _skipped(self, node: Node) -> tuple[Skip | None, Verdict | None]:
        """Ask the plugins whether to skip a node; an error of a plugin becomes the node's error."""
        try:
            skip = self._context.events.skip_node(node=node)
        except Exception as error:  # noqa: BLE001 - the code of a plugin, which may raise anything
            is_own = isinstance(error, RpdError)
            reason = str(error) if is_own else f"rpd_skip_node: {type(error).__name__}: {error}"
            return None, Verdict(Outcome.ERROR, Cause.CODE, reason, error=error)
        return skip, None if skip is None else Verdict(Outcome.SKIPPED, skip.cause, skip.reason)

    def _files_of(self, node: Node) -> NodeFiles:
        try:
            return self._context.files.node(node)
        except OSError as error:
            raise LocalError(f"{node.id}: cannot create its folder ({error.filename})", error) from error

    def _attempt(
        self, run: NodeRun, slot: int, early: Verdict | None, earlier: tuple[AttemptRecord, ...]
    ) -> NodeReport:
        """Run one attempt of a node to its report: its events go to the journal, its pods are charged and left."""
        started = datetime.now(UTC)
        self._live[run.node.id] = (run, started, earlier)
        # Not synced: the intent to rent a pod and the start of each step are, and nothing happens before
        # those.
        run.journal.write(
            "node_resumed" if run.steps.remembered else "node_started", node=run.node.id, attempt=run.attempt
        )
        with self._context.headroom.working(run.node.id):
            with acting_for(run):
                verdict = early or self._decide(run, slot)
            run.error = verdict.error
            if run.use.leases:
                self._context.requests[run.node.id] = tuple([lease.request for lease in run.use.leases])
            self._context.lifetimes.leave(run.use)
            run.use.settle()
        report = node_report(self._context, run, verdict, started, earlier)
        if self._mode.keeps_records:
            run.journal.write(
                "node_finished",
                sync=report.had_pod,  # else it is committed with others
                outcome=report.result.outcome,
                cause=report.result.cause,
                attempt=_fields(attempt_record(report)),
            )
        run.close(sync=report.had_pod)
        self._live.pop(run.node.id, None)
        return report

    def abandon(self) -> list[tuple[NodeRun, NodeReport]]:
        """Return the reports of all running nodes as interrupted: their pods were released."""
        verdict = Verdict(Outcome.ERROR, Cause.INTERRUPTED, self._context.stop.reason)
        abandoned = []
        for run, started, earlier in list(self._live.values()):
            run.use.settle()
            abandoned.append((run, node_report(self._context, run, verdict, started, earlier)))
            run.close()
        return abandoned

    def take_late_errors(self) -> list[TeardownError]:
        """Return the teardown errors of nodes that were already reported, each once."""
        errors: list[TeardownError] = []
        with suppress(Empty):  # another slot may have taken the last one
            while not self._late_errors.empty():
                errors.append(self._late_errors.get_nowait())
        return errors

    def _open(
        self, node: Node, files: NodeFiles, attempts: Attempts, earlier: Sequence[AttemptRecord]
    ) -> NodeRun:
        context = self._context
        spent = sum(attempt.estimated_usd for attempt in earlier)
        return NodeRun(
            node=node,
            files=files,
            journal=context.new_journal(files),
            events=context.events,
            redactor=context.redactor,
            unwritten=context.disk.failed,
            context=context,
            use=PodUse(
                node=node,
                budget=context.overrides.budget(node.job.budget),
                bill=Bill(ceiling=context.cover.left_of(node, spent)),
            ),
            attempt=attempts.number,
            tells_fixtures=self._tells_fixtures,
            gpu_after_oom=attempts.gpu,
        )

    # --- one node ---------------------------------------------------------------------------------------------------

    def _decide(self, run: NodeRun, slot: int) -> Verdict:
        setup = Setup(self._scopes, run, slot)
        verdict = self._set_up_and_call(run, setup)
        self._finish_beside(run, verdict)
        run.log.mend()  # now, because the pod may be gone afterwards
        if run.use.leases:
            run.log.settle()
        if run.log.missing_bytes:
            self._context.events.notice(
                text=f"{run.node.id}: output.log lacks {format_size(run.log.missing_bytes)} of what its commands "
                "wrote: there was no room for it here, and the pod's copy goes with the pod"
            )
        if not verdict.outcome.is_ok:
            for lease in run.use.leases:
                lease.node_failed()
        errors = [*setup.late_errors, *setup.teardown(), *self._scopes.drop_lost()]
        return self._with_others(run, verdict, errors)

    def _with_others(self, run: NodeRun, verdict: Verdict, errors: Sequence[TeardownError]) -> Verdict:
        """Add the node's own teardown errors to its verdict.

        Hand the errors of other nodes' values to those nodes.
        """
        for error in errors:
            self._ladder.heed(error.error)
            if error.user is not None and error.user is not run:
                self._late_errors.put(error)
        mine = [error for error in errors if error.user is None or error.user is run]
        after = self._ladder.with_teardown(verdict, mine)
        return outcome_marks.apply_xfail(run.node, after) if mine and verdict.outcome.is_ok else after

    def _set_up_and_call(self, run: NodeRun, setup: Setup) -> Verdict:
        began = uptime()
        try:
            with self._mode.guard():
                arguments = setup.prepare()
            self._context.lifetimes.begin(run.use)
        except BaseException as error:  # noqa: BLE001 - the ladder below names it
            return outcome_marks.apply_xfail(run.node, self._ladder.judge(run, error, in_job=False))
        finally:
            spent = uptime() - began
            run.results.phases["setup"] = max(0.0, spent - sum(run.results.phases.values()))
        return self._call(run, arguments)

    def _call(self, run: NodeRun, arguments: dict[str, Any]) -> Verdict:
        function = run.node.definition.function
        run.steps.forget_answers()
        began = uptime()
        pulled = run.results.phases.get("pull", 0.0)
        verdict = PASSED
        try:
            with (
                self._mode.timed(
                    run.deadlines, self._context.stop, self._alarms, partial(self._tell_stuck, run)
                ),
                self._mode.guard(),
            ):
                self._context.events.run_node(
                    node=run.node, call=lambda: _check_result(run.node, function(**arguments))
                )
            run.pulls.finish(required=True)
        except BaseException as error:  # noqa: BLE001 - the ladder below names it
            verdict = self._ladder.judge(run, error, in_job=True)
        spent = uptime() - began + run.deadlines.recalled_seconds
        run.results.phases["job"] = max(0.0, spent - run.results.phases.get("pull", 0.0) + pulled)
        if not verdict.outcome.is_ok or verdict.outcome is Outcome.PRUNED:
            self._salvage(run, verdict, arguments)
        return outcome_marks.apply_xfail(run.node, verdict)

    def _tell_stuck(self, run: NodeRun) -> None:
        owned = [lease for lease in run.use.leases if lease.pod is not None and not lease.is_wide]
        names = ", ".join(lease.pod.id for lease in owned if lease.pod is not None)
        grace = format_duration(max((lease.lifetime.grace for lease in owned), default=0.0))
        pods = f"; pod {names} deletes itself within {grace}" if owned else ""
        self._context.events.notice(
            text=f"{run.node.id}: its time is up, but its code does not return{pods}; Ctrl-C twice ends the run now"
        )

    def _salvage(self, run: NodeRun, verdict: Verdict, arguments: dict[str, Any]) -> None:
        """Fetch the remaining pulls of a failed job: call it again, with every finished step answered from memory.

        Commands and transfers to the pod do nothing in this second call, and the guard keeps the code from
        reaching anything else; only pulls after the failure are carried out. It prints nothing. Code that does
        not end within SALVAGE_SECONDS is interrupted.
        """
        if not run.steps.can_replay or self._is_beyond_help(verdict):
            return
        from rpd.execute.node.silence import silenced  # few nodes fail with pulls left

        run.steps.salvaging = True
        run.deadlines.clock = JobClock(
            partial(RpdError, "its code took too long"), again_seconds=SALVAGE_SECONDS
        )
        until = uptime() + SALVAGE_SECONDS
        try:
            with (
                silenced(),
                no_network.guarded(no_network.SALVAGE),
                run.deadlines.clock.running(self._alarms, until),
            ):
                run.node.definition.function(**arguments)
        except BaseException as error:  # noqa: BLE001 - the node has failed already; this is only reported
            run.journal.write("salvage_ended", reason=f"{type(error).__name__}: {error}")
        finally:
            run.steps.salvaging, run.deadlines.clock = False, None

    def _is_beyond_help(self, verdict: Verdict) -> bool:
        is_gone = verdict.cause in (Cause.LOST, Cause.INFRA) or isinstance(verdict.error, PodLost)
        return is_gone or self._context.stop.level >= StopLevel.ABANDON

    def _finish_beside(self, run: NodeRun, verdict: Verdict) -> None:
        """End the parallel activities of a job that did not reach its own end."""
        if not run.pulls.endings or self._is_beyond_help(verdict):
            return  # closed with the node
        try:
            run.pulls.finish(required=False)
        except RpdError as error:
            run.journal.write("last_pull_failed", reason=f"{type(error).__name__}: {error}")

    def amend(self, report: NodeReport, run: NodeRun, errors: Sequence[TeardownError]) -> NodeReport:
        """Return ``report`` after the teardown of wider values that this node was the last to use."""
        run.use.settle()
        run.close()
        verdict = Verdict(report.result.outcome, report.result.cause, report.result.reason, report.failure)
        return amended(report, run, self._ladder.with_teardown(verdict, errors))


def _fields(record: AttemptRecord) -> dict[str, Any]:
    """Return the fields of an attempt. ``asdict`` would copy each value, and these are all plain."""
    return {name: getattr(record, name) for name in field_names(AttemptRecord)}
