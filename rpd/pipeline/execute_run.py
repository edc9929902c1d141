"""Executing a run that was prepared, from its folder to its exit code."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from rpd.config import Config
from rpd.errors import ExitCode, Interrupted, LocalError, ProviderError, ReleaseError
from rpd.events import Events
from rpd.execute.context import RunContext
from rpd.execute.run_budget import Purse
from rpd.execute.workers import Execution
from rpd.journal import driver_alive, journal, replay
from rpd.journal.files import RunFiles
from rpd.journal.lock import RunLock
from rpd.lease import pod_release
from rpd.pipeline.backend import Backend
from rpd.pipeline.balance_watch import BalanceWatch
from rpd.pipeline.collect_and_select import Gathered
from rpd.pipeline.dryrun import DryRunPlugin
from rpd.pipeline.make_context import make_context
from rpd.pipeline.prepare import Prepared
from rpd.pipeline.resume import Resumed
from rpd.pipeline.stopping import Telling
from rpd.plan import uses_pod
from rpd.record.plugin import ManifestPlugin
from rpd.stop import Stop, StopLevel
from rpd.values.plan import Plan
from rpd.values.pod import PodRequest
from rpd.values.report import Outcome, RunSummary


def execute(prepared: Prepared) -> tuple[ExitCode, RunSummary]:
    """Run what was prepared, and report it; return how it ended. Raises LocalError where there is no run folder."""
    config, resumed = prepared.config, prepared.resumed
    if resumed is not None or config.run.dry_run:
        return _drive(prepared, resumed.files if resumed else None)
    files = RunFiles.create(config.runs_path)
    try:
        lock = RunLock.take(files.folder)
    except OSError as error:
        raise LocalError(f"the run folder {files.folder} cannot be locked", error) from error
    with lock:
        return _drive(prepared, files)


def _drive(prepared: Prepared, files: RunFiles | None) -> tuple[ExitCode, RunSummary]:
    config, events, plan, resumed = prepared.config, prepared.events, prepared.plan, prepared.resumed
    asked: dict[str, Sequence[PodRequest]] = {}
    keeper = _register(prepared, asked)
    stop = prepared.caller.stop
    purse = Purse(config.money.budget, spent=_spent(resumed))
    context = make_context(prepared, files, stop, purse, asked)
    execution = Execution(
        plan,
        context,
        failure_limit=config.failure_limit,
        kill=config.run.maxfail_action == "kill",
        purse=purse,
        worst_case=prepared.prices.ceiling,
        done=prepared.done,
    )
    context.journal.write("run_started", sync=True, **driver_alive.identity(), nodes=len(plan.nodes))
    if resumed is None:
        context.journal.write(journal.PLANNED, sync=True, ids=[node.id for node in plan.nodes])
    context.journal.check()
    started = time.monotonic()
    has_pods = not config.run.dry_run
    with Telling(stop, events, has_pods=has_pods) as telling, prepared.caller.while_executing():
        backend = _backend_name(config, plan, prepared.backend)
        if files is not None:
            try:
                prepared.backend.leave_word(files.emulator)
            except OSError as error:
                context.disk.failed(
                    files.emulator, error, "other commands cannot reach the emulator of this run"
                )
        events.run_started(
            config=config,
            plan=plan,
            backend=backend,
            folder=files.folder if files else None,
            done=prepared.done,
        )
        try:
            with _balance_watched(prepared, stop):
                execution.run()
        except Interrupted:
            context.surroundings.restore()
            context.leases.release_all()
            execution.give_up()
        except BaseException:
            context.surroundings.restore()
            context.leases.release_all()
            raise
        finally:
            context.surroundings.close()
            for pod in context.leases.try_again():
                events.notice(f"pod {pod} is released after all")
            _release_rest(context)
            context.journal.close()
        summary = RunSummary(
            folder=str(files.folder) if files else "",
            reports=execution.reports,
            seconds=time.monotonic() - started,
            deselected=prepared.gathered.deselected,
            not_run=len(plan.nodes) + len(prepared.done) - len(execution.reports),
            stop_reason=stop.reason,
            unreleased=context.leases.unreleased,
            leftover=_leftover(config, events, context),
        )
        if files is not None and not summary.leftover and not summary.unreleased:
            _forget_keys(files)
        exit_code = _exit_code(summary, stop, prepared.gathered)
        if exit_code is ExitCode.OK and _is_sold_out(prepared, summary, asked):
            exit_code = ExitCode.SOLD_OUT
        keeper.record_exit_code(exit_code)
        telling.settle()
        for told in context.asides.told():
            events.notice(told)
        events.run_finished(config=config, summary=summary)
    if exit_code is not ExitCode.POD_NOT_RELEASED:
        prepared.manager.raise_defect()
    return exit_code, summary


def _release_rest(context: RunContext) -> None:
    """Delete the pods of an earlier process that no node had a use for any more."""
    for left in context.past.rest() if context.past else ():
        try:
            pod = next((pod for pod in context.provider().list() if pod.name == left.name), None)
            if pod is not None:
                pod_release.delete(context.provider(), pod)
            context.journal.write(
                "released", sync=True, pod_name=left.name, pod_id=left.pod_id, final_state="deleted"
            )
        except ReleaseError as error:
            context.leases.lost(error)
        except ProviderError as error:
            context.leases.lost(ReleaseError(left.pod_id, left.name, str(error)))


def _forget_keys(files: RunFiles) -> None:
    """Remove the keys of the run unless a pod that this or an earlier process of it left still needs them."""
    with suppress(OSError):  # what cannot be read may tell of such a pod
        if not replay.unreleased(files.journal):
            files.forget_keys()


def _spent(resumed: Resumed | None) -> float:
    """Return what the nodes of a resumed run cost that are over: its budget is that of the whole run."""
    return sum(report.cost.estimated_usd for report in resumed.reports) if resumed else 0.0


def _leftover(config: Config, events: Events, context: RunContext) -> tuple[str, ...]:
    """Return the pods that stay and bill when the run is over; those of an emulator of its own end with it."""
    if config.run.dry_run:
        return ()
    leftover = context.leases.leftover
    if config.run.local and leftover:
        events.notice(
            text=f"nothing stays and nothing bills: {', '.join(leftover)} went with the emulator of this --local run "
            "(rpd emulator runs one that stays)"
        )
        return ()
    return leftover


def _balance_watched(prepared: Prepared, stop: Stop) -> AbstractContextManager[object]:
    config, manager = prepared.config, prepared.manager
    if config.run.dry_run or not any(uses_pod(node) for node in prepared.plan.nodes):
        return nullcontext()
    watch = BalanceWatch(
        prepared.backend.provider().account,
        stop=stop,
        events=prepared.events,
        seconds=config.money.balance_interval,
    )
    manager.register(watch, "balance")
    return watch


def _register(prepared: Prepared, asked: Mapping[str, Sequence[PodRequest]]) -> ManifestPlugin:
    """Register what keeps the record, or in a dry run tells the plan; ``asked`` fills up with the pods asked for."""
    manager, resumed = prepared.manager, prepared.resumed
    keeper = ManifestPlugin(
        redactor=prepared.redactor,
        events=prepared.events,
        resumed=resumed.info if resumed else None,
    )
    if prepared.config.run.dry_run:
        manager.register(DryRunPlugin(prepared.events, prepared.prices, asked, prepared.outlooks), "dry run")
    else:
        manager.register(keeper, "manifest")
    return keeper


def _backend_name(config: Config, plan: Plan, backend: Backend) -> str:
    if config.run.dry_run_live and any(uses_pod(node) for node in plan.nodes):
        return f"dry run: {backend.provider().name} is only asked, nothing is created"
    if config.run.dry_run:
        return "dry run: no network, no key, no pod"
    return backend.provider().name if any(uses_pod(node) for node in plan.nodes) else "no pods needed"


def _is_sold_out(prepared: Prepared, summary: RunSummary, asked: Mapping[str, Sequence[PodRequest]]) -> bool:
    """Whether a live dry run found that a node which would run could get no pod now."""
    outlooks = prepared.outlooks
    if outlooks is None:
        return False
    skipped = {report.node.id for report in summary.reports if report.result.outcome is Outcome.SKIPPED}
    ran = (node for node in prepared.plan.nodes if uses_pod(node) and node.id not in skipped)
    requests = (request for node in ran for request in asked.get(node.id) or (prepared.prices.request(node),))
    return any(outlooks.of(request).is_sold_out for request in requests)


def _exit_code(summary: RunSummary, stop: Stop, gathered: Gathered) -> ExitCode:
    if summary.unreleased:
        return ExitCode.POD_NOT_RELEASED
    if stop.level >= StopLevel.END and stop.is_interrupted:
        return ExitCode.INTERRUPTED
    if any(not report.result.outcome.is_ok for report in summary.reports) or summary.not_run:
        return ExitCode.FAILED
    return ExitCode.INTERRUPTED if gathered.errors else ExitCode.OK
