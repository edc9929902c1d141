"""One list for all that boot and all that end, on a clock that moves only when somebody waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from rpd.errors import TransientError
from rpd.lease.pod_poller import FEW, GAP_SECONDS, PodView
from rpd.runpod.dry.provider import OfflineProvider
from rpd.values.pod import PodInfo, PodStatus
from tests.clock import Clock


class Account(OfflineProvider):
    """Pods by their ids; the calls so far, and the number of simultaneous ones."""

    def __init__(self, *ids: str) -> None:
        super().__init__()
        self.there = {pod_id: PodInfo(id=pod_id, name=pod_id, status=PodStatus.RUNNING) for pod_id in ids}
        self.calls: list[str] = []
        self.failing = False
        self.listed = threading.Event()
        self.go_on: threading.Event | None = None

    def get(self, pod_id: str) -> PodInfo | None:
        self.calls.append(pod_id)
        return self.there.get(pod_id)

    def list(self) -> Sequence[PodInfo]:
        self.calls.append("list")
        self.listed.set()
        if self.go_on is not None:
            assert self.go_on.wait(30)
        if self.failing:
            raise TransientError("502")
        return tuple(self.there.values())


IDS = [f"p{n}" for n in range(64)]


def view_of(account: Account, stack: ExitStack, *, waiting: int = FEW + 1) -> tuple[PodView, Clock]:
    clock = Clock(100.0)
    view = PodView(lambda: account, clock=clock, sleep=clock.sleep)
    for _ in range(waiting):
        stack.enter_context(view.waiting())
    return view, clock


def test_few_pods_are_read_one_by_one() -> None:
    """A lone reader does not wait to share a list with others."""
    account = Account("p0")
    with ExitStack() as stack:
        view, clock = view_of(account, stack, waiting=FEW)
        assert view.look("p0") is not None
    assert (account.calls, clock.now) == (["p0"], 100.0)
    assert view.look_back("p0") is not None
    assert account.calls == ["p0", "p0"]


def test_a_list_serves_all_that_may_be_as_old() -> None:
    """64 pods that boot are read with one list as long as it is young enough for each of them."""
    account = Account(*IDS)
    with ExitStack() as stack:
        view, clock = view_of(account, stack)
        for pod_id in IDS:
            assert view.look(pod_id, max_age=0.5) == account.there[pod_id]
        assert account.calls == ["list"]
        clock.now += 0.6
        view.look("p0", max_age=0.5)
    assert account.calls == ["list", "list"]


def test_who_ends_a_pod_reads_a_list_that_was_begun_then() -> None:
    """A pod counts as gone by a list that began after its end was answered, and only if a list has shown it before."""
    account = Account("p0", "p1")
    with ExitStack() as stack:
        view, _ = view_of(account, stack)
        assert view.look_back("p0") is not None
        del account.there["p0"]
        assert view.look_back("p0") is None
        assert account.calls == ["list", "list"]
        assert view.look_back("never listed") is None
        assert account.calls[-1] == "never listed"


def test_a_pod_that_boots_and_is_not_listed_is_asked_for() -> None:
    """It may be too new for the list."""
    account = Account("p0")
    with ExitStack() as stack:
        view, _ = view_of(account, stack)
        assert view.look("p9") is None
    assert account.calls == ["list", "p9"]


def test_who_comes_while_a_list_is_read_shares_the_next_one() -> None:
    """64 threads that end their pods at once take two lists, the one under way and one more, and one pause."""
    account = Account(*IDS)
    with ExitStack() as stack:
        view, clock = view_of(account, stack)
        account.go_on = threading.Event()
        seen: list[PodInfo | None] = []
        threads = [
            threading.Thread(target=lambda each=each: seen.append(view.look_back(each)))  # type: ignore[misc]
            for each in IDS
        ]
        threads[0].start()
        assert account.listed.wait(30)
        clock.now += GAP_SECONDS / 2
        for thread in threads[1:]:
            thread.start()
        account.go_on.set()
        for thread in threads:
            thread.join(30)
    assert len(seen) == len(IDS)
    assert (
        account.calls.count("list") == len(account.calls) <= 3
    )  # a thread may come after the second has begun
    assert clock.now <= 100 + 3 * GAP_SECONDS


def test_a_list_that_failed_failed_for_all() -> None:
    """They do not try one after the other, each until its time is up."""
    account = Account(*IDS)
    account.failing = True
    with ExitStack() as stack:
        view, _ = view_of(account, stack)
        for pod_id in IDS:
            with pytest.raises(TransientError):
                view.look(pod_id, max_age=1.0)
        assert account.calls == ["list"]
