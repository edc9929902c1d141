"""A dry run of one node: the acts of a live run."""

from __future__ import annotations

from rpd.values.frozen import frozen
from rpd.values.pod import Offer
from rpd.values.step import Step


@frozen
class Outlook:
    """The pods that RunPod offers for a node at the moment of asking.

    ``can_be_rented`` is None if RunPod does not report the stock; ``facts`` are for people, one per line.
    """

    can_be_rented: bool | None
    facts: tuple[str, ...] = ()
    is_sold_out: bool = False
    """Whether RunPod rents the requested kind, but has nothing of it in stock."""


@frozen
class DryRunPod:
    """One more pod of a node: its request, a line for each fact, and the offers in the order of trying."""

    request: tuple[str, ...]
    offers: tuple[Offer, ...] = ()


@frozen
class DryRunNode:
    """A node's requests and steps, as a dry run found them.

    ``request`` describes the pod, one line per fact (empty: it needs none), ``offers`` are in the order of
    trying, ``release`` says how the pod ends. ``worst_case_usd`` is its cap, None if unknown. ``outlook`` is
    set if RunPod was asked, for a node that would rent a pod.
    """

    node_id: str
    request: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    steps: tuple[Step, ...] = ()
    release: str = ""
    worst_case_usd: float | None = None
    outlook: Outlook | None = None
    more_pods: tuple[DryRunPod, ...] = ()
    """The other pods it asks for; the first is what ``request`` and ``offers`` describe."""
