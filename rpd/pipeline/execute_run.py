"""Executes a prepared run, from its folder to its exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from rpd.errors import ExitCode, Interrupted, ProviderError, ReleaseError
from rpd.execute.context import RunContext
from rpd.execute.node.current import is_acting_for_node
from rpd.execute.workers import Execution
from rpd.journal import driver_alive, journal
from rpd.journal.files import RunFiles
from rpd.lease import pod_release
from rpd.pipeline.collect_and_select import Gathered
from rpd.pipeline.make_context import make_context
from rpd.pipeline.prepare import Prepared
from rpd.pipeline.stopping import Telling
from rpd.plan import uses_pod
from rpd.stop import Stop, StopLevel
from rpd.uptime import uptime
from rpd.values.pod import PodRequest
from rpd.values.report import Outcome, RunSummary

if TYPE_CHECKING:
    from rpd.pipeline.resume import Resumed


def execute(prepared: Prepared) -> tuple[ExitCode, RunSummary]:
    """Execute a prepared run, and report it; return how it ended. Raise LocalError if there is no run folder."""
    resumed = prepared.resumed
    with nullcontext(resumed.files) if resumed else prepared.backend.files() as files:
        return _drive(prepared, files)


def _drive(prepared: Prepared, files: RunFiles) -> tuple[ExitCode, RunSummary]:
    """Run every node and release every pod, whatever happens; then report, and return exit code and summary."""
    config, backend, plan, resumed = prepared.config, prepared.backend, prepared.plan, prepared.resumed
    stop = prepared.caller.stop
    purse = backend.purse(_spent(resumed))
    context = make_context(prepared, files, stop, purse)
    events = context.events
    keeper = backend.keeper(
        prepared.events,
        prepared.redactor,
        resumed.info if resumed else None,
        prepared.prices,
        prepared.outlooks,
        context.requests,
    )
    execution = Execution(
        plan,
        context,
        failure_limit=config.failure_limit,
        kill=config.run.maxfail_action == "kill",
        purse=purse,
        worst_case=prepared.prices.ceiling,
        hold=prepared.prices.hold,
        done=prepared.done,
    )
    _write_plan(prepared, context)
    started = uptime()
    with Telling(stop, events, has_pods=backend.has_pods) as telling, prepared.caller.while_executing():
        name = backend.describe(plan.kinds)
        backend.leave_word(files, context.disk)
        events.run_started(config=config, plan=plan, backend=name, folder=files.on_disk, done=prepared.done)
        context.surroundings.hold_files(is_acting_for_node)
        _execute(execution, context, partial(backend.balance_watch, plan.kinds, stop, events))
        summary = RunSummary(
            folder=str(files.on_disk or ""),
            reports=execution.reports,
            seconds=uptime() - started,
            deselected=prepared.gathered.deselected,
            not_run=len(plan.nodes) + execution.added + len(prepared.done) - len(execution.reports),
            stop_reason=stop.reason,
            unreleased=context.leases.unreleased,
            leftover=backend.leftover(context.leases.leftover, events),
        )
        # A pod that stays, or may still exist, is reached with the key of the run.
        if not summary.leftover and not summary.unreleased:
            backend.forget_keys(files)
        exit_code = _exit_code(summary, stop, prepared.gathered)
        if exit_code is ExitCode.OK and execution.has_failed:
            exit_code = ExitCode.FAILED
        if exit_code is ExitCode.OK and not summary.reports:  # the sources had nothing to add
            exit_code = ExitCode.NOTHING_COLLECTED
        if exit_code is ExitCode.OK and _is_sold_out(prepared, summary, context.requests):
            exit_code = ExitCode.SOLD_OUT
        keeper.record_exit_code(exit_code)
        telling.settle()
        for sentence in context.asides.sentences():
            events.notice(sentence)
        events.run_finished(config=config, summary=summary)
        context.surroundings.close()  # now, because reports import what only they need
    if exit_code is not ExitCode.POD_NOT_RELEASED:
        prepared.manager.raise_defect()
    return exit_code, summary


def _write_plan(prepared: Prepared, context: RunContext) -> None:
    """Write down what is planned, before anything of it begins. Raise LocalError."""
    nodes = prepared.plan.nodes
    context.journal.write("run_started", sync=True, **driver_alive.identity(), nodes=len(nodes))
    if prepared.resumed is None:
        ids = [node.id for node in nodes]
        more = {**_stand_ins(prepared, ids), **_taken(prepared)}
        context.journal.write(journal.PLANNED, sync=True, ids=ids, **more)
    context.journal.check()


def _execute(
    execution: Execution, context: RunContext, watched: Callable[[], AbstractContextManager[object]]
) -> None:
    """Run every node, and release every pod whatever happens; ``watched`` watches the balance."""
    try:
        with watched():
            execution.run()
    except Interrupted:
        # First, because releasing needs the process as it was, whatever a job did to it.
        context.surroundings.restore()
        context.leases.release_all()
        execution.give_up()
    except BaseException:
        context.surroundings.restore()
        context.leases.release_all()
        raise
    finally:
        context.surroundings.restore()
        for pod in context.leases.try_again():
            context.events.notice(f"pod {pod} was released after all")
        _release_rest(context)
        for text in context.renting.registries.remove_all() if context.renting.registries else ():
            context.events.notice(text)
        context.journal.close()


def _stand_ins(prepared: Prepared, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the nodes that sources took out of the plan: a resumed run gives them those again."""
    if not prepared.plan.sources:
        return {}
    planned = frozenset(ids)
    return {journal.STAND_INS: [node.id for node in prepared.gathered.nodes if node.id not in planned]}


