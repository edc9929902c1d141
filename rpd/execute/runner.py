"""The runner: one node from set-up to report, and the one ladder that turns whatever happened into an outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from rpd.errors import (
    Cause,
    CollectionError,
    CommandFailed,
    ConnectionLost,
    DefinitionError,
    Interrupted,
    ProviderError,
    ProvisioningError,
    ReleaseError,
    RpdError,
    TransferError,
)
from rpd.execute import custody, guard, marks, traces
from rpd.execute.context import RunContext
from rpd.execute.current import acting_for
from rpd.execute.noderun import NodeRun
from rpd.execute.retry import Attempts
from rpd.execute.scopes import Scopes, Setup, TeardownError
from rpd.execute.timeouts import Timeouts
from rpd.execute.verdict import PASSED, Verdict
from rpd.hooks import hookimpl
from rpd.journal.files import NodeFiles
from rpd.journal.journal import FileJournal, NoJournal
from rpd.lease.lease import Lease
from rpd.project.fingerprint import fingerprint
from rpd.remote.watchdog import Terms
from rpd.stop import StopLevel
from rpd.values.node import Node
from rpd.values.outcome import Failed, Skipped
from rpd.values.report import (
    AttemptRecord,
    CostRecord,
    EnvironmentRecord,
    Failure,
    NodeRecord,
    NodeReport,
    Outcome,
    PodRecord,
    Result,
    SourceRecord,
)
from rpd.values.retry import RetryPolicy

_FACTS = ("gpu_name", "driver", "cuda", "python", "uname")


@hookimpl(trylast=True)
def rpd_run_node(call: Callable[[], object]) -> bool:
    """Call the job function: the innermost implementation of the hook."""
    call()
    return True


class Runner:
    """Runs the nodes of one run. ``run`` is called by several slots at once."""

    def __init__(self, context: RunContext, scopes: Scopes) -> None:
        self._context = context
        self._scopes = scopes
        hook = context.hook
        self._tells_fixtures = bool(
            hook.rpd_fixture_setup.get_hookimpls() or hook.rpd_fixture_teardown.get_hookimpls()
        )
        self._late_errors: SimpleQueue[TeardownError] = SimpleQueue()
        self._live: dict[str, tuple[NodeRun, datetime, tuple[AttemptRecord, ...]]] = {}

    def run(
        self, node: Node, slot: int, gpus: tuple[int, ...] = (), share: float = 1.0
    ) -> tuple[NodeReport, NodeRun]:
        """Run one node, again where its policy says so, and return its report.

        ``gpus`` are those it has to itself on a pod that other nodes use at the same time, ``share`` is its part.
        Never raises for what the node or its pod does.
        """
        files = self._context.files.node(node) if self._context.files else None
        past = self._context.past.nodes.get(node.id) if self._context.past else None
        self._context.hook.rpd_node_started(node=node, folder=files.folder if files else None)
        try:
            attempts = Attempts(policy=RetryPolicy.of(node), number=past.attempt if past else 1)
        except DefinitionError as error:
            attempts = Attempts(policy=RetryPolicy())
            wrong: Verdict | None = Verdict(Outcome.ERROR, Cause.CODE, str(error))
        else:
            wrong = marks.evaluate(node)
        earlier: list[AttemptRecord] = list(past.earlier) if past else []
        while True:
            run = self._open(node, files, attempts)
            run.gpus, run.share = gpus, share
            if past is not None:
                run.remembered.extend(past.steps)
                run.billed_seconds, run.usd = past.billed_seconds, past.usd
                past = None
            report = self._attempt(run, slot, wrong, tuple(earlier))
            # Where a pod could not be given back, another attempt might only add one more that bills.
            is_stuck = any(lease.is_open and not lease.is_wide for lease in run.leases)
            # A pod that stays for its results, or for a look at it, must not become one for each attempt.
            is_kept = any(lease.final_state == "running" for lease in run.leases)
            may_go_on = self._context.stop.level is StopLevel.NONE and not is_stuck and not is_kept
            if (
                report.result.outcome.is_ok
                or not may_go_on
                or not attempts.another(report.result.cause, run.error)
            ):
                break
            earlier.append(_attempt_record(report))
            self._context.hook.rpd_notice(
                text=f"{node.id}: {report.result.cause}: {report.result.reason}; trying again"
            )
            self._scopes.forget_failures(run)
        for late in self._scopes.node_done(node):
            self._late_errors.put(late)
        return report, run

    def _attempt(
        self, run: NodeRun, slot: int, early: Verdict | None, earlier: tuple[AttemptRecord, ...]
    ) -> NodeReport:
        started = datetime.now(UTC)
        self._live[run.node.id] = (run, started, earlier)
        # Not synced: a pod's intent is, in the run's journal, before there is one; and every step's beginning is.
        run.journal.write(
            "node_resumed" if run.remembered else "node_started", node=run.node.id, attempt=run.attempt
        )
        with acting_for(run):
            verdict = early or self._decide(run, slot)
        run.error = verdict.error
        self._settle(run)
        report = self._report(run, verdict, started, earlier)
        run.journal.write(
            "node_finished",
            sync=True,
            outcome=report.result.outcome,
            cause=report.result.cause,
            attempt=asdict(_attempt_record(report)),
        )
        run.close()
        self._live.pop(run.node.id, None)
        return report

    def abandon(self) -> list[tuple[NodeRun, NodeReport]]:
        """Return the reports of the nodes that are under way, as interrupted: their pods were released."""
        verdict = Verdict(Outcome.ERROR, Cause.INTERRUPTED, self._context.stop.reason)
        abandoned = []
        for run, started, earlier in list(self._live.values()):
            self._settle(run)
            abandoned.append((run, self._report(run, verdict, started, earlier)))
            run.close()
        return abandoned

    def take_late_errors(self) -> list[TeardownError]:
        """Return the teardown errors that belong to nodes which have been reported already, each once."""
        errors = []
        while True:
            try:
                errors.append(self._late_errors.get_nowait())
            except Empty:
                return errors

    def _open(self, node: Node, files: NodeFiles | None, attempts: Attempts) -> NodeRun:
        context = self._context
        return NodeRun(
            node=node,
            files=files,
            journal=FileJournal(files.journal, context.redact) if files else NoJournal(),
            hook=context.hook,
            mask=context.mask,
            masker=context.masker(),
            config=context.config,
            context=context,
            attempt=attempts.number,
            tells_fixtures=self._tells_fixtures,
            gpu_after_oom=attempts.gpu,
        )

    # --- one node ---------------------------------------------------------------------------------------------------

    def _decide(self, run: NodeRun, slot: int) -> Verdict:
        setup = Setup(self._scopes, run, slot)
        verdict = self._set_up_and_call(run, setup)
        self._finish_beside(run, verdict)
        if not verdict.outcome.is_ok:
            for lease in run.leases:
                lease.failed = True
        errors = [*setup.late_errors, *setup.teardown(), *self._scopes.drop_lost()]
        return self._told_others(run, verdict, errors)

    def _told_others(self, run: NodeRun, verdict: Verdict, errors: Sequence[TeardownError]) -> Verdict:
        """Add the node's own teardown errors to its verdict; those of values others used last go to them."""
        for error in errors:
            self._heed(error.error)
            if error.user is not None and error.user is not run:
                self._late_errors.put(error)
        return _with_teardown(verdict, [e for e in errors if e.user is None or e.user is run], self._failure)

    def _heed(self, error: BaseException) -> None:
        """Start nothing new after an error that no other node would be spared."""
        if isinstance(error, RpdError) and error.stops_run:
            self._context.stop.request(StopLevel.DRAIN, str(error))

    def _set_up_and_call(self, run: NodeRun, setup: Setup) -> Verdict:
        began = time.monotonic()
        try:
            with self._guard():
                arguments = setup.prepare()
            self._begin_clocks(run)
        except BaseException as error:  # noqa: BLE001 - the ladder below names it
            return self._judge(run, error, in_job=False)
        finally:
            spent = time.monotonic() - began
            run.phases["setup"] = max(0.0, spent - sum(run.phases.values()))
        return self._call(run, arguments)

    def _call(self, run: NodeRun, arguments: dict[str, Any]) -> Verdict:
        function = run.node.definition.function
        run.done.clear()  # what fixtures did is not done again by a second call of the job
        began = time.monotonic()
        pulled = run.phases.get("pull", 0.0)
        verdict = PASSED
        try:
            with self._guard():
                self._context.hook.rpd_run_node(node=run.node, call=lambda: function(**arguments))
            run.finish_beside(required=True)
        except BaseException as error:  # noqa: BLE001 - the ladder below names it
            verdict = self._judge(run, error, in_job=True)
        spent = time.monotonic() - began + run.recalled_seconds
        run.phases["job"] = max(0.0, spent - run.phases.get("pull", 0.0) + pulled)
        if not verdict.outcome.is_ok:
            self._salvage(run, verdict, arguments)
        return marks.apply_xfail(run.node, verdict)

    def _salvage(self, run: NodeRun, verdict: Verdict, arguments: dict[str, Any]) -> None:
        """Fetch what the job would still have pulled: call it again, every finished step answered from memory.

        Commands and transfers to the pod do nothing in this second call, and the guard keeps it from reaching
        anything else; only pulls past the failure are carried out.
        """
        if self._context.is_dry or not run.done or self._is_beyond_help(verdict):
            return
        run.salvaging = True
        try:
            with guard.guarded("while the artifacts of a failed job are fetched"):
                run.node.definition.function(**arguments)
        except BaseException as error:  # noqa: BLE001 - the node has failed already; this is only told
            run.journal.write("salvage_ended", reason=f"{type(error).__name__}: {error}")
        finally:
            run.salvaging = False

    def _is_beyond_help(self, verdict: Verdict) -> bool:
        return verdict.cause in (Cause.LOST, Cause.INFRA) or self._context.stop.level >= StopLevel.ABANDON

    def _finish_beside(self, run: NodeRun, verdict: Verdict) -> None:
        """End what still goes on beside a job that did not come to its own end."""
        if not run.endings or self._is_beyond_help(verdict):
            return  # closed with the node
        try:
            run.finish_beside(required=False)
        except RpdError as error:
            run.journal.write("last_pull_failed", reason=f"{type(error).__name__}: {error}")

    def _guard(self) -> AbstractContextManager[None]:
        return guard.guarded("in a dry run") if self._context.is_dry else nullcontext()

    def _begin_clocks(self, run: NodeRun) -> None:
        """Note when the job has to end, here and on the pods that it has to itself. Raises RemoteError."""
        if self._context.is_dry:
            return
        run.timeouts = Timeouts.of(run.node)
        if run.timeouts.job is not None:
            run.timeout_at = time.monotonic() + run.timeouts.job
        run.deadline = self._deadline(run)
        for lease in run.leases:
            if run.deadline is not None and not lease.is_wide:
                custody.limit(lease, run.deadline, Terms.of(self._context.config))

    def _deadline(self, run: NodeRun) -> float | None:
        """Return when the node reaches its cap: its runtime, or its money at the pod's real rate."""
        budget = self._context.overrides.budget(run.node.job.budget)
        limits = [budget.max_runtime_seconds] if budget.max_runtime_seconds else []
        left = custody.cap_seconds(run, run.leases, budget)
        if left is not None:
            limits.append(left)
        return time.monotonic() + min(limits) if limits and not self._context.is_dry else None

    # --- the ladder -------------------------------------------------------------------------------------------------

    def _judge(self, run: NodeRun, error: BaseException, *, in_job: bool) -> Verdict:
        """Turn what a set-up or a job raised into a verdict."""
        usual = Outcome.FAILED if in_job else Outcome.ERROR
        match error:
            case Skipped():
                return Verdict(Outcome.SKIPPED, None, str(error))
            case Interrupted():
                outcome, cause = Outcome.ERROR, Cause.INTERRUPTED
            case ConnectionLost() | ProvisioningError() | ProviderError() | ReleaseError():
                outcome, cause = Outcome.ERROR, error.cause
            case TransferError() if error.cause is Cause.INFRA:
                outcome, cause = Outcome.ERROR, Cause.INFRA
            case RpdError():
                outcome, cause = usual, error.cause
            case KeyboardInterrupt():
                self._context.stop.request(StopLevel.END, "interrupted by KeyboardInterrupt in a job")
                outcome, cause = Outcome.ERROR, Cause.INTERRUPTED
            case _:
                outcome, cause = usual, Cause.CODE
        self._heed(error)
        reason = self._context.mask(_reason(error))
        if outcome is Outcome.ERROR and self._context.stop.level >= StopLevel.ABANDON:
            # Whatever it met, its pod was released under it.
            cause, reason = Cause.INTERRUPTED, self._context.stop.reason
        return Verdict(outcome, cause, reason, self._failure(error, run), error)

    def _failure(self, error: BaseException, run: NodeRun | None) -> Failure:
        shown = traces.user_frames(error, self._context.rootdir, self._context.trace_style)
        tail = run.tail if run is not None else ()
        known = f"{error.file}:{error.line}" if isinstance(error, CollectionError) and error.file else ""
        return Failure(
            place=shown.place or known,
            source_line=shown.source_line,
            traceback=tuple(self._context.mask(line) for line in shown.lines),
            log_tail=tail
            or tuple(map(self._context.mask, error.tail if isinstance(error, CommandFailed) else ())),
        )

    # --- the report -------------------------------------------------------------------------------------------------

    def _settle(self, run: NodeRun) -> None:
        """Charge the node with what its pods billed since they were last charged to somebody."""
        for lease in run.leases:
            if run.share < 1 and lease.is_open:
                meter = lease.take_share((time.monotonic() - run.began) * run.share)
            else:
                meter = lease.take_meter()
            run.billed_seconds += meter.seconds
            run.usd += meter.usd

    def _report(
        self, run: NodeRun, verdict: Verdict, started: datetime, earlier: tuple[AttemptRecord, ...]
    ) -> NodeReport:
        run.had_open_pods = any(lease.is_open for lease in run.leases)
        node, context = run.node, self._context
        lease = run.leases[-1] if run.leases else None
        source = context.source(context.project(node.file)) if run.staged or lease else SourceRecord()
        if run.staged:
            source = replace(
                source, tree_sha256=run.staged.tree_sha256, files=run.staged.files, bytes=run.staged.bytes
            )
        if run.files is not None:
            known = fingerprint(
                node,
                tree_sha256=source.tree_sha256,
                lock_sha256=source.lock_file_sha256,
                variables=context.variables,
            )
            source = replace(source, fingerprint=known)
        return NodeReport(
            node=NodeRecord(
                id=node.id,
                job=node.definition.name,
                file=node.file,
                line=node.definition.line,
                parameters=node.parameters,
                marks=tuple(dict.fromkeys(mark.name for mark in node.marks)),
            ),
            result=Result(
                outcome=verdict.outcome,
                cause=verdict.cause,
                reason=verdict.reason,
                attempts=run.attempt,
                started=started.isoformat(timespec="milliseconds"),
                finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
                phases=_rounded(run.phases),
            ),
            pod=_pod_record(lease),
            cost=_cost_record(run, lease, context.overrides.budget(node.job.budget).cost_cap_usd, earlier),
            source=source,
            environment=EnvironmentRecord(**{name: lease.facts.get(name, "") for name in _FACTS})
            if lease
            else EnvironmentRecord(),
            steps=tuple(run.steps),
            artifacts=tuple(run.artifacts),
            attempts=earlier,
            metrics=dict(run.metrics),
            variables={**context.variables, **run.variables},
            folder=str(run.files.folder) if run.files else "",
            failure=verdict.failure,
        )

    def amend(self, report: NodeReport, run: NodeRun, errors: Sequence[TeardownError]) -> NodeReport:
        """Return ``report`` after the teardown of wider values that this node was the last to use."""
        self._settle(run)
        run.close()
        verdict = Verdict(report.result.outcome, report.result.cause, report.result.reason, report.failure)
        verdict = _with_teardown(verdict, errors, self._failure)
        lease = run.leases[-1] if run.leases else None
        return replace(
            report,
            result=replace(
                report.result,
                outcome=verdict.outcome,
                cause=verdict.cause,
                reason=verdict.reason,
                phases=_rounded(run.phases),
            ),
            pod=_pod_record(lease),
            cost=_cost_record(run, lease, report.cost.cap_usd, report.attempts),
            steps=tuple(run.steps),
            artifacts=tuple(run.artifacts),
            metrics=dict(run.metrics),
            failure=verdict.failure,
        )


