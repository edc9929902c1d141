"""``rpd ps``, ``rpd stop`` and ``rpd gc``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rpd.cli.command_options import PsOptions, StopOptions
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.cli.provider_session import code_after, own_account, provider_of
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, ProviderError, ReleaseError, UsageError
from rpd.hooks import PluginManager
from rpd.lease import pod_release, registries
from rpd.pipeline import orphans
from rpd.pipeline.orphans import Claim, Claims, Leftover
from rpd.pipeline.whole_account import WholeAccount
from rpd.values.duration import format_duration
from rpd.values.pod import PodInfo, PodStatus, Provider
from rpd.values.prices import stopped_usd_per_month

_HEAD = ("POD", "NODE", "RUN", "STATE", "AGE", "GPU", "DC", "$/H", "SINCE", "SO FAR", "LEFT")


def ps(config: Config, manager: PluginManager) -> int:
    """List the pods of the account, ours apart from others, with the price and remaining time of each.

    With ``--exit-code`` the exit code is 1 if there are any.
    """
    own: PsOptions = config.own
    del manager
    with own_account(config, {"pods": [], "totals": _totals([])}) as provider:
        if provider is None:
            return ExitCode.OK
        pods = sorted(provider.list(), key=lambda pod: (not orphans.is_ours(pod), pod.name))
    all_claims = _claims(config.runs_path)
    now = time.time()
    pods = [pod for pod in pods if _is_wanted(pod, all_claims.of(pod), own, now)]
    _print(pods, all_claims, now, as_json=config.output.as_json)
    return code_after(provider, ExitCode.FAILED if pods and own.exit_code else ExitCode.OK)


_STALE = ("stopped", "kept", "left behind", "unclear")
"""States of pods that no run uses, as far as is known here."""


def _is_wanted(pod: PodInfo, claim: Claim | None, own: PsOptions, now: float) -> bool:
    """Return whether ``rpd ps`` lists a pod; one of unknown age may be old."""
    if own.stale and not (orphans.is_ours(pod) and orphans.state(pod, claim) in _STALE):
        return False
    seconds = _age(pod, claim, now)
    return own.older_than is None or seconds is None or seconds >= own.older_than


def _age(pod: PodInfo, claim: Claim | None, now: float) -> float | None:
    """Return for how long (s) a pod has been stopped, or else rented; None if unknown."""
    is_stopped = pod.status is PodStatus.EXITED
    at = orphans.stopped_at(pod, claim) if is_stopped else orphans.bills_since(pod, claim)
    return None if at is None else max(0.0, now - at)


def _print(pods: Sequence[PodInfo], known: Claims, now: float, *, as_json: bool) -> None:
    if as_json:
        say_document({"pods": [_as_json(pod, known.of(pod), now) for pod in pods], "totals": _totals(pods)})
    elif not pods:
        say("no pods")
    else:
        say("\n".join(_lines(pods, known, now)))


def _totals(pods: Sequence[PodInfo]) -> dict[str, object]:
    rates = [orphans.usd_per_hr(pod) for pod in pods]
    stopped = sum(pod.volume_gb for pod in pods if pod.status is PodStatus.EXITED and orphans.is_ours(pod))
    return {
        "pods": _counted(pods),
        "ours": _counted(list(filter(orphans.is_ours, pods))),
        "usd_per_hr": sum(rate for rate in rates if rate is not None),
        "unknown_rates": rates.count(None),
        "stopped_usd_per_month": stopped_usd_per_month(stopped),
    }


def _claims(runs_path: Path) -> Claims:
    """Return the claims in the journals here; report damage in them on stderr."""
    claims = orphans.claims(runs_path)
    for damage in claims.damage:
        note(f"rpd: {damage}")
    return claims


def _as_json(pod: PodInfo, claim: Claim | None, now: float) -> dict[str, object]:
    return {
        **asdict(pod),
        "ours": orphans.is_ours(pod),
        "run": claim.run if claim else None,
        "node": claim.node if claim else None,
        "state": orphans.state(pod, claim),
        "total_usd_per_hr": orphans.usd_per_hr(pod),
        "stopped_usd_per_month": stopped_usd_per_month(pod.volume_gb),
        "seconds_left": orphans.seconds_left(pod, claim, now),
        "age_seconds": None if (age := _age(pod, claim, now)) is None else round(age),
        "since": _iso(orphans.bills_since(pod, claim)),
        "usd_so_far": None if claim is None else orphans.spent_usd(pod, claim, now),
    }


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _lines(pods: Sequence[PodInfo], known: Claims, now: float) -> Iterator[str]:
    ours = [pod for pod in pods if orphans.is_ours(pod)]
    others = [pod for pod in pods if not orphans.is_ours(pod)]
    if ours:
        rows = [row for pod in ours for row in (_row(pod, known.of(pod), now), *_member_rows(pod))]
        yield from table([_HEAD, *rows], right={4, 7, 9, 10})
    if others:
        yield "" if ours else "no pods made by rpd"
        yield "not made by rpd:"
        head = ("POD", "NAME", "STATE", "GPU", "DC", "$/H")
        yield from table([head, *(_foreign_row(pod) for pod in others)], right={5})
    yield ""
    yield _total(pods, ours) + _spent(ours, known, now)
    for pod in pods:
        if pod.locked:
            yield f"pod {pod.id} is locked: RunPod neither stops nor deletes it until you unlock it"
    yield from _stopped(ours, others)


def _row(pod: PodInfo, claim: Claim | None, now: float) -> tuple[str, ...]:
    left = orphans.seconds_left(pod, claim, now)
    return (
        pod.id,
        (claim.node.rpartition("::")[2] if claim else "") or pod.name,
        claim.run if claim else "not made here",
        orphans.state(pod, claim),
        "?" if (age := _age(pod, claim, now)) is None else format_duration(max(1.0, age)),
        _gpu(pod),
        pod.datacenter or "?",
        _rate(pod),
        _date(orphans.bills_since(pod, claim)),
        _so_far(pod, claim, now),
        "" if left is None else format_duration(max(1.0, left)),
    )


def _member_rows(pod: PodInfo) -> Iterator[tuple[str, ...]]:
    """Yield a row for each member of a cluster: all of them are given back together."""
    for place, member in enumerate(pod.members):
        rank = place if member.rank is None else member.rank
        rate, state = _rate(member), orphans.state(member, None)
        yield (
            f"  {member.id}",
            f"rank {rank}",
            "",
            state,
            "",
            _gpu(member),
            member.datacenter or "?",
            rate,
            "",
            "",
            "",
        )


def _date(moment: float | None) -> str:
    """Return a moment in the time of this place."""
    return "?" if moment is None else datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ006


def _so_far(pod: PodInfo, claim: Claim | None, now: float) -> str:
    usd = None if claim is None else orphans.spent_usd(pod, claim, now)
    return "?" if usd is None else f"${usd:.2f}" if usd >= 0.01 or not usd else "<$0.01"


def _foreign_row(pod: PodInfo) -> tuple[str, ...]:
    return pod.id, pod.name, pod.status.lower(), _gpu(pod), pod.datacenter or "?", _rate(pod)


def _gpu(pod: PodInfo) -> str:
    if pod.is_cluster:
        return f"{pod.nodes} nodes of {pod.gpu_count // pod.nodes}x {pod.gpu}"
    return f"{pod.gpu_count}x {pod.gpu}" if pod.gpu else "CPU"


def _rate(pod: PodInfo) -> str:
    usd = orphans.usd_per_hr(pod)
    return "?" if usd is None else f"{usd:.2f}" if usd >= 0.01 or not usd else f"{usd:.4f}"


def _total(pods: Sequence[PodInfo], ours: Sequence[PodInfo]) -> str:
    def rate(which: Sequence[PodInfo]) -> float:
        return sum(orphans.usd_per_hr(pod) or 0.0 for pod in which)

    count = _counted(pods)
    text = f"{count} pod{'' if count == 1 else 's'}, ${rate(pods):.2f} an hour with disks"
    if ours and len(ours) < len(pods):
        text += f" (rpd's: {_counted(ours)}, ${rate(ours):.2f})"
    unknown = sum(orphans.usd_per_hr(pod) is None for pod in pods)
    return f"{text}; the rate of {unknown} is unknown" if unknown else text


def _counted(pods: Sequence[PodInfo]) -> int:
    """Return how many pods there are, every member of a cluster counted."""
    return sum(max(1, len(pod.members)) for pod in pods)


def _spent(ours: Sequence[PodInfo], known: Claims, now: float) -> str:
    """Return the cost of rpd's pods so far, as the end of a sentence."""
    amounts = [orphans.spent_usd(pod, claim, now) if (claim := known.of(pod)) else None for pod in ours]
    spent = [usd for usd in amounts if usd is not None]
    if not spent:
        return ""
    unknown = (
        f" without {len(amounts) - len(spent)} whose cost is unknown here"
        if len(spent) < len(amounts)
        else ""
    )
    return f"; rpd's cost ${sum(spent):.2f} so far{unknown}"


