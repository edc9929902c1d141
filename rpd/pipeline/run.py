"""The run: gather, plan, check, execute, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.config import Config
from rpd.errors import (
    ExitCode,
    Interrupted,
    LocalError,
    NothingCollected,
    ProviderError,
    ReleaseError,
    UsageError,
)
from rpd.events import Events
from rpd.execute.context import RunContext
from rpd.execute.local_disk import Disk
from rpd.execute.node.log import Masker
from rpd.execute.price_ceiling import Cover
from rpd.execute.run_budget import Purse
from rpd.execute.user_tracebacks import Style
from rpd.execute.workers import Execution
from rpd.hooks import PluginManager
from rpd.journal import driver_alive, journal, replay
from rpd.journal.files import RunFiles
from rpd.journal.journal import FileJournal, NoJournal
from rpd.journal.lock import RunLock
from rpd.lease import pod_release
from rpd.lease.lease import Connect
from rpd.lease.recycle import Recycler
from rpd.pipeline.backend import FarEnd
from rpd.pipeline.balance_watch import BalanceWatch
from rpd.pipeline.check_datacenters import check_datacenters
from rpd.pipeline.check_upload_size import check_staging, own_output
from rpd.pipeline.collect_and_select import Gathered, gather
from rpd.pipeline.dryrun import DryRunPlugin
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.reports import add_reports
from rpd.pipeline.resume import Resumed
from rpd.pipeline.secrets import known_secrets, read_secrets, secret_files
from rpd.pipeline.signals import handled
from rpd.pipeline.stopping import Telling
from rpd.pipeline.unchanged_filter import Changed
from rpd.pipeline.variables import check_variables, read_variables
from rpd.pipeline.worst_case import Prices, check_balance, confirm, make_overrides
from rpd.plan import make_plan, uses_pod
from rpd.project.own_output import OwnOutput
from rpd.project.source import Sources
from rpd.project.upload_size import Scales
from rpd.record.plugin import ManifestPlugin
from rpd.record.redact import Redactor
from rpd.record.report_output import write_report
from rpd.remote import dry_run
from rpd.stop import Stop, StopLevel
from rpd.values.overrides import Overrides
from rpd.values.plan import Plan
from rpd.values.pod import PodRequest
from rpd.values.report import NodeReport, Outcome, RunSummary, SourceRecord

if TYPE_CHECKING:
    from rpd.pipeline.live_check import Outlooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an invocation ended; ``summary`` is None where nothing was run."""

    exit_code: ExitCode
    gathered: Gathered
    summary: RunSummary | None = None


def run(config: Config, manager: PluginManager, redactor: Redactor, resumed: Resumed | None = None) -> Ended:
    """Carry out ``rpd run``: live, on an emulator, or dry; ``redactor`` learns every secret of the run.

    With ``resumed`` an earlier run is carried on instead of a new one begun.
    Raises UsageError and AuthError; then nothing was created.
    """
    _add_junit(config, manager, redactor)
    add_reports(config, manager, redactor)
    own = own_output(config)
    changed = _add_changed(config, manager, own)
    gathered = gather(config, manager)
    if resumed is not None:
        for text in resumed.damage:
            _notice(manager, text)
        gathered = replace(gathered, nodes=resumed.left_of(gathered.nodes))
    cached = tuple(changed.cached.values()) if changed else ()
    gathered = replace(gathered, deselected=gathered.deselected - len(cached))
    done = (*(resumed.reports if resumed else ()), *cached)
    stopped = _cannot_run(config, gathered)
    if stopped is not None and not (stopped is NothingCollected.exit_code and (resumed or cached)):
        return Ended(exit_code=stopped, gathered=gathered)
    variables = read_variables(config)
    check_variables(config, gathered.nodes, variables, partial(_notice, manager))
    overrides = make_overrides(config)
    far_end = FarEnd(config, manager)
    needs_pods = any(uses_pod(node) for node in gathered.nodes) or resumed is not None
    try:
        if needs_pods:
            far_end.prepare(gathered.nodes)
        foresight = Foresight(config, gathered.nodes)
        prices = Prices(far_end.provider, overrides, foresight)
        outlooks = _outlooks(far_end, manager, prices) if config.run.dry_run_live and needs_pods else None
        plan = _plan(config, manager, gathered, prices)
        prices.check()
        prices.tell_unforeseen(partial(_notice, manager), dry=config.run.dry_run)
        check_datacenters(config, plan.nodes, far_end.provider, partial(_notice, manager))
        secrets: Mapping[str, str] = {} if config.run.dry_run else read_secrets(plan.nodes)
        _learn(redactor, manager, known_secrets(plan.nodes) if config.run.dry_run else secrets)
        if needs_pods and not config.run.dry_run:
            check_balance(far_end.provider().account(), plan.worst_case_usd, partial(_notice, manager))
        if outlooks is not None:
            outlooks.look(plan.nodes, plan.worst_case_usd)
        scales = Scales(own)
        check_staging(config, plan.nodes, foresight, scales, partial(_notice, manager))
        if not confirm(config, plan.worst_case_usd):
            return Ended(exit_code=ExitCode.INTERRUPTED, gathered=gathered)
        return _execute(
            _Prepared(
                config=config,
                manager=manager,
                redactor=redactor,
                gathered=gathered,
                plan=plan,
                far_end=far_end,
                prices=prices,
                outlooks=outlooks,
                overrides=overrides,
                variables=variables,
                secrets=secrets,
                resumed=resumed,
                done=done,
                scales=scales,
                own=own,
            )
        )
    finally:
        far_end.close()


