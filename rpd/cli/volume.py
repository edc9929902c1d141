"""``rpd volume``: lists, creates and deletes the network volumes of the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rpd.cli.command_options import VolumeOptions
from rpd.cli.confirm import confirmed
from rpd.cli.json_document import say_document
from rpd.cli.output import say
from rpd.cli.provider_session import own_account
from rpd.cli.table import table
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager
from rpd.runpod.catalogue.offers import find_volume
from rpd.values.datacenters import closest_datacenters
from rpd.values.job import Tier
from rpd.values.pod import NetworkVolume, Provider
from rpd.values.prices import volume_usd_per_month
from rpd.values.suggestions import closest

_VERBS = ("ls", "create", "rm")
LEAST_GB, MOST_GB = 10, 4096
"""Sizes of volumes that REST v2 makes."""


def main(config: Config, manager: PluginManager) -> int:
    """List the network volumes, make one, or delete some."""
    del manager
    verb, *names = config.args or ["ls"]
    if verb not in _VERBS:
        close = closest(verb, _VERBS)
        meant = f": did you mean {close}?" if close else ""
        raise UsageError(f"rpd volume {verb}: expected ls, create or rm{meant}")
    own: VolumeOptions = config.own
    if verb != "create" and (own.size_gb or own.place or own.tier):
        raise UsageError("--size, --datacenter-id and --tier go with rpd volume create")
    if config.output.as_json and verb != "ls":
        raise UsageError("--json goes with rpd volume ls")
    with own_account(config, {"volumes": []}, is_needed=verb != "ls") as provider:
        if provider is None:
            return ExitCode.OK
        if verb == "ls":
            return _list(provider, names, as_json=config.output.as_json)
        if verb == "create":
            return _create(own, provider, names, yes=config.money.yes)
        return _remove(provider, names, yes=config.money.yes)


def _volumes(provider: Provider) -> Sequence[NetworkVolume]:
    """Return the network volumes of the account. Raise UsageError for a provider that lists none."""
    volumes = provider.volumes()
    if volumes is None:
        raise UsageError(f"{provider.name} has no network volumes")
    return volumes


# --- ls ---------------------------------------------------------------------------------------------------------------


def _list(provider: Provider, names: Sequence[str], *, as_json: bool) -> int:
    if names:
        raise UsageError(f"rpd volume ls lists all of them: it takes no {names[0]!r}")
    volumes = sorted(_volumes(provider), key=lambda volume: (volume.name, volume.id))
    if as_json:
        rows = [{**asdict(volume), "usd_per_month": volume_usd_per_month(volume)} for volume in volumes]
        say_document({"volumes": rows})
    elif not volumes:
        say("no network volumes (rpd volume create NAME --size GB --datacenter-id ID makes one)")
    else:
        say("\n".join(_lines(volumes)))
    return ExitCode.OK


def _lines(volumes: Sequence[NetworkVolume]) -> Iterator[str]:
    head = ("VOLUME", "NAME", "DC", "TIER", "GB", "$/MONTH")
    rows = [
        (
            volume.id,
            volume.name,
            volume.datacenter or "?",
            str(volume.tier or "?"),
            str(volume.size_gb),
            _price(volume),
        )
        for volume in volumes
    ]
    yield from table([head, *rows], right={4, 5}, cut={1: 16})
    yield ""
    prices = [usd for volume in volumes if (usd := volume_usd_per_month(volume)) is not None]
    unknown = len(volumes) - len(prices)
    more = f" without {unknown} whose price is unknown" if unknown else ""
    count = "1 volume" if len(volumes) == 1 else f"{len(volumes)} volumes"
    yield f"{count}, ${sum(prices):.2f} a month{more}, used or not"


def _price(volume: NetworkVolume) -> str:
    """Return the monthly cost of a volume; RunPod shows the price of the faster tier only in its console."""
    usd = volume_usd_per_month(volume)
    return "?" if usd is None else f"{usd:.2f}"


# --- create -----------------------------------------------------------------------------------------------------------


def _create(own: VolumeOptions, provider: Provider, names: Sequence[str], *, yes: bool) -> int:
    if len(names) != 1 or not names[0].strip():
        raise UsageError(
            "rpd volume create takes one name: rpd volume create NAME --size GB --datacenter-id ID"
        )
    [name] = names
    if own.size_gb is None or not LEAST_GB <= own.size_gb <= MOST_GB:
        got = "" if own.size_gb is None else f", got {own.size_gb}"
        raise UsageError(f"rpd volume create: expected --size from {LEAST_GB} to {MOST_GB:,} GB{got}")
    tier = None if own.tier is None else Tier(own.tier)
    place = _place(provider, own.place, tier)
    namesakes = [volume for volume in _volumes(provider) if volume.name == name]
    if namesakes:
        ids = ", ".join(f"{volume.id} in {volume.datacenter}" for volume in namesakes)
        raise UsageError(
            f"the account already has a network volume {name!r} ({ids}): jobs could not tell them apart by name"
        )
    planned = NetworkVolume(
        id="", name=name, datacenter=place, size_gb=own.size_gb, tier=tier or Tier.STANDARD
    )
    question = f"A network volume of {own.size_gb} GB in {place} costs {_costs(planned)} until it is deleted"
    if not confirmed(question, "rpd volume create creates something that costs money", yes=yes):
        return ExitCode.OK
    made = provider.add_volume(name, own.size_gb, place, tier)
    say(
        f"made network volume {made.name} ({made.id}): {made.size_gb} GB in {made.datacenter}, {_costs(made)}"
    )
    say(f'a job uses it with storage=Storage(network_volume="{made.name}")')
    return ExitCode.OK


def _costs(volume: NetworkVolume) -> str:
    usd = volume_usd_per_month(volume)
    if usd is not None:
        return f"${usd:.2f} a month"
    least = volume_usd_per_month(volume, of=Tier.STANDARD)
    return f"more than ${least:.2f} a month (RunPod's console shows the price of this tier)"


def _place(provider: Provider, wanted: str | None, tier: Tier | None) -> str:
    """Return the data centre to make a volume in. Raise UsageError for one that has no such volumes."""
    by_id = {place.id: place.tiers for place in provider.places() or ()}
    need = (tier or Tier.STANDARD).value
    fit = sorted(name for name, tiers in by_id.items() if (need in tiers if tier else tiers))
    kind = f"{tier} network volumes" if tier else "network volumes"
    if wanted is None:
        raise UsageError(
            f"rpd volume create needs --datacenter-id, and pods that use the volume run there: {', '.join(fit)}"
        )
    name = wanted.upper()
    if name in fit:
        return name
    if name not in by_id:
        close = closest_datacenters(name, by_id)
        meant = (
            f": did you mean {' or '.join(close)}?" if close else "; `rpd gpus` shows where there are GPUs"
        )
        raise UsageError(f"RunPod has no data centre {wanted!r}{meant}")
    raise UsageError(f"{name} has no {kind}; these data centres do: {', '.join(fit)}")


# --- rm ---------------------------------------------------------------------------------------------------------------


def _remove(provider: Provider, names: Sequence[str], *, yes: bool) -> int:
    if not names:
        raise UsageError("rpd volume rm needs the names or ids of network volumes (see `rpd volume ls`)")
    volumes = _volumes(provider)
    chosen = list(dict.fromkeys(find_volume(name, volumes) for name in names))
    listed = ", ".join(
        f"{volume.name} ({volume.id}, {volume.size_gb} GB in {volume.datacenter})" for volume in chosen
    )
    why = "rpd volume rm deletes files for good"
    if not confirmed(f"All files go with {listed}", why, yes=yes):
        return ExitCode.OK
    for volume in chosen:
        provider.remove_volume(volume.id)
        say(f"deleted network volume {volume.name} ({volume.id})")
    return ExitCode.OK