def _stopped(ours: Sequence[PodInfo], others: Sequence[PodInfo]) -> Iterator[str]:
    for pod in ours:
        if pod.status is PodStatus.EXITED:
            monthly = stopped_usd_per_month(pod.volume_gb)
            yield f"stopped pod {pod.id} keeps {pod.volume_gb} GB: ${monthly:.2f} a month (rpd stop {pod.id})"
    idle = [pod for pod in ours if pod.status is PodStatus.EXITED]
    if len(idle) > 1:
        kept_gb = sum(pod.volume_gb for pod in idle)
        monthly = stopped_usd_per_month(kept_gb)
        yield (
            f"{len(idle)} stopped pods made by rpd keep {kept_gb} GB: ${monthly:.2f} a month, "
            f"${monthly / 30:.2f} a day; rpd stop --stopped deletes those that runs of this project made"
        )
    kept = [pod.volume_gb for pod in others if pod.status is PodStatus.EXITED and pod.volume_gb]
    if kept:
        pods_keep = "1 stopped pod keeps" if len(kept) == 1 else f"{len(kept)} stopped pods keep"
        monthly = stopped_usd_per_month(sum(kept))
        yield f"not made by rpd: {pods_keep} {sum(kept)} GB, ${monthly:.2f} a month"


def stop(config: Config, manager: PluginManager) -> int:
    """Delete (with ``--keep-disk``: stop) the pods named on the command line, and confirm it."""
    own: StopOptions = config.own
    del manager
    if own.stopped:
        return _delete_stopped(config)
    if own.older_than is not None:
        raise UsageError("--older-than goes with --stopped: rpd stop --stopped --older-than 7d")
    if not config.args:
        raise UsageError("rpd stop needs a node, or the id or name of a pod (see `rpd ps`), or --stopped")
    claims = _claims(config.runs_path)
    with provider_of(config, config.args) as provider:
        listed = provider.list()
        chosen = list(dict.fromkeys(_find(provider, listed, argument, claims) for argument in config.args))
        foreign = [pod.id for pod in chosen if not orphans.is_ours(pod)]
        if foreign and not config.money.yes and not own.only_show:
            verb = "stop" if own.keep_disk else "delete"
            raise UsageError(f"{', '.join(foreign)}: not made by rpd; pass --yes to {verb} it anyway")
        clusters = [pod.id for pod in chosen if own.keep_disk and pod.is_cluster]
        if clusters:
            raise UsageError(
                f"{', '.join(clusters)}: RunPod cannot stop clusters; leave --keep-disk out to delete it"
            )
        diskless = [pod.id for pod in chosen if own.keep_disk and not pod.volume_gb]
        if diskless:
            raise UsageError(
                f"{', '.join(diskless)}: there is no volume to keep; leave --keep-disk out to delete it"
            )
        if own.only_show:
            return _show(chosen, "stopped" if own.keep_disk else "deleted")

        def delete_one(pod: PodInfo) -> None:
            _tell_run(claims.of(pod), pod, keep_disk=False)
            pod_release.delete(provider, pod)

        if not own.keep_disk:
            return _release(chosen, delete_one, "deleted")

        def stop_one(pod: PodInfo) -> None:
            now = time.time()
            _tell_run(claims.of(pod), pod, keep_disk=True)
            pod_release.stop(provider, pod)
            if pod.name in claims:
                claim = claims[pod.name]
                orphans.note_stopped(claim, pod, usd=orphans.unrecorded_usd(pod, claim, now) or 0.0)

        code = _release(chosen, stop_one, "stopped")
    for pod in chosen:
        say(
            f"{pod.id} keeps its volume: ${stopped_usd_per_month(pod.volume_gb):.2f} a month until rpd stop {pod.id}"
        )
    return code


