"""The policy: limits of a project or an organisation that no flag lifts, checked before money is spent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rpd.config import Config
from rpd.errors import ProviderError, UsageError
from rpd.pipeline.worst_case import Prices
from rpd.plan import uses_pod
from rpd.record import history
from rpd.runpod.address import EMULATOR
from rpd.user_text import parse_toml, read_text
from rpd.values.frozen import frozen
from rpd.values.node import Node
from rpd.values.plan import Plan
from rpd.values.suggestions import closest

VARIABLE = "RPD_POLICY"
"""Names a TOML file with limits that count besides those of the project."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? +)?"
    r"(?P<begin>[0-2]?\d:[0-5]\d)-(?P<end>[0-2]?\d:[0-5]\d)"
)
_RULE_OF_HOURS = 'hours such as "08:00-20:00" or "Mon-Fri 08:00-20:00"'


@frozen
class Policy:
    """One set of limits; ``source`` is the file it stands in. Money is USD, None and empty: no limit."""

    source: str
    max_usd_per_node: float | None = None
    max_usd_per_run: float | None = None
    max_usd_per_day: float | None = None
    gpus: tuple[str, ...] = ()
    """Patterns; every GPU type that a node may be given has to fit one."""
    clouds: tuple[str, ...] = ()
    hours: tuple[str, ...] = ()
    timezone: str = "UTC"
    require_marks: tuple[str, ...] = ()
    """Marks that every node which rents a pod must have."""
    forbid_marks: tuple[str, ...] = ()


def policies(
    table: Mapping[str, Any], source: str, environ: Mapping[str, str] = os.environ
) -> tuple[Policy, ...]:
    """Return the limits that count: those of the project, and those of the file that RPD_POLICY names.

    ``table`` is the setting ``policy``, and ``source`` tells where it was set: empty if nowhere. Raise UsageError for
    a key or value that is no limit, and for a policy set by a flag.
    """
    all_of_them = []
    if source:
        if source == "flag -o":
            raise UsageError("-o policy: set a policy in the configuration file, so that no flag can lift it")
        header = "[policy]" if source == "rpd.toml" else "[tool.rpd.policy]"
        all_of_them.append(read_policy(table, f"{source} {header}"))
    path = environ.get(VARIABLE)
    if path:
        try:
            values = parse_toml(read_text(Path(path)))
        except ValueError as error:
            raise UsageError(f"{VARIABLE}: {path}: not valid TOML: {error}") from error
        except OSError as error:
            raise UsageError(f"{VARIABLE}: {path}: {error.strerror}") from error
        all_of_them.append(read_policy(values, path))
    return tuple(all_of_them)


def read_policy(values: Mapping[str, Any], source: str) -> Policy:
    """Return the policy in a table. Raise UsageError that names ``source`` and the key."""
    checked: dict[str, Any] = {}
    for key, value in values.items():
        check = _CHECKS.get(key)
        if check is None:
            close = closest(key, _CHECKS)
            meant = f"did you mean {close}?" if close else f"there are {', '.join(_CHECKS)}"
            raise UsageError(f"{source}: unknown key {key!r}; {meant}")
        try:
            checked[key] = check(value)
        except ValueError as error:
            raise UsageError(f"{source}.{key}: expected {error}, got {value!r}") from None
    return Policy(source=source, **checked)


def refusals(
    policy: Policy,
    plan: Plan,
    prices: Prices,
    *,
    budget: float | None,
    spent: float,
    now: datetime | None = None,
) -> Iterator[str]:
    """Yield the reasons why a run may not start, one sentence each.

    ``spent`` is today's cost of earlier runs in USD, ``now`` is in UTC. Raise ProviderError if a provider
    cannot list its offers.
    """
    nodes = [node for node in plan.kinds if uses_pod(node)]
    if not nodes:
        return
    worst = plan.worst_case_usd if budget is None else min(budget, plan.worst_case_usd)
    yield from _about_money(policy, nodes, prices, worst, spent)
    yield from _about_pods(policy, nodes, prices)
    yield from _about_marks(policy, nodes)
    if policy.hours and now is not None and not _is_open(policy, now):
        local = now.astimezone(ZoneInfo(policy.timezone))
        yield (
            f"{policy.source}: hours = {', '.join(policy.hours)} ({policy.timezone}), and it is "
            f"{local:%a %H:%M} there"
        )


def _about_money(
    policy: Policy, nodes: Sequence[Node], prices: Prices, worst: float, spent: float
) -> Iterator[str]:
    limit = policy.max_usd_per_node
    if limit is not None:
        over = [node for node in nodes if prices.ceiling(node) > limit]
        if over:
            most = max(over, key=prices.ceiling)
            yield (
                f"{policy.source}: max_usd_per_node = {limit:g}, but {_names(over)} may cost more "
                f"({most.id}: ${prices.ceiling(most):.2f}); lower cost_cap_usd or max_runtime"
            )
    if policy.max_usd_per_run is not None and worst > policy.max_usd_per_run:
        yield (
            f"{policy.source}: max_usd_per_run = {policy.max_usd_per_run:g}, but this run may cost ${worst:.2f}; "
            "select fewer nodes, or give it a --budget"
        )
    if policy.max_usd_per_day is not None and spent + worst > policy.max_usd_per_day:
        yield (
            f"{policy.source}: max_usd_per_day = {policy.max_usd_per_day:g}, but today's runs cost "
            f"${spent:.2f}, and this one may add ${worst:.2f}"
        )