def _taken(prepared: Prepared) -> dict[str, object]:
    """Return the folders of earlier results that nodes of this run need: a resumed run uses the same ones."""
    if prepared.gathered.graph is None:
        return {}
    needed = {need for node in prepared.gathered.nodes for need in node.needs}
    stands = {need: ids for need, ids in prepared.gathered.graph.left.stands.items() if need in needed}
    needed.update(each for ids in stands.values() for each in ids)
    taken = {report.node.id: report.folder for report in prepared.done if report.node.id in needed}
    return {**({journal.TAKEN: taken} if taken else {}), **({journal.STANDS: stands} if stands else {})}


def _release_rest(context: RunContext) -> None:
    """Delete the pods of an earlier process that no node had a use for any more."""
    for left in context.past.rest() if context.past else ():
        from rpd.pipeline.whole_account import WholeAccount  # few runs continue another

        try:
            account = WholeAccount(context.renting.provider())
            pod = next((pod for pod in account.list() if pod.name == left.name), None)
            if pod is not None:
                pod_release.delete(account, pod)
            elif not account.sees_clusters:  # it may be one of those
                raise ProviderError("clusters cannot be listed")
            context.journal.write(
                "released", sync=True, pod_name=left.name, pod_id=left.pod_id, final_state="deleted"
            )
        except ReleaseError as error:
            context.leases.lost(error)
        except ProviderError as error:
            context.leases.lost(ReleaseError(left.pod_id, left.name, str(error)))


def _spent(resumed: Resumed | None) -> float:
    """Return the cost of a resumed run's finished nodes: its budget is that of the whole run."""
    return sum(report.cost.estimated_usd for report in resumed.reports) if resumed else 0.0


def _is_sold_out(
    prepared: Prepared, summary: RunSummary, requests: Mapping[str, Sequence[PodRequest]]
) -> bool:
    """Return whether a live dry run found that a node which would run could get no pod now."""
    outlooks = prepared.outlooks
    if outlooks is None:
        return False
    skipped = {report.node.id for report in summary.reports if report.result.outcome is Outcome.SKIPPED}
    ran = (node for node in prepared.plan.kinds if uses_pod(node) and node.id not in skipped)
    rented = (
        request for node in ran for request in requests.get(node.id) or (prepared.prices.request(node),)
    )
    return any(outlooks.of(request).is_sold_out for request in rented)


def _exit_code(summary: RunSummary, stop: Stop, gathered: Gathered) -> ExitCode:
    if summary.unreleased:
        return ExitCode.POD_NOT_RELEASED
    if stop.level >= StopLevel.END and stop.is_interrupted:
        return ExitCode.INTERRUPTED
    if any(not report.result.outcome.is_ok for report in summary.reports) or summary.not_run:
        return ExitCode.FAILED
    return ExitCode.INTERRUPTED if gathered.errors else ExitCode.OK