def _tell_run(claim: Claim | None, pod: PodInfo, *, keep_disk: bool) -> None:
    """Tell the run that uses a pod, if it goes on, that somebody releases it."""
    if claim is not None and claim.is_driven and not claim.ending:
        orphans.note_stop_asked(claim, pod, keep_disk=keep_disk)
        say(f"{claim.node} of run {claim.run} ends with its pod; Ctrl-C in its terminal ends the whole run")


def _find(provider: WholeAccount, listed: Sequence[PodInfo], wanted: str, known: Claims) -> PodInfo:
    """Return the pod that ``wanted`` names. Raise UsageError, or why not all pods can be seen where it may be one."""
    try:
        return orphans.find(listed, wanted, known)
    except UsageError:
        for kind, error in provider.failures.items():
            raise ProviderError(
                f"{wanted}: cannot look for such a pod: {kind} cannot be listed ({error})"
            ) from error
        raise


def _delete_stopped(config: Config) -> int:
    """Delete the stopped pods that runs here made and no run still uses, and say why others are left alone."""
    own: StopOptions = config.own
    if config.args or own.keep_disk:
        raise UsageError("rpd stop --stopped deletes all of them: it takes neither pods nor --keep-disk")
    claims, now = _claims(config.runs_path), time.time()
    with own_account(config, {"pods": []}) as provider:
        if provider is None:
            return ExitCode.OK
        stopped = [pod for pod in provider.list() if orphans.is_ours(pod) and pod.status is PodStatus.EXITED]
        kept = {
            pod.id: why for pod in stopped if (why := _why_kept(pod, claims.of(pod), own.older_than, now))
        }
        chosen = [pod for pod in stopped if pod.id not in kept]
        if own.only_show:
            code = _show(chosen, "deleted")
        else:
            code = _release(chosen, lambda pod: pod_release.delete(provider, pod), "deleted")
    for pod_id, why in kept.items():
        say(f"left alone: {pod_id}  {why}")
    if not stopped:
        say("no stopped pods")
    return code_after(provider, code)


