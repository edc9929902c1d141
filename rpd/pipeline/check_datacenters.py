"""Data centres that nodes ask for: a mistyped id is reported before anything is rented."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rpd.errors import ProviderError, UsageError
from rpd.plan import uses_pod
from rpd.values.datacenters import KNOWN_DATACENTERS, closest_datacenters
from rpd.values.node import Node
from rpd.values.pod import Provider


def check_datacenters(
    datacenter_id: str | None,
    nodes: Iterable[Node],
    provider: Callable[[], Provider],
) -> list[str]:
    """Check the data centres that ``nodes``, or ``--datacenter-id``, ask for, and return warnings.

    Raise UsageError for one that RunPod says it does not have; where it cannot be asked, one that rpd does not know is
    a warning. RunPod is asked only if there is an id that rpd does not know.
    """
    warnings: list[str] = []
    slips = {
        place: where
        for where, place in _asked_for(datacenter_id, nodes)
        if place.upper() not in KNOWN_DATACENTERS
    }
    if not slips:
        return warnings
    there = _datacenters(provider())
    for place, where in slips.items():
        if there is None:
            warnings.append(f"{where}: rpd knows no data centre {place!r}{_meant(place, KNOWN_DATACENTERS)}")
        elif place.upper() not in there:
            raise UsageError(f"{where}: RunPod has no data centre {place!r}{_meant(place, there)}")
    return warnings


def _asked_for(datacenter_id: str | None, nodes: Iterable[Node]) -> Iterator[tuple[str, str]]:
    """Yield (where it is written, data centre); a job once, however many nodes it has."""
    by_job = {id(node.job): node for node in nodes if uses_pod(node)}
    if datacenter_id:
        yield from [("--datacenter-id", datacenter_id)] if by_job else ()
        return
    for node in by_job.values():
        for place in node.job.datacenters:
            yield f"{node.definition.location}: Job.datacenters", place


def _datacenters(provider: Provider) -> frozenset[str] | None:
    """Return the ids of the data centres that RunPod has, or None if it cannot list them."""
    try:
        return provider.datacenters()
    except ProviderError as error:
        if error.stops_run:
            raise
        return None  # the run can do without this check


def _meant(place: str, known: Iterable[str]) -> str:
    close = closest_datacenters(place, known)
    return (
        f": did you mean {' or '.join(map(repr, close))}?"
        if close
        else "; `rpd gpus` shows where there is stock"
    )