def _about_pods(policy: Policy, nodes: Sequence[Node], prices: Prices) -> Iterator[str]:
    gpus: dict[str, list[Node]] = {}
    clouds: dict[str, list[Node]] = {}
    for node in nodes:
        try:
            offers = prices.offers(node)
        except ProviderError as error:
            if error.stops_run:
                raise
            continue
        for gpu in dict.fromkeys(offer.gpu_id for offer in offers if offer.gpu_id is not None):
            if policy.gpus and not any(fnmatchcase(gpu.lower(), each.lower()) for each in policy.gpus):
                gpus.setdefault(gpu, []).append(node)
        for cloud in dict.fromkeys(str(offer.cloud) for offer in offers):
            if policy.clouds and cloud not in policy.clouds:
                clouds.setdefault(cloud, []).append(node)
    for gpu, over in gpus.items():
        yield (
            f"{policy.source}: gpus = {', '.join(policy.gpus)}, but {_names(over)} may get {gpu}; "
            "name other types in Gpu(...), or lower its max_price_usd"
        )
    for cloud, over in clouds.items():
        yield f"{policy.source}: clouds = {', '.join(policy.clouds)}, but {_names(over)} may run in {cloud}"


def _about_marks(policy: Policy, nodes: Sequence[Node]) -> Iterator[str]:
    for mark in policy.require_marks:
        over = [node for node in nodes if node.mark(mark) is None]
        if over:
            yield f"{policy.source}: require_marks = {mark}, which {_names(over)} lacks"
    for mark in policy.forbid_marks:
        over = [node for node in nodes if node.mark(mark) is not None]
        if over:
            yield f"{policy.source}: forbid_marks = {mark}, which {_names(over)} has"


def _names(nodes: Sequence[Node]) -> str:
    return nodes[0].id + (f" (and {len(nodes) - 1} more)" if len(nodes) > 1 else "")


def spent_today(runs_path: Path, now: datetime) -> float:
    """Return the cost of this day's (UTC) runs, in USD; running ones count with their worst case."""
    day = now.astimezone(UTC).date().isoformat()
    total = 0.0
    for info in history.runs(runs_path):
        began = info.started or history.stamp(info.id)
        if began[:10] < day:
            break
        if not info.backend.startswith(EMULATOR):
            total += info.usd if info.finished else info.worst_case_usd
    return total


def check_policies(config: Config, plan: Plan, prices: Prices, *, is_resumed: bool) -> list[str]:
    """Return why the policies refuse a run, one sentence each; empty: it may start.

    A run may be resumed at any hour: its pods are billing. Raise UsageError, ProviderError.
    """
    now = datetime.now(UTC)
    return [
        text
        for policy in policies(config.money.policy, config.sources.get("policy", ""))
        for text in refusals(
            policy,
            plan,
            prices,
            budget=config.money.budget,
            spent=spent_today(config.runs_path, now) if policy.max_usd_per_day is not None else 0.0,
            now=None if is_resumed else now,
        )
    ]


# --- reading --------------------------------------------------------------------------------------------------------


def _money(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError("dollars")
    return float(value)


def _texts(value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        raise ValueError("a list of strings")
    return tuple(items)


def _clouds(value: Any) -> tuple[str, ...]:
    clouds = tuple(each.lower() for each in _texts(value))
    if not set(clouds) <= {"secure", "community"}:
        raise ValueError("secure, community or both")
    return clouds


def _hours(value: Any) -> tuple[str, ...]:
    for text in _texts(value):
        match = _HOURS.fullmatch(text.strip().lower())
        if match is None or not {match["first"] or "mon", match["last"] or "mon"} <= set(_DAYS):
            raise ValueError(_RULE_OF_HOURS)
        if not all(0 <= _minutes(match[end]) <= 24 * 60 for end in ("begin", "end")):
            raise ValueError(_RULE_OF_HOURS)
    return _texts(value)


def _timezone(value: Any) -> str:
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError('a time zone such as "Europe/Berlin"') from None


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "max_usd_per_node": _money,
    "max_usd_per_run": _money,
    "max_usd_per_day": _money,
    "gpus": _texts,
    "clouds": _clouds,
    "hours": _hours,
    "timezone": _timezone,
    "require_marks": _texts,
    "forbid_marks": _texts,
}


def _is_open(policy: Policy, now: datetime) -> bool:
    local = now.astimezone(ZoneInfo(policy.timezone))
    return any(_covers(text, local) for text in policy.hours)


def _covers(text: str, local: datetime) -> bool:
    """Return whether hours cover a moment; those over midnight belong to the day on which they begin."""
    match = _HOURS.fullmatch(text.strip().lower())
    if match is None:
        return False
    minute, begin, end = local.hour * 60 + local.minute, _minutes(match["begin"]), _minutes(match["end"])
    if begin < end:
        return _is_day(match, local.weekday()) and begin <= minute < end
    yesterday = (local.weekday() - 1) % 7
    return (_is_day(match, local.weekday()) and minute >= begin) or (
        _is_day(match, yesterday) and minute < end
    )


def _is_day(match: re.Match[str], weekday: int) -> bool:
    if match["first"] is None:
        return True
    first = _DAYS.index(match["first"])
    last = _DAYS.index(match["last"] or match["first"])
    return (weekday - first) % 7 <= (last - first) % 7


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