def _why_kept(pod: PodInfo, claim: Claim | None, older_than: float | None, now: float) -> str:
    """Return why ``rpd stop --stopped`` leaves a pod alone; empty if it does not."""
    if claim is None or claim.doubt:
        return _why_not(pod, claim)
    if claim.is_driven:
        return f"run {claim.run} is still running and may use it again"
    if older_than is None:
        return ""
    at = orphans.stopped_at(pod, claim)
    if at is None:
        return f"it is unknown when it was stopped (rpd stop {pod.id} deletes it)"
    return "" if now - at >= older_than else f"it was stopped {format_duration(max(1.0, now - at))} ago"


def gc(config: Config, manager: PluginManager) -> int:
    """Show, and with ``--yes`` delete, pods that killed runs left behind and kept pods whose time is over.

    The exit code is 1 if something could not be listed, or if the journal of a pod's run is damaged.
    """
    del manager
    with own_account(config, {"pods": []}) as provider:
        if provider is None:
            return ExitCode.OK
        return code_after(
            provider,
            _collect_garbage(
                provider, config.runs_path, as_json=config.output.as_json, is_sure=config.money.yes
            ),
        )


def _collect_garbage(provider: Provider, runs_path: Path, *, as_json: bool, is_sure: bool) -> int:
    listed = provider.list()
    left = orphans.leftovers(listed, runs_path)
    if as_json and is_sure:
        raise UsageError("rpd gc --json only shows what would be deleted: leave --yes out")
    claims = _claims(runs_path)
    in_doubt = ExitCode.FAILED if any(_is_in_doubt(claims.of(pod)) for pod in listed) else ExitCode.OK
    if as_json:
        say_document({"pods": list(_gc_documents(listed, left, claims))})
        return in_doubt
    credentials = orphans.left_registries(provider, runs_path)
    _print_reasons(listed, {each.pod.id: f"{each.reason} (run {each.run})" for each in left}, claims)
    for path, credential in credentials:
        say(
            f"registry credentials {credential.name}  its run ended without deleting them (run {path.parent.name})"
        )
    if not left and not credentials:
        say("nothing to delete")
        return in_doubt
    if not is_sure:
        whole = len(left) + len(credentials)
        say(f"{whole} of them would be deleted: rpd gc --yes")
        return in_doubt
    released = _release([each.pod for each in left], lambda pod: pod_release.delete(provider, pod), "deleted")
    forgotten = _forget_registries(provider, credentials)
    return released or forgotten or in_doubt


