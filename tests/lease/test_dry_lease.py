"""The lease of a dry run."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import pytest

from rpd.errors import Interrupted, OutOfStock
from rpd.lease.dry_lease import DryLease
from rpd.remote.dry_run import connect
from rpd.runpod.dry.provider import OfflineProvider
from rpd.stop import Stop, StopLevel
from rpd.values.job import Gpu, Release
from rpd.values.pod import Offer, PodRequest

REQUEST = PodRequest(image="i", gpu=Gpu("NVIDIA L4"), env={"A": "b"})


class Admits:
    """Lets through the first ``most`` offers."""

    def __init__(self, most: int = 9) -> None:
        self.most = most

    def __call__(self, offers: Sequence[Offer]) -> Sequence[Offer]:
        return offers[: self.most]


def lease(provider: OfflineProvider, admit: Admits, stop: Stop) -> DryLease:
    """Return a lease that has not been acquired yet."""
    return DryLease(
        new_name=lambda: "rpd-dryrun-train-1",
        request=REQUEST,
        provider=provider,
        connect=connect,
        stop=stop,
        admit=admit,
        env={"PUBLIC_KEY": "k"},
        is_wide=False,
    )


@pytest.mark.parametrize(
    ("how", "state", "left"),
    [
        (Release.DELETE, "deleted", 0),
        (Release.STOP, "stopped", 1),
        (Release.RECYCLE, "stopped", 1),
        (Release.PRESERVE, "running", 1),
    ],
)
def test_a_pod_is_there_at_once_and_costs_nothing(how: Release, state: str, left: int) -> None:
    """It is open until it is given back, once, in the state that was asked for."""
    provider = OfflineProvider()
    made = lease(provider, Admits(), Stop())
    assert not made.is_open
    assert made.acquire() is made.remote
    assert made.is_open
    assert made.rented.name == "rpd-dryrun-train-1"
    assert made.gpu_of(made.rented) == "NVIDIA L4"
    assert made.rate_usd_per_hr > 0
    assert made.release(how) == made.release(Release.DELETE) == state
    assert not made.is_open
    assert len(provider.list()) == left
    assert made.take_meter().usd == 0


def test_nothing_is_there_where_no_offer_fits_or_the_run_has_to_end() -> None:
    """Then it raises, and giving it back changes nothing."""
    stopped = Stop()
    stopped.request(StopLevel.END, "enough")
    for admit, stop, error in ((Admits(0), Stop(), OutOfStock), (Admits(), stopped, Interrupted)):
        made = lease(OfflineProvider(), admit, stop)
        with pytest.raises(error):
            made.acquire()
        assert made.release() == ""
        assert not made.is_open


def test_a_lease_lets_go_of_who_admitted_its_offers() -> None:
    """The admitting function knows the node, which knows the lease: ten thousand such rings would need collecting."""
    admit = Admits()
    made, alive = lease(OfflineProvider(), admit, Stop()), weakref.ref(admit)
    made.acquire()
    gc.disable()
    try:
        del admit
        assert alive() is None
    finally:
        gc.enable()