def _add_changed(config: Config, manager: PluginManager, own: OwnOutput) -> Changed | None:
    """Register what passes over unchanged nodes, if that is wanted. Raises UsageError."""
    if config.select.explain and not config.select.changed:
        raise UsageError("--explain tells why --changed runs a node or not: give both")
    if not config.select.changed:
        return None
    explain = partial(_notice, manager) if config.select.explain else None
    changed = Changed(config, read_variables(config), explain, own)
    manager.register(changed, "changed")
    return changed


def _add_junit(config: Config, manager: PluginManager, redactor: Redactor) -> None:
    """Register the JUnit report, if one is wanted. Raises UsageError."""
    if config.output.junit_xml is None or manager.is_blocked("junit"):
        return
    path = config.invocation_dir / Path(config.output.junit_xml).expanduser()
    if path.is_dir():
        raise UsageError(f"--junitxml {config.output.junit_xml}: expected a file, but this is a folder")
    from rpd.junit import Junit  # few runs write one

    notice = partial(_notice, manager)
    manager.register(Junit(path, redact=redactor.text, write=write_report, notice=notice), "junit")


def _notice(manager: PluginManager, text: str) -> None:
    Events(manager).notice(text=text)


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


def _learn(redactor: Redactor, manager: PluginManager, secrets: Mapping[str, str]) -> None:
    """Have the secrets masked from now on, wherever they would be told."""
    for name, value in secrets.items():
        warning = redactor.learn(value)
        if warning:
            _notice(manager, f"secret {name}: {warning}")


def _forget_keys(files: RunFiles) -> None:
    """Remove the keys of the run unless a pod that this or an earlier process of it left still needs them."""
    with suppress(OSError):  # what cannot be read may tell of such a pod
        if not replay.unreleased(files.journal):
            files.forget_keys()


def _cannot_run(config: Config, gathered: Gathered) -> ExitCode | None:
    is_over = config.error_limit is not None and len(gathered.errors) >= config.error_limit
    if gathered.errors and (is_over or not config.collect.continue_on_collection_errors):
        return ExitCode.INTERRUPTED
    if not gathered.nodes:
        return NothingCollected.exit_code
    return None


def _plan(config: Config, manager: PluginManager, gathered: Gathered, prices: Prices) -> Plan:
    plan = make_plan(gathered.nodes, width=config.run.width, worst_case=prices.ceiling)
    changed: Plan | None = Events(manager).modify_plan(config=config, plan=plan)
    if not isinstance(changed, Plan | None):
        raise UsageError(f"rpd_modify_plan: expected a Plan or None, got {changed!r}")
    return plan if changed is None else changed


def _outlooks(far_end: FarEnd, manager: PluginManager, prices: Prices) -> Outlooks:
    """Return what a live dry run asks with. Raises AuthError, and ProviderError where RunPod does not answer."""
    from rpd.pipeline.live_check import Outlooks  # what asks over the network is of no use to the other runs

    return Outlooks(far_end.provider, prices, partial(_notice, manager))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """All a run needs to be carried out, checked: nothing has been created yet."""

    config: Config
    manager: PluginManager
    redactor: Redactor
    gathered: Gathered
    plan: Plan
    far_end: FarEnd
    prices: Prices
    outlooks: Outlooks | None
    overrides: Overrides
    variables: Mapping[str, Any]
    secrets: Mapping[str, str]
    resumed: Resumed | None
    done: tuple[NodeReport, ...]
    """Reports of nodes that need not run: they are over in a resumed run, or cached."""
    scales: Scales
    own: OwnOutput


