"""Provision: renting pods for fixtures of any scope, as ``tmp_path_factory`` makes folders."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from rpd.errors import ConnectionLost, DefinitionError, PodNotReady, ProviderError, ReleaseError, RemoteError
from rpd.execute.context import RunContext
from rpd.execute.node.current import current_run
from rpd.execute.node.node_run import NodeRun
from rpd.execute.pod.handle import Pod
from rpd.execute.pod.held import Held
from rpd.execute.pod.kinds import SINGLE, PodKind, kind_of_pods
from rpd.lease import pod_release
from rpd.lease.dry_lease import DryLease
from rpd.lease.fate import Fate
from rpd.lease.lease import Connect, Lease, kind_of
from rpd.lease.naming import pod_name
from rpd.remote.transfer.patience import SHORT_SECONDS
from rpd.stop import StopLevel
from rpd.values.duration import format_duration
from rpd.values.job import Gpu, Job, Release
from rpd.values.never_rented import check_cluster_lifecycle
from rpd.values.pod import renter_of


class Provision:
    """Rents pods. Call it in a ``with`` statement; the pod is released at its end."""

    @contextmanager
    def __call__(self, job: Job | None = None, /, **changes: Any) -> Iterator[Pod]:
        """Rent the pod of ``job`` (default: the job of the current node), with its fields changed by ``changes``.

        It is released as the job's lifecycle says: ``on_failure`` if any node on it did not pass. For a job
        with ``cluster`` the value is a RunningCluster. Raise ProvisioningError, ProviderError, Interrupted,
        and ReleaseError if it may still bill.
        """
        run = current_run()
        context: RunContext = run.context
        if not isinstance(job, Job | None):
            raise DefinitionError("provision", "", "expected a job (its fields go by name: gpu=…)", job)
        pod_job = (job or run.node.job).derive(**_with_gpu(changes))
        pod_job = pod_job.derive(gpu=run.gpu_after_oom(pod_job.gpu))
        check_cluster_lifecycle(pod_job.cluster, pod_job.lifecycle)
        kind = kind_of_pods(pod_job, context.events)
        # Once the pod is rented it must be handed to somebody or released: no deadline cuts in between.
        with run.deadlines.shielded(), run.results.phase("provision"), context.surroundings.as_at_start():
            lease = (
                _adopted(pod_job, run, context, kind)
                or _recycled(pod_job, run, context)
                or _rented(pod_job, run, context, kind)
            )
            _secure(lease, run, context)
        pod = cast("Pod", kind.hold(lease, partial(_handle, pod_job, run, context)))
        try:
            with run.deadlines.shielded():
                _place_files(lease, pod_job, context)
            context.events.pod_ready(node=run.node, pod=lease.rented)
            if lease.other_gpu:
                context.events.notice(f"{run.node.id}: {lease.other_gpu}")
            context.lifetimes.watch(pod)
            yield pod
        except BaseException:
            lease.node_failed()
            raise
        finally:
            # Not ``run``: a wide pod is released by the last node that used it, and that node bears the time.
            with current_run().deadlines.shielded():
                pod.unwatch()
                _give_back(pod, lease, pod_job, current_run(), context)


def _handle(job: Job, run: NodeRun, context: RunContext, lease: Lease) -> Pod:
    """Return the handle of one ready pod."""
    assert lease.remote is not None
    return Pod(
        lease,
        lease.remote,
        stop=context.stop,
        base=context.project(run.node.file),
        secrets=_variables(job, context),
        key_file=context.files.private_key if context.files.on_disk else None,
        known_hosts=context.files.known_hosts if context.files.on_disk else None,
        lifetimes=context.lifetimes,
    )


def _rented(job: Job, run: NodeRun, context: RunContext, kind: PodKind) -> Lease:
    lease = _enter(lambda: pod_name(context.run_id, run.node.id), job, run, context, kind=kind)
    try:
        lease.acquire()
    except ReleaseError as error:
        context.leases.lost(error)
        raise
    except (PodNotReady, ConnectionLost):
        # Other offers come first from now on: this one's machine may be broken.
        if lease.offer is not None:
            context.renting.bad_offers.add(lease.offer)
        raise
    return lease


def _adopted(job: Job, run: NodeRun, context: RunContext, kind: PodKind) -> Lease | None:
    """Return the pod that an earlier process rented for the same purpose, if it is still running."""
    past = context.past.take(run.node.id, run.holder) if context.past else None
    if past is None:
        run.steps.forget_past()
        return None
    lease = _enter(lambda: past.name, job, run, context, kind=kind)
    age = (datetime.now(UTC) - datetime.fromisoformat(past.created)).total_seconds()
    try:
        lease.adopt(past.pod_id, past.offer, max(0.0, age))
    except ReleaseError as error:
        context.leases.lost(error)
        raise
    except (ProviderError, PodNotReady, ConnectionLost) as error:
        context.events.notice(f"{run.node.id}: {error}; starting over")
        run.steps.forget_past()
        return None
    return lease


def _recycled(job: Job, run: NodeRun, context: RunContext) -> Lease | None:
    """Return a stopped pod of the same kind from an earlier node, if the job allows that and the pod starts."""
    wants = job.lifecycle.on_success is Release.RECYCLE
    if not wants or context.renting.recycler is None or context.renting.connect_again is None:
        return None
    kind = kind_of(context.renting.request(job))
    _delete_unwanted(kind, run, context)
    stopped = context.renting.recycler.take(kind, context.renting.provider())
    if stopped is None:
        _tell_outgrown(kind, run, context)
        return None
    if stopped.offer is not None:
        context.cover.admit(run.use, context.renting.request(job), [stopped.offer])
    lease = _enter(
        lambda: stopped.name,
        job,
        run,
        context,
        connect=context.renting.connect_again(stopped.key, stopped.pod_id),
    )
    try:
        lease.revive(stopped.pod_id, stopped.offer, before=stopped.before)
    except ReleaseError as error:
        context.leases.lost(error)
        raise
    except (ProviderError, PodNotReady, ConnectionLost) as error:
        context.events.notice(
            text=f"{run.node.id}: pod {stopped.pod_id} cannot be used again ({error}); renting a new one. It stays "
            f"stopped and keeps its volume until you run rpd stop {stopped.pod_id}"
        )
        return None
    return lease


def _delete_unwanted(kind: str, run: NodeRun, context: RunContext) -> None:
    """Delete stopped pods that only ``--force-fresh`` keeps from being reused: they are of no use, and they bill."""
    assert context.renting.recycler is not None
    for stopped in context.renting.recycler.unwanted(kind, run.node.id, context.renting.provider()):
        try:
            pod = context.renting.provider().get(stopped.pod_id)
            if pod is not None:
                pod_release.delete(context.renting.provider(), pod)
        except ReleaseError as error:
            context.leases.lost(error)
        else:
            context.events.notice(
                text=f"{run.node.id}: --force-fresh: deleted the stopped pod {stopped.pod_id} of run {stopped.run}"
            )


def _tell_outgrown(kind: str, run: NodeRun, context: RunContext) -> None:
    """Name the pods that were stopped for this node and no longer fit it: they will not be used, and they bill."""
    assert context.renting.recycler is not None
    # This is only a hint: if RunPod cannot be reached, renting a pod will report it.
    with suppress(ProviderError):
        for old in context.renting.recycler.outgrown(kind, run.node.id, context.renting.provider()):
            context.events.notice(
                text=f"{run.node.id}: stopped pod {old.pod_id} was made for another request (its image, GPUs, data "
                "centres, disks, ports, environment or start command differ); renting a new one. To delete it: "
                f"rpd stop {old.pod_id}"
            )


def _enter(
    new_name: Callable[[], str],
    job: Job,
    run: NodeRun,
    context: RunContext,
    *,
    connect: Connect | None = None,
    kind: PodKind = SINGLE,
) -> Lease:
    lease = _lease(new_name, job, run, context, connect or context.renting.connect, kind)
    context.leases.add(lease)
    run.use.leases.append(lease)
    return lease


def _with_gpu(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``changes`` with a plain GPU id turned into a Gpu, as a parametrized ``gpu`` usually is one."""
    gpu = changes.get("gpu")
    if isinstance(gpu, str):
        return {**changes, "gpu": Gpu(gpu)}
    if gpu is not None and not isinstance(gpu, Gpu):
        raise DefinitionError("fixture", "gpu", "expected a Gpu(…), a GPU id or None", gpu)
    return dict(changes)


