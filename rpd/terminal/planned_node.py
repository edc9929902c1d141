"""A planned node as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rpd.terminal.styles import Ink, counted, money
from rpd.values.dryrun import DryRunNode, Outlook
from rpd.values.frozen import replace
from rpd.values.pod import Offer
from rpd.values.step import Step, StepKind

_PLACES_SHOWN = 4

_CHANCES = {True: "in stock", False: "sold out", None: "stock unknown"}


def one_line(planned: DryRunNode) -> str:
    """Return ``id  $worst``, of a live dry run also whether it is in stock."""
    chance = f"  {_CHANCES[planned.outlook.can_be_rented]}" if planned.outlook else ""
    return f"{planned.node_id}  {money(planned.worst_case_usd)}{chance}"


def could_be_rented(outlooks: Iterable[Outlook]) -> str:
    """Return how many nodes of a live dry run could have their pod now."""
    chances = [outlook.can_be_rented for outlook in outlooks]
    text = f"{chances.count(True)} of {counted(len(chances), 'node')} could be rented now"
    unknown = chances.count(None)
    return f"{text}; stock unknown for {unknown}" if unknown else text


def draw(planned: DryRunNode, ink: Ink) -> Iterator[str]:
    """Yield the node: pod request, offers in the order of trying, steps in order, release, worst case."""
    yield ink(planned.node_id, "bold")
    yield from _block("pod", planned.request or ("none: it runs on this machine",), ink)
    yield from _block("offers", list(_offers(planned.offers)), ink)
    for number, pod in enumerate(planned.more_pods, 2):
        yield from _block(f"pod {number}", pod.request, ink)
        yield from _block("offers", list(_offers(pod.offers)), ink)
    yield from _block("now", planned.outlook.facts if planned.outlook else (), ink)
    yield from _block("steps", [_step(n, step) for n, step in enumerate(planned.steps, 1)], ink)
    yield from _block("release", [planned.release] if planned.release else [], ink)
    yield from _block("costs", [_costs(planned.worst_case_usd)], ink)


def draw_beside(planned: DryRunNode, above: DryRunNode, ink: Ink) -> Iterator[str]:
    """Yield the node in short: ``above`` is drawn already and asks for the same, so only other steps are shown."""
    others = [
        _step(n, step)
        for n, (step, steps) in enumerate(zip(planned.steps, above.steps, strict=True), 1)
        if step != steps
    ]
    yield ink(planned.node_id, "bold")
    yield f"  as above{', but' if others else ''}"
    yield from _block("steps", others, ink)


def is_like(planned: DryRunNode, above: DryRunNode) -> bool:
    """Return whether two nodes differ only in their ids and in the words of their steps."""
    same = replace(planned, node_id=above.node_id, steps=above.steps) == above
    return same and len(planned.steps) == len(above.steps)


def _costs(usd: float | None) -> str:
    if usd is None:
        return "unknown"
    return f"at most {money(usd)}" if usd else "nothing"


def _block(title: str, lines: tuple[str, ...] | list[str], ink: Ink) -> Iterator[str]:
    for number, line in enumerate(lines):
        for part, text in enumerate(line.splitlines() or [""]):
            head = "" if number or part else title
            yield f"  {ink(f'{head:<8}', 'cyan')} {ink(text)}"


def _offers(offers: Sequence[Offer]) -> Iterator[str]:
    """Yield a line for each offer; if stock is known or there are many, one for all places of a GPU."""
    number = 1
    for _, same in groupby(offers, key=_kind):
        alike = list(same)
        if len(alike) == 1 or (alike[0].stock == "unknown" and len(alike) <= _PLACES_SHOWN):
            yield from (_offer(n, offer) for n, offer in enumerate(alike, number))
        else:
            yield _places(number, alike)
        number += len(alike)


def _kind(offer: Offer) -> tuple[object, ...]:
    """Return all that is the same wherever the offer is."""
    return offer.gpu_id, offer.cpu, offer.count, offer.cloud, offer.usd_per_hr


def _offer(number: int, offer: Offer) -> str:
    stock = "" if offer.stock == "unknown" else f", stock {offer.stock}"
    return f"{number}. {offer}  {_price(offer)}{stock}"


def _places(number: int, offers: Sequence[Offer]) -> str:
    """Return the line of offers that differ in their places only, the first of which are named."""
    first = offers[0]
    gpu = (
        f"{first.count}x {first.gpu_id}"
        if first.count > 1
        else first.gpu_id or f"CPU {first.cpu or ''}".rstrip()
    )
    named = [offer for offer in offers if offer.datacenter]
    places = [
        f"{offer.datacenter} {'' if offer.stock == 'unknown' else offer.stock}".rstrip()
        for offer in named[:_PLACES_SHOWN]
    ]
    if len(named) > len(places):
        places.append(f"{len(named) - len(places)} more")
    if len(named) < len(offers):
        places.append("then any")
    return f"{number}-{number + len(offers) - 1}. {gpu} ({first.cloud})  {_price(first)}: {', '.join(places)}"


def _price(offer: Offer) -> str:
    return "price unknown" if offer.usd_per_hr is None else f"${offer.usd_per_hr:.2f}/h"


def _step(number: int, step: Step) -> str:
    named = f"  ({step.name})" if step.name and step.name not in step.command else ""
    return f"{number}. {_VERBS[step.kind]:<5} {step.command}{named}"


_VERBS = {
    StepKind.RUN: "run",
    StepKind.PUT: "put",
    StepKind.PULL: "pull",
    StepKind.WRITE: "write",
    StepKind.READ: "read",
}
