"""From files to a run that can be executed: collect, plan, price, check, ask. Nothing is created on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpd.config import Config
from rpd.config.config import SearchSettings
from rpd.errors import ExitCode, NothingCollected, UsageError
from rpd.events import Events
from rpd.hooks import PluginManager
from rpd.pipeline.backend import Backend
from rpd.pipeline.caller import Caller
from rpd.pipeline.check_datacenters import check_datacenters
from rpd.pipeline.check_upload_size import check_staging, own_output
from rpd.pipeline.collect_and_select import Gathered, check_nodes, gather
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.image_digests import ImageDigests
from rpd.pipeline.open_files import allow_files
from rpd.pipeline.reports import add_reports
from rpd.pipeline.secrets import Value, texts_to_mask
from rpd.pipeline.variables import check_variables, read_variables
from rpd.pipeline.worst_case import Prices, at_most_usd, check_set_aside, make_overrides, may_start
from rpd.plan import make_plan, uses_pod
from rpd.project.own_output import OwnOutput
from rpd.project.upload_size import Scales
from rpd.redaction import Redactor
from rpd.values.frozen import frozen, replace
from rpd.values.mark import SEARCH
from rpd.values.node import Node
from rpd.values.overrides import Overrides
from rpd.values.plan import Earlier, Plan
from rpd.values.report import NodeReport

if TYPE_CHECKING:
    from rpd.pipeline.live_check import Outlooks
    from rpd.pipeline.resume import Resumed
    from rpd.pipeline.unchanged_filter import Changed


@frozen
class Chosen:
    """Which nodes a run is about. ``exit_code`` is set where none of them can run: that is how it ends then."""

    gathered: Gathered
    done: tuple[NodeReport, ...]
    """Reports of nodes that need not run: they are over in a resumed run, or cached."""
    own: OwnOutput
    exit_code: ExitCode | None = None


@frozen
class Prepared:
    """A run that can be executed: everything is checked, and nothing has been created yet."""

    config: Config
    manager: PluginManager
    events: Events
    redactor: Redactor
    gathered: Gathered
    plan: Plan
    backend: Backend
    caller: Caller
    prices: Prices
    outlooks: Outlooks | None
    overrides: Overrides
    variables: Mapping[str, Any]
    secrets: Mapping[str, Value]
    resumed: Resumed | None
    done: tuple[NodeReport, ...]
    """Reports of nodes that need not run: they are over in a resumed run, or cached."""
    scales: Scales
    own: OwnOutput
    digests: ImageDigests


def choose(
    config: Config, manager: PluginManager, redactor: Redactor, resumed: Resumed | None = None
) -> Chosen:
    """Register the reports, collect, select, and leave out nodes that are done. Raise UsageError."""
    events = Events(manager)
    _add_junit(config.output.junit_xml, config.invocation_dir, manager, events, redactor)
    if not config.run.dry_run:
        add_reports(manager, redactor)
    own = own_output(config)
    changed = _add_changed(config, manager, events, own)
    gathered = gather(config, manager, lambda: changed.cached if changed else ())
    if gathered.graph:
        manager.register(gathered.graph.left, "graph")
        if changed:
            changed.follow(gathered.graph.left)
    if resumed is not None:
        for text in resumed.damage:
            events.notice(text)
        left = resumed.left_of(gathered.nodes, are_all=not gathered.errors)
        gathered = replace(gathered, nodes=left)
        if gathered.graph:
            gathered.graph.go_on(gathered.nodes, resumed.taken.stands, resumed.taken.gone)
    cached = tuple(changed.cached.values()) if changed else ()
    taken = gathered.graph.taken if gathered.graph else ()
    collected = {node.id for node in gathered.collection.nodes} if cached or taken else ()
    gone = sum(report.node.id in collected for report in (*cached, *taken))
    gathered = replace(gathered, deselected=gathered.deselected - gone)
    stopped = _cannot_run(gathered, config.error_limit, goes_on=config.collect.continue_on_collection_errors)
    if stopped is NothingCollected.exit_code and (resumed or cached):
        stopped = None
    done = (*((*resumed.reports, *resumed.taken.reports) if resumed else ()), *cached, *taken)
    return Chosen(gathered=gathered, done=done, own=own, exit_code=stopped)


def prepare(
    config: Config,
    manager: PluginManager,
    redactor: Redactor,
    backend: Backend,
    chosen: Chosen,
    caller: Caller,
    resumed: Resumed | None = None,
) -> Prepared | None:
    """Plan and price the chosen nodes, check all that can be checked, and ask; None: the answer was no.

    ``redactor`` learns every secret of the run. Raise UsageError, AuthError and ProviderError.
    """
    events, gathered = Events(manager), chosen.gathered
    variables = read_variables(config.collect, config.invocation_dir)
    check_variables(config.collect, gathered.nodes, variables, events)
    if resumed is None:
        _check_studies(config.search, gathered.nodes)
    overrides = make_overrides(config)
    needs_pods = any(map(uses_pod, gathered.nodes)) or (resumed is not None and resumed.has_rented)
    if needs_pods:
        backend.prepare(gathered.nodes)
    foresight = Foresight(config, gathered.nodes)
    prices = Prices(backend.provider, overrides, foresight)
    outlooks = backend.outlooks(prices, events, gathered.nodes) if needs_pods else None
    plan = _plan(config, events, gathered, prices, _earlier(chosen, resumed))
    if gathered.graph and gathered.graph.brought:
        events.notice(gathered.graph.tell_brought(gathered.nodes, prices.ceiling))
    prices.check()
    check_set_aside(config.money.budget, plan, prices)
    prices.tell_unforeseen(events, finds_out=not backend.has_pods)
    kinds = plan.kinds
    for warning in check_datacenters(config.pods.datacenter_id, kinds, backend.provider):
        events.notice(warning)
    secrets = backend.secrets(kinds)
    _learn(redactor, events, secrets)
    most = at_most_usd(config.money.budget, plan)
    warning = backend.balance_warning(most) if needs_pods else ""
    if warning:
        events.notice(warning)
    digests = backend.digests(secrets)
    digests.ask_ahead(kinds)
    too_few = allow_files(min(plan.width, plan.most)) if backend.has_pods and needs_pods else None
    if too_few:
        events.notice(too_few)
    if outlooks is not None:
        outlooks.look(kinds, plan.worst_case_usd)
    scales = Scales(chosen.own)
    check_staging(
        config.rootdir,
        kinds,
        foresight,
        scales,
        events,
        limit_mb=config.pods.stage_limit_mb,
        is_verbose=config.output.verbose > 0,
    )
    if needs_pods:
        for text in backend.check_images(kinds, secrets, digests):
            events.notice(text)
    _check_policies(config, plan, prices, events, is_resumed=resumed is not None)
    limit = config.asks_above_usd
    if resumed is not None and limit is not None:
        # What was agreed to when the run was started needs no second answer. Sums may differ in the last digit.
        limit = max(limit, resumed.info.worst_case_usd + 0.004)
    if not may_start(limit, most, plan, prices, events, caller.confirm):
        return None
    return Prepared(
        config=config,
        manager=manager,
        events=events,
        redactor=redactor,
        gathered=gathered,
        plan=plan,
        backend=backend,
        caller=caller,
        prices=prices,
        outlooks=outlooks,
        overrides=overrides,
        variables=variables,
        secrets=secrets,
        resumed=resumed,
        done=chosen.done,
        scales=scales,
        own=chosen.own,
        digests=digests,
    )


def _check_studies(search: SearchSettings, nodes: Sequence[Node]) -> None:
    """Raise UsageError for a flag about a study where none is selected: everything else would run instead."""
    flags = {"--trial": search.trial, "--continue-study": search.continue_study}
    flag = next((name for name, value in flags.items() if value is not None), None)
    if flag is not None and all(node.mark(SEARCH) is None for node in nodes):
        raise UsageError(
            f"{flag}: no selected node is a study: name one, as `rpd collect -m {SEARCH}` lists them"
        )


def _check_policies(config: Config, plan: Plan, prices: Prices, events: Events, *, is_resumed: bool) -> None:
    """Raise UsageError for a run that a policy refuses; for a free one only report the refusal."""
    if "policy" not in config.sources and not os.environ.get("RPD_POLICY"):
        return
    if config.command == "plan":  # it asks about the nodes that would run
        return
    from rpd.pipeline.policy import check_policies  # few projects have one

    refused = check_policies(config, plan, prices, is_resumed=is_resumed)
    if not refused or config.run.local:
        return
    if config.run.dry_run:
        for text in refused:
            events.notice(f"a policy would refuse this run: {text}")
        return
    raise UsageError("a policy refuses this run: " + "\n  ".join(["", *refused]).strip())


def _add_changed(config: Config, manager: PluginManager, events: Events, own: OwnOutput) -> Changed | None:
    """Register the plugin that leaves out unchanged nodes, for ``--changed``. Raise UsageError."""
    if config.select.explain and not config.select.changed:
        raise UsageError("--explain says why --changed runs a node or not: pass both")
    if not config.select.changed:
        return None
    variables = read_variables(config.collect, config.invocation_dir)
    from rpd.pipeline.unchanged_filter import Changed

    changed = Changed(config, variables, own, events, explain=config.select.explain)
    manager.register(changed, "changed")
    return changed


def _add_junit(
    file: str | None, folder: Path, manager: PluginManager, events: Events, redactor: Redactor
) -> None:
    """Register the JUnit report, if one is wanted. Raise UsageError."""
    if file is None or manager.is_blocked("junit"):
        return
    from rpd.junit import Junit  # few runs write one
    from rpd.record.report_output import report_path, write_report

    path = report_path("--junitxml", file, folder)
    manager.register(Junit(path, redactor=redactor, write=write_report, events=events), "junit")


def _learn(redactor: Redactor, events: Events, secrets: Mapping[str, Value]) -> None:
    """Mask the secrets from now on, in everything that is written."""
    for name, value in secrets.items():
        for text in texts_to_mask(value):
            warning = redactor.learn(text)
            if warning:
                events.notice(f"secret {name}: {warning}")


def _cannot_run(gathered: Gathered, error_limit: int | None, *, goes_on: bool) -> ExitCode | None:
    is_over = error_limit is not None and len(gathered.errors) >= error_limit
    if gathered.errors and (is_over or not goes_on):
        return ExitCode.INTERRUPTED
    if not gathered.nodes:
        return NothingCollected.exit_code
    return None


def _earlier(chosen: Chosen, resumed: Resumed | None) -> Earlier:
    if resumed is None:
        return Earlier(reports=chosen.done)
    return Earlier(added=resumed.added, reports=chosen.done, folder=str(resumed.files.folder))


def _plan(config: Config, events: Events, gathered: Gathered, prices: Prices, earlier: Earlier) -> Plan:
    nodes = list(gathered.nodes)
    sources = events.make_sources(config=config, nodes=nodes, earlier=earlier)
    plan = make_plan(nodes, width=config.run.width, worst_case=prices.ceiling, sources=sources)
    changed: Plan | None = events.modify_plan(config=config, plan=plan)
    if changed is None:
        return plan
    if not isinstance(changed, Plan):
        raise UsageError(f"rpd_modify_plan: expected a Plan or None, got {changed!r}")
    if changed.width < 1:
        raise UsageError(f"rpd_modify_plan: width: expected 1 or more, got {changed.width!r}")
    check_nodes(changed.nodes, "rpd_modify_plan")
    return changed