def _lease(
    new_name: Callable[[], str],
    job: Job,
    run: NodeRun,
    context: RunContext,
    connect: Connect,
    kind: PodKind,
) -> Lease:
    """Return a lease for a pod of ``job``, not yet rented; its events go to the journals of run and node."""
    holder = run.holder

    def record(event: str, *, sync: bool = False, **detail: Any) -> None:
        context.journal.write(event, sync=sync, node=run.node.id, holder=holder, **detail)
        if event == "intent":
            context.journal.check()  # never rent a pod that could not be found again
        run.journal.write(event, **detail)
        context.events.pod_event(
            pod_name=detail.get("pod_name", ""), event=event, detail={"node": run.node.id, **detail}
        )

    request = context.renting.request(job)
    provider = renter_of(context.renting.provider(), request)
    admit = partial(context.cover.admit, run.use, request)
    if kind is SINGLE and provider.rents_nothing and not context.mode.keeps_records:
        return DryLease(
            new_name=new_name,
            request=request,
            provider=provider,
            connect=connect,
            stop=context.stop,
            admit=admit,
            env=context.renting.env,
            is_wide=bool(holder),
        )
    return kind.lease(
        new_name=new_name,
        request=request,
        provider=provider,
        view=context.renting.view if kind is SINGLE else None,
        connect=connect,
        record=record,
        stop=context.stop,
        bad_offers=context.renting.bad_offers,
        admit=admit,
        stock_seconds=context.renting.stock_seconds,
        any_gpu=context.renting.any_gpu,
        headroom=context.headroom,
        holder=run.node.id,
        ready_seconds=context.overrides.budget(job.budget).ssh_ready_seconds,
        env=context.renting.env,
        images=context.renting.images,
        ask=context.mode.ask(context.stop),
        is_wide=bool(holder),
        image_of=context.renting.image_of,
        registry_id=context.renting.registries.id_of if context.renting.registries else lambda _wanted: None,
    )