def _rounded(phases: Mapping[str, float]) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in phases.items()}


def _reason(error: BaseException) -> str:
    text = traces.text_of(error)
    if isinstance(error, Failed | RpdError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _with_teardown(verdict: Verdict, errors: Sequence[TeardownError], explain: Any) -> Verdict:
    """A node that passed and could not be torn down is an error; one that failed keeps its outcome and tells of it."""
    if not errors:
        return verdict
    each = tuple(f"teardown of {held.fixture.name}: {_reason(held.error)}" for held in errors)
    told = "; ".join(each)
    first = errors[0].error
    if not verdict.outcome.is_ok:
        failure = verdict.failure or Failure()
        failure = replace(failure, teardown=(*failure.teardown, *each))
        return replace(verdict, reason=f"{verdict.reason}; {told}", failure=failure)
    cause = first.cause if isinstance(first, RpdError) else Cause.CODE
    return Verdict(Outcome.ERROR, cause, told, explain(first, errors[0].user))


def _pod_record(lease: Lease | None) -> PodRecord | None:
    if lease is None or lease.pod is None:
        return None
    pod, offer = lease.pod, lease.offer
    return PodRecord(
        id=pod.id,
        name=pod.name,
        gpu=(offer.gpu_id if offer else pod.gpu) or "",
        count=offer.count if offer and offer.gpu_id else pod.gpu_count,
        datacenter=pod.datacenter or "",
        cloud=(offer.cloud if offer else pod.cloud) or "",
        image=pod.image or lease.request.image,
        spot=lease.request.spot,
        rate=lease.rate_usd_per_hr,
        final_state=lease.final_state or "running",
        reused=lease.users > 1,
    )


def _attempt_record(report: NodeReport) -> AttemptRecord:
    pod = report.pod
    return AttemptRecord(
        number=report.result.attempts,
        outcome=report.result.outcome,
        cause=report.result.cause,
        reason=report.result.reason,
        pod_id=pod.id if pod else "",
        gpu=pod.gpu if pod else "",
        datacenter=pod.datacenter if pod else "",
        seconds=round(report.result.seconds, 3),
        estimated_usd=round(report.cost.estimated_usd - _usd(report.attempts), 6),
    )


def _usd(attempts: Sequence[AttemptRecord]) -> float:
    return sum(attempt.estimated_usd for attempt in attempts)


def _cost_record(
    run: NodeRun, lease: Lease | None, cap: float, earlier: tuple[AttemptRecord, ...] = ()
) -> CostRecord:
    """Return what all attempts of a node cost, at the rate of the last one's pod."""
    before = _usd(earlier)
    if lease is None:
        return CostRecord(cap_usd=cap, estimated_usd=round(before, 6))
    return CostRecord(
        rate_usd_per_hr=lease.rate_usd_per_hr,
        rate_source=lease.rate_source,
        billed_seconds=round(run.billed_seconds, 3),
        estimated_usd=round(run.usd + before, 6),
        cap_usd=cap,
    )