def _execute(prepared: _Prepared) -> Ended:
    config, resumed = prepared.config, prepared.resumed
    if resumed is not None or config.run.dry_run:
        return _carry_out(prepared, resumed.files if resumed else None)
    files = RunFiles.create(config.runs_path)
    try:
        lock = RunLock.take(files.folder)
    except OSError as error:
        raise LocalError(f"the run folder {files.folder} cannot be locked", error) from error
    with lock:
        return _carry_out(prepared, files)


def _carry_out(prepared: _Prepared, files: RunFiles | None) -> Ended:
    config, manager, plan, resumed = prepared.config, prepared.manager, prepared.plan, prepared.resumed
    asked: dict[str, Sequence[PodRequest]] = {}
    keeper = _register(prepared, asked)
    stop = Stop()
    purse = Purse(config.money.budget, spent=_spent(resumed))
    context = _context(prepared, files, stop, purse, asked)
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
    with Telling(stop, Events(manager)) as telling, _signals(config, stop, telling):
        far_end = _far_end_name(config, plan, prepared.far_end)
        if files is not None:
            try:
                prepared.far_end.leave_word(files.emulator)
            except OSError as error:
                context.disk.failed(
                    files.emulator, error, "other commands cannot reach the emulator of this run"
                )
        Events(manager).run_started(
            config=config,
            plan=plan,
            far_end=far_end,
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
            context.surroundings.restore()
            for pod in context.leases.try_again():
                Events(manager).notice(text=f"pod {pod} is released after all")
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
            leftover=_leftover(config, manager, context),
        )
        if files is not None and not summary.leftover and not summary.unreleased:
            _forget_keys(files)
        exit_code = _exit_code(summary, stop, prepared.gathered)
        if exit_code is ExitCode.OK and _is_sold_out(prepared, summary, asked):
            exit_code = ExitCode.SOLD_OUT
        keeper.record_exit_code(exit_code)
        telling.settle()
        for told in context.asides.told():
            Events(manager).notice(text=told)
        Events(manager).run_finished(config=config, summary=summary)
    if exit_code is not ExitCode.POD_NOT_RELEASED:
        manager.raise_defect()
    return Ended(exit_code=exit_code, gathered=prepared.gathered, summary=summary)


def _spent(resumed: Resumed | None) -> float:
    """Return what the nodes of a resumed run cost that are over: its budget is that of the whole run."""
    return sum(report.cost.estimated_usd for report in resumed.reports) if resumed else 0.0


def _leftover(config: Config, manager: PluginManager, context: RunContext) -> tuple[str, ...]:
    """Return the pods that stay and bill when the run is over; those of an emulator of its own end with it."""
    if config.run.dry_run:
        return ()
    leftover = context.leases.leftover
    if config.run.local and leftover:
        Events(manager).notice(
            text=f"nothing stays and nothing bills: {', '.join(leftover)} went with the emulator of this --local run "
            "(rpd emulator runs one that stays)"
        )
        return ()
    return leftover


def _balance_watched(prepared: _Prepared, stop: Stop) -> AbstractContextManager[object]:
    config, manager = prepared.config, prepared.manager
    if config.run.dry_run or not any(uses_pod(node) for node in prepared.plan.nodes):
        return nullcontext()
    watch = BalanceWatch(
        prepared.far_end.provider().account,
        stop=stop,
        notice=partial(_notice, manager),
        seconds=config.money.balance_interval,
    )
    manager.register(watch, "balance")
    return watch


def _register(prepared: _Prepared, asked: Mapping[str, Sequence[PodRequest]]) -> ManifestPlugin:
    """Register what keeps the record, or in a dry run tells the plan; ``asked`` fills up with the pods asked for."""
    manager, resumed = prepared.manager, prepared.resumed
    keeper = ManifestPlugin(
        redactor=prepared.redactor,
        notice=lambda text: Events(manager).notice(text=text),
        resumed=resumed.info if resumed else None,
    )
    if prepared.config.run.dry_run:
        manager.register(DryRunPlugin(Events(manager), prepared.prices, asked, prepared.outlooks), "dry run")
    else:
        manager.register(keeper, "manifest")
    return keeper


def _journal(files: RunFiles, redactor: Redactor, disk: Disk) -> FileJournal:
    def failed(error: OSError) -> None:
        disk.failed(files.journal, error, "its events are kept until there is room")

    return FileJournal(files.journal, redactor.data, failed)


