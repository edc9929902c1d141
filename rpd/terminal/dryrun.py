"""A planned node as lines: what a dry run found out."""

from __future__ import annotations

from collections.abc import Iterator

from rpd.terminal.ink import Ink, money
from rpd.values.dryrun import DryRunNode
from rpd.values.pod import Offer
from rpd.values.step import Step, StepKind


def one_line(planned: DryRunNode) -> str:
    """Return ``id  $worst``."""
    return f"{planned.node_id}  {money(planned.worst_case_usd)}"


def draw(planned: DryRunNode, ink: Ink) -> Iterator[str]:
    """Yield the node: pod request, offers in the order of trying, steps in order, release, worst case."""
    yield ink(planned.node_id, "bold")
    yield from _block("pod", planned.request or ("none: it runs on this machine",), ink)
    yield from _block("offers", [_offer(n, offer) for n, offer in enumerate(planned.offers, 1)], ink)
    yield from _block("steps", [_step(n, step) for n, step in enumerate(planned.steps, 1)], ink)
    yield from _block("release", [planned.release] if planned.release else [], ink)
    yield from _block("costs", [_costs(planned.worst_case_usd)], ink)


def _costs(usd: float | None) -> str:
    if usd is None:
        return "not known"
    return f"at most {money(usd)}" if usd else "nothing"


def _block(title: str, lines: tuple[str, ...] | list[str], ink: Ink) -> Iterator[str]:
    for number, line in enumerate(lines):
        for part, text in enumerate(line.splitlines() or [""]):
            head = "" if number or part else title
            yield f"  {ink(f'{head:<8}', 'cyan')} {ink(text)}"


def _offer(number: int, offer: Offer) -> str:
    price = "price unknown" if offer.usd_per_hr is None else f"${offer.usd_per_hr:.2f}/h"
    stock = "" if offer.stock == "unknown" else f", stock {offer.stock}"
    return f"{number}. {offer}  {price}{stock}"


def _step(number: int, step: Step) -> str:
    named = f"  ({step.name})" if step.name and step.name not in step.command else ""
    return f"{number}. {_VERBS[step.kind]:<5} {step.command}{named}"


_VERBS = {StepKind.RUN: "run", StepKind.PUT: "put", StepKind.PULL: "pull", StepKind.WRITE: "write"}