def _variables(job: Job, context: RunContext) -> Mapping[str, str]:
    """Return the secrets that a job's commands get in their environment."""
    values = {secret.name: context.secrets.get(secret.name) for secret in job.secrets if secret.to is None}
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _place_files(lease: Lease, job: Job, context: RunContext) -> None:
    """Write the secrets that are files. Raise TransferError, ConnectionLost, PodLost."""
    for secret in job.secrets:
        value = context.secrets.get(secret.name)
        if secret.to is not None and isinstance(value, bytes):
            for remote in lease.remotes:
                remote.write(secret.to, value, mode=secret.mode)


def _remove_files(lease: Lease, job: Job, how: Release, run: NodeRun, context: RunContext) -> None:
    """Remove the secrets that are files if the pod or its network volume stays."""
    paths = [secret.to for secret in job.secrets if secret.to is not None]
    stays = how is not Release.DELETE or lease.request.storage.network_volume is not None
    if not paths or not stays or context.stop.level >= StopLevel.ABANDON:
        return
    try:
        if lease.remote is None or lease.is_lost:
            raise ConnectionLost("the pod cannot be reached")
        for remote in lease.remotes:
            remote.script(f"rm -f -- {shlex.join(paths)}", timeout=SHORT_SECONDS)
    except RemoteError as error:
        where = "on the pod" if how is not Release.DELETE else "on the network volume"
        context.events.notice(f"{run.node.id}: {', '.join(paths)} may still be {where}: {error}")


def _secure(lease: Lease, run: NodeRun, context: RunContext) -> None:
    """Start the pod's watchdog; release a pod that has none. Raise PodNotReady, ConnectionLost, PodLost."""
    try:
        context.lifetimes.secure(lease, run.use)
    except BaseException:
        lease.node_failed()
        try:
            # Without a watchdog, the pod would bill on if this process died.
            lease.release(Release.DELETE)
        except ReleaseError as error:
            context.leases.lost(error)
        raise


def _give_back(pod: Held, lease: Lease, job: Job, run: NodeRun, context: RunContext) -> None:
    with run.results.phase("release"), context.surroundings.as_at_start():
        fate = context.lifetimes.decide(lease, job.lifecycle, run.use, context.stop.level)
        if fate.why:
            _say_it_stays(pod, lease, fate, run, context)
        try:
            _remove_files(lease, job, fate.how, run, context)
            state = lease.release(fate.how)
        except ReleaseError as error:
            context.leases.lost(error)
            raise
    context.leases.forget_deleted()
    with suppress(RemoteError):  # the nodes on the other pods will see the error
        context.lifetimes.pods_changed(run.use)
    context.events.pod_released(
        pod=lease.rented, final_state=state, usd=lease.age_seconds * lease.total_usd_per_hr / 3600
    )


def _say_it_stays(pod: Held, lease: Lease, fate: Fate, run: NodeRun, context: RunContext) -> None:
    # The command is alone on the last line, so that it can be copied.
    rescue = (
        f"Fetch it:\n  {pod.copy_command(lease.unverified)}"
        if lease.unverified
        else f"Open it:\n  {pod.ssh_command}"
    )
    if context.renting.end_with_run:
        until = "until this --local run and its emulator end"
        context.events.notice(f"{run.node.id}: pod {pod.id} stays ({fate.why}) {until}. {rescue}")
        return
    until = format_duration(lease.lifetime.seconds_left)
    context.events.notice(
        f"{run.node.id}: pod {pod.id} is kept ({fate.why}); it deletes itself within {until}. "
        f"To delete it now: rpd stop {pod.id}. {rescue}"
    )
