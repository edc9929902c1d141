"""A dry run of one node: what would have happened."""

from __future__ import annotations

from rpd.values.frozen import frozen
from rpd.values.pod import Offer
from rpd.values.step import Step


@frozen
class Outlook:
    """What a node's pod could be had for at the moment of asking.

    ``can_be_rented`` is None where RunPod does not report the stock; ``facts`` are for people, one a line.
    """

    can_be_rented: bool | None
    facts: tuple[str, ...] = ()
    is_sold_out: bool = False
    """Whether RunPod rents what is asked for, but has nothing of it in stock."""


@frozen
class DryRunPod:
    """One more pod of a node: its request, a line for each fact, and the offers in the order of trying."""

    request: tuple[str, ...]
    offers: tuple[Offer, ...] = ()


@frozen
class DryRunNode:
    """What a node would ask for and do, as a dry run found out.

    ``request`` describes the pod, a line for each fact (empty: it needs none), ``offers`` are in the order of
    trying, ``release`` says what becomes of the pod. ``worst_case_usd`` is its cap, None if unknown. ``outlook`` is
    there where RunPod was asked, for a node that would rent a pod.
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
