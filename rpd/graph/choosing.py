"""The nodes that run because others need them, and results taken from earlier runs instead."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from rpd.errors import UsageError
from rpd.graph.earlier_results import NotThere, Past, taken
from rpd.graph.topological_order import needed_by
from rpd.values.frozen import EMPTY, frozen
from rpd.values.node import Node
from rpd.values.report import NodeReport

_TOLD = 5


@frozen
class Completed:
    """Nodes in an order in which they can run, and the reports of nodes that they use from earlier runs."""

    nodes: tuple[Node, ...]
    taken: tuple[NodeReport, ...] = ()
    stands: Mapping[str, tuple[str, ...]] = EMPTY
    """By id of a need that left nothing itself: which of ``taken`` stand for it, the best first."""


def complete(
    nodes: Iterable[Node],
    known: Mapping[str, Node],
    *,
    done: Container[str] = (),
    past: Past | None = None,
    must_take: bool = False,
    notice: Callable[[str], object] = lambda _text: None,
) -> Completed:
    """Return ``nodes`` with everything they need, each need before the node that needs it.

    A need that is neither among them nor ``done`` is taken from ``past`` if possible, and runs too otherwise;
    with ``must_take`` it has to be there. Raise UsageError that names every missing need.
    """
    chosen = {node.id: node for node in nodes}
    used: dict[str, tuple[NodeReport, ...]] = {}
    refused: dict[str, str] = {}
    waiting = list(chosen.values())
    for node in waiting:  # it grows
        for need in node.needs:
            if need in chosen or need in done or need in used or need in refused:
                continue
            try:
                if past is None:
                    raise NotThere("")
                used[need] = past.reports(need)
            except NotThere as error:
                if must_take:
                    refused[need] = str(error)
                if must_take or need not in known:
                    continue  # an uncollected node has an error, and those that need it will be skipped
                if past is not None and past.has(need):
                    notice(f"{error}: it runs again")
                chosen[need] = known[need]
                waiting.append(known[need])
    if refused:
        raise UsageError(_refusal(list(refused.values())))
    ids = {need: tuple(report.node.id for report in reports) for need, reports in used.items()}
    return Completed(
        nodes=tuple(needed_by(chosen.values(), chosen)),
        taken=taken(report for reports in used.values() for report in reports),
        stands={need: stand for need, stand in ids.items() if stand != (need,)},
    )


def _refusal(why: list[str]) -> str:
    more = f"\n  … and {len(why) - _TOLD} more" if len(why) > _TOLD else ""
    lines = "".join(f"\n  {each}" for each in why[:_TOLD])
    return (
        f"--no-needs: results that selected nodes need must come from an earlier run, but cannot:{lines}{more}\n"
        "Leave --no-needs out to run those nodes first"
    )
