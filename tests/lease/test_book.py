"""The book of leases: no pod is forgotten, and a pod that is gone is not called a leak."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from rpd.errors import ReleaseError
from rpd.lease.book import LeaseBook
from rpd.lease.lease import Lease
from rpd.values.job import Release


class Rented:
    """The part of a lease that the book reads; ``fails`` releases of it are not confirmed."""

    def __init__(self, name: str, pod: str = "", fails: int = 0) -> None:
        self.name = name
        self.pod: Any = SimpleNamespace(id=pod) if pod else None
        self.is_open = True
        self.final_state = ""
        self._fails = fails

    def release(self, how: Release = Release.DELETE, *, tries: int = 5) -> None:
        if self._fails:
            self._fails -= 1
            raise ReleaseError(self.pod.id if self.pod else "", self.name, "no answer")
        self.end("deleted" if how is Release.DELETE else "stopped")

    def end(self, state: str) -> None:
        self.is_open, self.final_state = False, state


def book(*leases: Rented) -> LeaseBook:
    made = LeaseBook()
    for lease in leases:
        made.add(cast("Lease", lease))
    return made


def test_all_that_is_open_is_released_and_what_fails_is_remembered() -> None:
    """A lease without a pod yet is released, too: its request may still become one."""
    good, requested, bad = Rented("a", "pod-a"), Rented("b"), Rented("c", "pod-c", fails=1)
    leases = book(good, requested, bad)
    leases.release_all()
    assert (good.is_open, requested.is_open, bad.is_open) == (False, False, True)
    assert leases.unreleased == ("pod-c",)


def test_trouble_that_is_over_is_no_leak() -> None:
    """At the end rpd tries to release each again, and returns those that are gone by then."""
    brief, lasting = Rented("a", "pod-a", fails=1), Rented("b", "pod-b", fails=9)
    leases = book(brief, lasting)
    leases.release_all()
    assert sorted(leases.unreleased) == ["pod-a", "pod-b"]
    assert leases.try_again() == ["pod-a"]
    assert leases.unreleased == ("pod-b",)


def test_the_last_lease_of_a_pod_decides_whether_it_stays() -> None:
    stopped, reused, kept = Rented("a", "pod-a"), Rented("b", "pod-a"), Rented("c", "pod-c")
    leases = book(stopped, kept)
    stopped.end("stopped")
    kept.end("running")
    assert leases.leftover == ("pod-a", "pod-c")
    leases.add(cast("Lease", reused))
    reused.end("deleted")
    assert leases.leftover == ("pod-c",)


def test_a_long_run_forgets_pods_that_are_gone_and_no_other() -> None:
    """Also the earlier leases of a pod that a later one deleted; what may still bill stays in the book."""
    stopped, reused = Rented("a", "pod-a"), Rented("b", "pod-a")
    kept, bad = Rented("c", "pod-c"), Rented("d", "pod-d", fails=2)
    leases = book(stopped, reused, kept, bad)
    leases.release_all()
    stopped.final_state, kept.final_state = "stopped", "stopped"
    leases.forget_deleted()
    assert leases.leftover == ("pod-c",)
    assert leases.unreleased == ("pod-d",)
    leases.release_all()
    assert leases.try_again() == ["pod-d"]