def _context(
    prepared: _Prepared,
    files: RunFiles | None,
    stop: Stop,
    purse: Purse,
    asked: dict[str, Sequence[PodRequest]],
) -> RunContext:
    config, manager, redactor = prepared.config, prepared.manager, prepared.redactor
    ssh = _ssh(files, config.pods.ssh["give_up_after"])
    masker: Callable[[], Masker] = redactor.stream if files else lambda: _PLAIN

    def mask_bytes(data: bytes) -> bytes:
        stream = redactor.stream()
        return stream.feed(data) + stream.flush()

    disk = Disk(stop, lambda text: _notice(manager, redactor.text(text)))
    sources = Sources(files.folder, mask_bytes, partial(_notice, manager)) if files else None
    if sources is not None:
        pods = filter(uses_pod, prepared.plan.nodes)
        sources.read_ahead({(config.rootdir / node.file).parent: None for node in pods})
    return RunContext(
        rootdir=config.rootdir,
        runs_path=config.runs_path,
        run_id=files.run_id if files else "dryrun",
        files=files,
        journal=_journal(files, redactor, disk) if files else NoJournal(),
        events=Events(manager),
        stop=stop,
        disk=disk,
        provider=prepared.far_end.provider,
        connect=ssh.connect,
        connect_again=ssh.connect_again,
        recycler=_recycler(config, files),
        overrides=prepared.overrides,
        cover=Cover(
            worst_case=prepared.prices.ceiling,
            budget_of=lambda node: prepared.overrides.budget(node.job.budget),
            total=prepared.plan.worst_case_usd,
            purse=purse,
        )
        if files
        else None,
        asked=asked,
        variables=prepared.variables,
        redact=redactor.data,
        mask=redactor.text if redactor.patterns else _unchanged,
        masker=masker,
        secrets=prepared.secrets,
        pod_env=ssh.pod_env,
        past=prepared.resumed.past if prepared.resumed else None,
        stock_seconds=config.money.wait_for_stock or 0.0,
        trace_style=_trace_style(config),
        secret_files=secret_files(prepared.plan.nodes),
        scales=prepared.scales,
        own=prepared.own,
        config=config,
        source=sources.of if sources else _no_source,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ssh:
    """How pods are reached, and the environment they are created with so that they can be."""

    connect: Connect
    connect_again: Callable[[Path, str], Connect] | None
    pod_env: Mapping[str, str]


def _recycler(config: Config, files: RunFiles | None) -> Recycler | None:
    if files is None:
        return None
    return Recycler(config.runs_path, only_of=files.run_id if config.pods.force_fresh else "")


def _trace_style(config: Config) -> Style:
    return Style(
        source=config.output.traceback == "long",
        native=config.output.traceback == "native",
        full=config.output.full_trace,
        values=config.output.show_locals,
    )


def _ssh(files: RunFiles | None, give_up: float) -> _Ssh:
    if files is None:
        return _Ssh(
            connect=dry_run.connect, connect_again=None, pod_env={"PUBLIC_KEY": "(a key made for this run)"}
        )
    from rpd.remote.keys import make_keypair, user_public_lines
    from rpd.remote.ssh import connect, forget_pin

    try:
        keys = make_keypair(files.keys)
    except OSError as error:
        raise LocalError(f"the SSH key of the run cannot be written to {files.keys}", error) from error
    known_hosts = files.known_hosts

    def connect_with(private_key: Path) -> Connect:
        return partial(connect, private_key=private_key, known_hosts=known_hosts, give_up=give_up)

    def connect_again(private_key: Path, pod_id: str) -> Connect:
        forget_pin(known_hosts, pod_id)
        return connect_with(private_key)

    return _Ssh(
        connect=connect_with(keys.private_key),
        connect_again=connect_again,
        pod_env={"PUBLIC_KEY": "\n".join([keys.public_line, *user_public_lines()])},
    )


class _Plain:
    """The masker of a dry run: there is no output."""

    def feed(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


_PLAIN = _Plain()


def _no_source(_project: Path) -> SourceRecord:
    return SourceRecord()


def _unchanged(text: str) -> str:
    return text


def _signals(config: Config, stop: Stop, telling: Telling) -> AbstractContextManager[object]:
    return nullcontext() if config.run.dry_run else handled(stop, telling.say)


def _far_end_name(config: Config, plan: Plan, far_end: FarEnd) -> str:
    if config.run.dry_run_live and any(uses_pod(node) for node in plan.nodes):
        return f"dry run: {far_end.provider().name} is only asked, nothing is created"
    if config.run.dry_run:
        return "dry run: no network, no key, no pod"
    return far_end.provider().name if any(uses_pod(node) for node in plan.nodes) else "no pods needed"


def _is_sold_out(prepared: _Prepared, summary: RunSummary, asked: Mapping[str, Sequence[PodRequest]]) -> bool:
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