def _is_in_doubt(claim: Claim | None) -> bool:
    return claim is not None and bool(claim.doubt)


def _forget_registries(
    provider: Provider, credentials: Sequence[tuple[Path, registries.StoredCredentials]]
) -> int:
    code = ExitCode.OK
    for path, credential in credentials:
        try:
            registries.remove(provider, credential)
        except ProviderError as error:
            note(f"rpd: error: registry credentials {credential.name} cannot be deleted: {error}")
            code = ExitCode.FAILED
        else:
            registries.note_removed(path, credential)
            say(f"deleted registry credentials {credential.name}")
    return code


def _gc_documents(
    listed: Sequence[PodInfo], left: Sequence[Leftover], known: Claims
) -> Iterator[dict[str, object]]:
    reap, now = {each.pod.id: each for each in left}, time.time()
    for pod in sorted(filter(orphans.is_ours, listed), key=lambda pod: (pod.id not in reap, pod.name)):
        claim, leftover = known.of(pod), reap.get(pod.id)
        why = leftover.reason if leftover else _why_not(pod, claim)
        yield {**_as_json(pod, claim, now), "would_delete": leftover is not None, "reason": why}


def _print_reasons(listed: Sequence[PodInfo], reap: Mapping[str, str], known: Claims) -> None:
    rows = []
    for pod in sorted(filter(orphans.is_ours, listed), key=lambda pod: (pod.id not in reap, pod.name)):
        why = reap.get(pod.id) or f"left alone: {_why_not(pod, known.of(pod))}"
        rows.append((pod.id, pod.name, _rate(pod), why))
    if rows:
        say("\n".join(table([("POD", "NAME", "$/H", "WHY"), *rows], right={2})))


def _why_not(pod: PodInfo, claim: Claim | None) -> str:
    """Return why a pod of ours is not reaped."""
    if claim is None:
        return f"no run here made it (rpd stop {pod.id} deletes it)"
    if claim.doubt:
        return f"it is unknown what run {claim.run} did with it (rpd stop {pod.id} deletes it)"
    if claim.ending == "kept":
        return f"kept on purpose by run {claim.run}"
    if claim.ending:
        return f"stopped on purpose by run {claim.run}"
    return f"run {claim.run} is still running"


def _show(chosen: Sequence[PodInfo], done: str) -> int:
    """Print the pods that would be affected."""
    for pod in chosen:
        usd = orphans.usd_per_hr(pod)
        cost = (
            "its price is unknown"
            if usd is None
            else f"${usd:.2f} an hour"
            if usd >= 0.01
            else "<$0.01 an hour"
        )
        say(f"would be {done}: {pod.id}  {pod.name}  {cost}")
    return ExitCode.OK


def _release(chosen: Sequence[PodInfo], act: Callable[[PodInfo], None], done: str) -> int:
    code = ExitCode.OK
    for pod in chosen:
        try:
            act(pod)
        except ReleaseError as error:
            note(f"rpd: error: {error}")
            code = ExitCode.POD_NOT_RELEASED
        else:
            say(f"{done} {pod.id}  {pod.name}")
    return code
