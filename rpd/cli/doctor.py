"""``rpd doctor``: checks before money is spent. It reads, and creates nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from rpd.cli.check_result import Finding, Status, fail, ok, warn
from rpd.cli.command_options import DoctorOptions
from rpd.cli.doctor_code import check_code
from rpd.cli.json_document import say_document
from rpd.cli.output import say
from rpd.cli.stderr_notices import Notices, tell
from rpd.config import Config
from rpd.errors import AuthError, ExitCode, NothingCollected, ProviderError, RequestRejected, UsageError
from rpd.hooks import PluginManager
from rpd.pipeline.check_datacenters import check_datacenters
from rpd.pipeline.collect_and_select import gather
from rpd.pipeline.expected_pods import Foresight
from rpd.pipeline.orphans import is_ours
from rpd.pipeline.price_source import Source, price_source
from rpd.pipeline.secrets import known_secrets, named_by, only_texts, read_secrets
from rpd.pipeline.worst_case import Prices, make_overrides
from rpd.plan import uses_pod
from rpd.remote.keys import make_keypair, user_public_lines
from rpd.runpod.catalogue.image_inside import PLATFORM
from rpd.runpod.catalogue.images import WHAT_TO_DO, Presence, ask
from rpd.runpod.catalogue.offers import is_sold_out
from rpd.runpod.key import CONFIG_FILE, ENVIRONMENT_NAME
from rpd.values.datacenters import KNOWN_DATACENTERS
from rpd.values.duration import format_duration
from rpd.values.gpus import closest_gpu_ids
from rpd.values.job import Registry
from rpd.values.node import Node
from rpd.values.pod import Account, PodInfo, PodRequest, Provider
from rpd.values.suggestions import closest

CHECKS = (
    *("ssh key", "deploy files", "key", "permissions", "balance", "spend limit", "rate limit", "locked pods"),
    *("data centre", "gpu", "pods", "volume", "stock"),
    *("image", "secrets", "staging", "paths", "torch", "uv cache"),
)
"""Every check there is, by the name that ``--skip`` takes."""
STOCK = "stock"
"""The check that warns of what is sold out."""
_TRY_AGAIN = "try again, and look at the network and at RUNPOD_API_BASE_URL"
_MONEY = "add credit at https://console.runpod.io/user/billing"


def main(config: Config, manager: PluginManager) -> int:
    """Print a line for each check; exit 1 if one of them failed, 7 if only the stock is gone."""
    own: DoctorOptions = config.own
    manager.register(Notices(), "notices")
    skipped = _skipped(own.skip)
    shown: list[Finding] = []
    for finding in _findings(config, manager, skipped):
        if finding.check in skipped:
            continue
        shown.append(finding)
        if not config.output.as_json and not (config.output.quiet and finding.status is Status.OK):
            say(finding)
    if config.output.as_json:
        say_document({"findings": [asdict(finding) for finding in shown]})
    if any(finding.status is Status.FAIL for finding in shown):
        return ExitCode.FAILED
    return ExitCode.SOLD_OUT if any(finding.check == STOCK for finding in shown) else ExitCode.OK


def _skipped(skip: Iterable[Sequence[str]]) -> frozenset[str]:
    """Return the names of the checks to leave out. Raise UsageError for one that is none."""
    skipped = frozenset(name for names in skip for name in names)
    for name in sorted(skipped.difference(CHECKS)):
        close = closest(name, CHECKS)
        meant = f"did you mean {close!r}?" if close else f"the checks are {', '.join(CHECKS)}"
        raise UsageError(f"--skip {name}: unknown check; {meant}")
    return skipped


def _findings(config: Config, manager: PluginManager, skipped: frozenset[str]) -> Iterator[Finding]:
    nodes, collected = _collected(config, manager)
    yield _key_pair()
    yield collected
    with_pods = [node for node in nodes if uses_pod(node)]
    try:
        # Without the check of the key no API is called: the shipped table lists RunPod's GPU types and data
        # centres.
        with nullcontext(Source(live=None)) if "key" in skipped else price_source(config, tell) as source:
            yield from _platform(config, source, with_pods)
    except (AuthError, UsageError) as error:
        yield fail("key", str(error))
    if "image" not in skipped:
        yield from _images(
            with_pods,
            dict.fromkeys((node.job.image, node.job.registry) for node in with_pods if node.job.image),
        )
    yield from _secrets(with_pods)
    yield from check_code(config.rootdir, nodes)


def _collected(config: Config, manager: PluginManager) -> tuple[Sequence[Node], Finding]:
    try:
        gathered = gather(config, manager)
    except NothingCollected as error:
        return (), warn("deploy files", str(error), "see `rpd collect`")
    if gathered.errors:
        first = gathered.errors[0]
        count = len(gathered.errors)
        return gathered.nodes, fail(
            "deploy files",
            f"{count} that cannot be collected, the first {first.place or first.file}: {_first_line(str(first))}",
            "see `rpd collect`",
        )
    if not gathered.nodes:
        return (), warn("deploy files", "no node is collected", "see `rpd collect`")
    count = len(gathered.nodes)
    return gathered.nodes, ok("deploy files", f"{count} node{'' if count == 1 else 's'}")


def _key_pair() -> Finding:
    """Check that a run can make the SSH key its pods are reached with."""
    try:
        with tempfile.TemporaryDirectory(prefix="rpd-doctor-") as folder:
            made = make_keypair(Path(folder) / "keys")
            mode = made.private_key.stat().st_mode & 0o077
    except OSError as error:
        return fail(
            "ssh key", f"cannot create a key pair: {error.strerror}", "make the temporary folder writable"
        )
    if mode:
        return warn(
            "ssh key",
            "the temporary folder makes files readable by other users",
            "set TMPDIR to a private folder",
        )
    own = len(user_public_lines())
    return ok(
        "ssh key", f"a run makes its own; pods also get {own} of yours" if own else "a run makes its own"
    )


# --- RunPod ---------------------------------------------------------------------------------------------------------


def _platform(config: Config, source: Source, nodes: Sequence[Node]) -> Iterator[Finding]:
    prices = Prices(lambda: source.provider, make_overrides(config), Foresight(config, nodes))
    if source.live is None:
        yield fail(
            "key",
            "no API key",
            f"set {ENVIRONMENT_NAME}, or write one into {CONFIG_FILE} with `runpod config` (--dry-run and --local "
            "need none)",
        )
    else:
        try:
            account = source.live.account()
            pods = source.live.list()
        except AuthError as error:
            yield fail("key", str(error))
            return
        except ProviderError as error:
            yield fail("key", f"could not be checked: {error}", "check the network and RUNPOD_API_BASE_URL")
            return
        yield ok("key", f"{source.name} accepts it")
        yield from _permissions(source.live)
        yield _balance(account, nodes, prices)
        yield from _spend_limit(account, nodes, prices, config.run.width)
        yield from _locked(pods)
    yield from _places(config.pods.datacenter_id, source, nodes)
    yield from _requests(source, nodes, prices)
    if source.live is not None:
        yield from _rate_limit(source.live, len(nodes))


def _permissions(provider: Provider) -> Iterator[Finding]:
    """Check that the key may do more than read. Nothing is changed: it asks to stop a pod that there never was."""
    may = provider.may_rent()
    if may is False:
        yield fail(
            "permissions",
            "this API key may read, but not rent or delete pods",
            "ask an admin of the account for the role Dev, or create a key with write access at "
            "https://console.runpod.io/user/settings",
        )
    elif may:
        yield ok("permissions", "the key may rent and delete pods")


def _spend_limit(account: Account, nodes: Sequence[Node], prices: Prices, width: int) -> Iterator[Finding]:
    """Check the hourly spending limit of the account, and its present spending."""
    if account.limit_usd_per_hr is None:
        return
    limit, now = account.limit_usd_per_hr, account.spend_usd_per_hr or 0.0
    spends = f"the account may spend ${limit:.2f} an hour, and spends ${now:.2f} now"
    try:
        hour = max((_first_rate(node, prices) for node in nodes), default=0.0)
    except ProviderError:
        hour = 0.0
    advice = "release pods (`rpd ps`), or ask RunPod's support for a higher limit"
    if hour and now + hour > limit:
        yield fail("spend limit", f"{spends}: a pod at ${hour:.2f} an hour exceeds it", advice)
    elif hour and now + min(width, len(nodes)) * hour > limit:
        room = int((limit - now) / hour)
        yield warn(
            "spend limit",
            f"{spends}: {room} of {min(width, len(nodes))} pods at a time fit, others wait",
            advice,
        )
    else:
        yield ok("spend limit", spends)


def _locked(pods: Sequence[PodInfo]) -> Iterator[Finding]:
    """Report pods that cannot be ended because they are locked."""
    locked = [pod.id for pod in pods if pod.locked and is_ours(pod)]
    if locked:
        yield warn(
            "locked pods",
            f"{', '.join(locked)}: RunPod neither stops nor deletes a locked pod",
            "unlock it in its menu at https://console.runpod.io/pods",
        )


_CALLS_A_NODE = 4
"""Calls of the API that a node needs at most, when many run at once."""


def _rate_limit(provider: Provider, nodes: int) -> Iterator[Finding]:
    """Tell windows in which RunPod takes too few calls for the nodes; it says so in the headers of REST v2."""
    quotas = provider.quotas()
    for quota in quotas:
        if quota.left < nodes * _CALLS_A_NODE:
            wait = format_duration(max(1.0, quota.seconds))
            yield warn(
                "rate limit",
                f"RunPod allows {quota.left} more calls in the window {quota.window!r}, which ends in {wait}; "
                f"{nodes} node{'' if nodes == 1 else 's'} may need {nodes * _CALLS_A_NODE}",
                "further calls wait; calls of other tools on the account count too",
            )
            return
    if quotas:
        left = ", ".join(f"{quota.left:,} this {quota.window}" for quota in quotas)
        yield ok("rate limit", f"calls that RunPod still allows: {left}")


def _places(datacenter_id: str | None, source: Source, nodes: Sequence[Node]) -> Iterator[Finding]:
    """Check that the data centres asked for are there."""
    try:
        for doubt in check_datacenters(datacenter_id, nodes, lambda: source.provider):
            yield warn("data centre", doubt)
    except UsageError as error:
        yield fail("data centre", str(error))


def _balance(account: Account, nodes: Sequence[Node], prices: Prices) -> Finding:
    balance = account.balance_usd
    if balance is None and account.id:
        return warn(
            "balance",
            "RunPod does not show it to this key",
            "ask an admin of the account, or see https://console.runpod.io/user/billing",
        )
    if balance is None:
        return warn("balance", "RunPod does not report it here", "see https://console.runpod.io/user/billing")
    try:
        worst = sum(prices.worst_case(node) or 0.0 for node in nodes)
        hour = max((_first_rate(node, prices) for node in nodes), default=0.0)
    except ProviderError:
        worst = hour = 0.0
    if balance <= 0:
        return fail("balance", f"${balance:.2f}", _MONEY)
    if balance < hour:
        return fail(
            "balance",
            f"${balance:.2f}, but RunPod requires the price of one hour (${hour:.2f}) to start a pod",
            _MONEY,
        )
    if balance < worst:
        return warn("balance", f"${balance:.2f}, less than all nodes may cost (${worst:.2f})", _MONEY)
    return ok("balance", f"${balance:.2f}")


def _first_rate(node: Node, prices: Prices) -> float:
    offers = prices.offers(node)
    return (offers[0].usd_per_hr or 0.0) if offers else 0.0


def _requests(source: Source, nodes: Sequence[Node], prices: Prices) -> Iterator[Finding]:
    """Check each kind of pod that nodes ask for: its GPUs, its price, where it shall be."""
    kinds: dict[int, tuple[PodRequest, Node]] = {}
    for node in nodes:
        request = prices.request(node)
        kinds.setdefault(id(request), (request, node))
    worry = False
    for request, node in kinds.values():
        for finding in (*_gpu_names(source, request, node), *_offers(source, request, node, prices)):
            worry = True
            yield finding
    if kinds and not worry:
        what = "one kind of pod" if len(kinds) == 1 else f"{len(kinds)} kinds of pods"
        yield ok(
            "pods",
            f"{what}, on offer" + ("" if source.live else " (by the catalogue that ships with this rpd)"),
        )


def _gpu_names(source: Source, request: PodRequest, node: Node) -> Iterator[Finding]:
    if source.live is None or request.gpu is None:
        return
    try:
        catalogue = source.live.catalogue(request.gpu.count)
    except ProviderError as error:
        yield fail("gpu", f"cannot read the catalogue: {error}", _TRY_AGAIN)
        return
    for gpu_id in request.gpu.ids:
        if catalogue.complete and gpu_id not in catalogue.gpus:
            close = closest_gpu_ids(gpu_id, catalogue.gpus)
            meant = f"use {' or '.join(map(repr, close))}" if close else "see `rpd gpus`"
            yield warn("gpu", f"{node.definition.location}: RunPod does not offer {gpu_id!r} now", meant)
    places = {place for levels in catalogue.stock.values() for place in levels}
    for place in request.datacenters:
        if catalogue.stock_known and place.upper() in KNOWN_DATACENTERS - places:
            where = f"{node.definition.location}: nothing is in stock in data centre {place!r}"
            yield warn("data centre", where, "see `rpd gpus`")


def _offers(source: Source, request: PodRequest, node: Node, prices: Prices) -> Iterator[Finding]:
    where = node.definition.location
    try:
        offers = prices.offers(node)
    except RequestRejected as error:
        check = "volume" if request.storage.network_volume else "pods"
        yield fail(check, f"{where}: {error}")
        return
    except ProviderError as error:
        yield fail("pods", f"{where}: cannot read the offers: {error}", _TRY_AGAIN)
        return
    if not offers:
        yield fail(
            "pods",
            f"{where}: RunPod offers nothing that fits ({request.gpu or 'a CPU pod'}, {request.cloud})",
            "check count, cloud, datacenters, cuda and max_price_usd; see `rpd gpus`",
        )
    elif source.live and is_sold_out(offers):
        yield warn(
            STOCK, f"{where}: {request.gpu} is sold out everywhere", "name other GPUs, or --wait-for-stock"
        )


# --- this machine ---------------------------------------------------------------------------------------------------


def _images(nodes: Sequence[Node], images: Iterable[tuple[str, Registry | str | None]]) -> Iterator[Finding]:
    """Check that the images exist: a pod without its image bills for ever and never starts."""
    passwords = only_texts(known_secrets(nodes))
    for image, registry in images:
        if image.partition("@")[0].endswith(":latest") or ":" not in image.rpartition("/")[2]:
            yield warn(
                "image",
                f"{image}: hosts may have an old version of this tag cached",
                "name a tag that does not move",
            )
        answer = ask(image, registry, passwords, inside=True)
        text = f"{image}: {answer.why}"
        if answer.inside is not None and not answer.inside.fits:
            builds = ", ".join(answer.inside.platforms)
            yield fail(
                "image", f"{image}: built for {builds}", f"build it for {PLATFORM}, which RunPod's hosts run"
            )
            continue
        match answer.presence:
            case Presence.PRESENT | Presence.PRIVATE:
                yield ok("image", text)
            case Presence.ABSENT:
                yield fail("image", text, WHAT_TO_DO[answer.presence])
            case _:
                yield warn("image", text, WHAT_TO_DO[answer.presence])


def _secrets(nodes: Sequence[Node]) -> Iterator[Finding]:
    names = {secret.name for node in nodes for secret in named_by(node)}
    if not names:
        return
    try:
        read_secrets(nodes)
    except UsageError as error:
        yield fail("secrets", str(error), "export it before the run")
    else:
        yield ok("secrets", f"{', '.join(sorted(names))}: set")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
