"""Network volumes in REST v2."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from rpd.errors import NoCapacity, NotPermitted, PoolDenied, RequestRejected, TransientError
from rpd.runpod.create_texts import sendable
from rpd.runpod.reconcile import UnsureCreate
from rpd.runpod.response import identifier, needed_table, needed_tables, text, understood, whole
from rpd.runpod.rest.client import Rest
from rpd.values.job import Tier
from rpd.values.pod import NetworkVolume

_VOLUMES = "/network-volumes"
_Volumes = tuple[NetworkVolume, ...]


def read(rest: Rest) -> _Volumes:
    """Return the network volumes of the account. Raise TransientError for an incomplete list."""
    return understood(_rows, rest.get(_VOLUMES))


def path_of(volume_id: str) -> str:
    """Return the path of a volume. Raise ImpossibleRequest if it cannot be an id."""
    return f"{_VOLUMES}/{quote(sendable(volume_id, 'the id of the volume'), safe='')}"


def add(
    rest: Rest,
    retried: Callable[[Callable[[], _Volumes]], _Volumes],
    name: str,
    size_gb: int,
    datacenter: str,
    tier: Tier | None,
) -> NetworkVolume:
    """Create a volume, once. ``retried`` calls a read with retries.

    Names are not unique: if the response is lost, the volume is the one of that name that did not exist
    before.
    """
    before = {volume.id for volume in retried(lambda: read(rest))}
    body = {"name": name, "size": size_gb, "dataCenter": datacenter}
    if tier is not None:
        body["type"] = tier.value.upper()
    try:
        answer = rest.create(_VOLUMES, body, secrets=())
    except PoolDenied as denied:  # ``create`` reads refusals as those of a pod
        raise NotPermitted(f"this API key may not create network volumes ({denied})") from None
    except NoCapacity as refused:
        raise RequestRejected(f"RunPod refused to create the volume: {refused}") from None
    except UnsureCreate as unsure:
        made = [volume for volume in retried(lambda: read(rest)) if volume.id not in before]
        for volume in made:
            if volume.name == name:
                return volume
        if unsure.refusal is not None:
            raise unsure.refusal from None
        raise TransientError(f"{unsure}; no new volume named {name!r} exists") from None
    return understood(_row, answer)


def _rows(answer: object) -> _Volumes:
    return tuple(map(_row, needed_tables(needed_table(answer).get("networkVolumes"))))


def _row(answer: object) -> NetworkVolume:
    row = needed_table(answer)
    return NetworkVolume(
        id=identifier(row.get("id")),
        name=text(row.get("name")),
        datacenter=text(row.get("dataCenter")) or None,
        size_gb=whole(row.get("size")) or 0,
        tier=_tier(row.get("type")),
    )


def _tier(value: object) -> Tier | None:
    try:
        return Tier(text(value))
    except ValueError:
        return None
