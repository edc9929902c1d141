"""The lease against a provider that fails at any call: no pod is left, or the error names it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import (
    AmbiguousCreate,
    AuthError,
    ContainerRestarts,
    Interrupted,
    NoCapacity,
    OutOfStock,
    PodLost,
    PodNotFound,
    PodNotReady,
    ProviderError,
    QuotaError,
    RateLimited,
    ReleaseError,
    RequestRejected,
    RpdError,
    TransientError,
    UnusableImage,
)
from rpd.lease import pod_release
from rpd.lease.boot import Images
from rpd.lease.lease import Lease, is_same_gpu
from rpd.lease.pod_release import HOPELESS_TRIES
from rpd.lease.pod_release import TRIES as RELEASE_TRIES
from rpd.remote.dry_run import RecorderRemote, connect
from rpd.runpod.dry.provider import OfflineProvider
from rpd.stop import Stop, StopLevel
from rpd.values.job import Gpu, Release
from rpd.values.pod import Offer, PodInfo, PodRequest, PodSpec, PodStatus, SshEndpoint

A4000, L4 = "NVIDIA RTX A4000", "NVIDIA L4"


class Hasty(Stop):
    """A stop whose waits are over at once."""

    def wait(self, seconds: float) -> bool:
        return super().wait(0)


class Failing(OfflineProvider):
    """A provider whose calls fail as planned.

    ``plans[call]`` holds one entry per call: None (nothing), an error (raised instead), or a tuple of one
    error (raised after the call took effect). ``calls`` are the calls so far.
    """

    def __init__(self, **plans: Sequence[Any]) -> None:
        super().__init__()
        self.plans = {call: deque(plan) for call, plan in plans.items()}
        self.calls: list[str] = []
        self.specs: list[PodSpec] = []

    def _do(self, call: str, act: Callable[[], Any]) -> Any:
        self.calls.append(call)
        plan = self.plans.get(call)
        fault = plan.popleft() if plan else None
        if isinstance(fault, Exception):
            raise fault
        answer = act()
        if fault is not None:
            raise fault[0]
        return answer

    def offers(self, request: PodRequest) -> Sequence[Offer]:
        offered: Sequence[Offer] = self._do("offers", lambda: OfflineProvider.offers(self, request))
        return offered

    def create(self, spec: PodSpec) -> PodInfo:
        self.specs.append(spec)
        pod: PodInfo = self._do("create", lambda: OfflineProvider.create(self, spec))
        return pod

    def get(self, pod_id: str) -> PodInfo | None:
        pod: PodInfo | None = self._do("get", lambda: OfflineProvider.get(self, pod_id))
        return pod

    def list(self) -> Sequence[PodInfo]:
        pods: Sequence[PodInfo] = self._do("list", lambda: OfflineProvider.list(self))
        return pods

    def delete(self, pod_id: str) -> None:
        self._do("delete", lambda: OfflineProvider.delete(self, pod_id))

    def stop(self, pod_id: str) -> None:
        self._do("stop", lambda: OfflineProvider.stop(self, pod_id))

    @property
    def left(self) -> list[PodInfo]:
        """The pods that are still there."""
        return list(OfflineProvider.list(self))


class Events:
    """A record that keeps its events."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, event: str, *, sync: bool = False, **detail: Any) -> None:
        self.seen.append((event, {**detail, "sync": sync}))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]


def make_lease(provider: OfflineProvider, **changes: Any) -> tuple[Lease, Events]:
    """Return a lease for one A4000, else one L4, and where its events go."""
    numbers = itertools.count(1)
    events = Events()
    values: dict[str, Any] = {
        "new_name": lambda: f"rpd-test-{next(numbers)}",
        "request": PodRequest(image="i", gpu=Gpu(A4000, L4)),
        "provider": provider,
        "connect": connect,
        "record": events,
        "stop": Hasty(),
        "ready_seconds": 0.05,
        "env": {"PUBLIC_KEY": "k"},
        "sleep": lambda _seconds: None,
    }
    return Lease(**{**values, **changes}), events


def test_a_pod_is_rented_and_released() -> None:
    """Intent, created, ready, released, in this order.

    Intent, created and released are on the disk before it continues.
    """
    provider = Failing()
    lease, events = make_lease(provider)
    lease.acquire()
    assert [pod.name for pod in provider.left] == ["rpd-test-1"]
    assert provider.specs[0].env == {"PUBLIC_KEY": "k"}
    assert lease.is_open
    assert lease.release(Release.DELETE) == "deleted"
    assert provider.left == []
    assert events.names == ["intent", "created", "ready", "released"]
    assert {name: detail["sync"] for name, detail in events.seen} == {
        "intent": True, "created": True, "ready": False, "released": True,
    }  # fmt: skip


def test_a_pod_that_somebody_stopped_to_keep_its_disk_is_not_deleted() -> None:
    """Whoever stopped it has recorded its cost until then."""
    provider = Failing()
    lease, events = make_lease(provider)
    lease.acquire()
    lease.leave_stopped()
    assert lease.release(Release.DELETE) == "stopped"
    assert [pod.name for pod in provider.left] == ["rpd-test-1"]
    assert (events.seen[-1][0], events.seen[-1][1]["usd"]) == ("released", 0.0)


def test_releasing_again_changes_nothing() -> None:
    """Once released, a lease stays as it is, whatever is asked then."""
    provider = Failing()
    lease, events = make_lease(provider)
    lease.acquire()
    lease.release(Release.STOP)
    calls = len(provider.calls)
    assert lease.release(Release.DELETE) == "stopped"
    assert len(provider.calls) == calls
    assert events.names.count("released") == 1
    unused, _ = make_lease(provider)
    assert unused.release(Release.DELETE) == ""


def test_refused_offers_give_way_to_the_next() -> None:
    """An offer without capacity is recorded and the next one tried; nothing is asked twice."""
    provider = Failing(create=[NoCapacity("sold out"), None])
    lease, events = make_lease(provider)
    lease.acquire()
    assert lease.offer is not None
    assert lease.offer.gpu_id == L4
    assert events.names[:4] == ["intent", "refused", "intent", "created"]
    assert provider.calls.count("create") == 2


def test_out_of_stock_tells_every_refusal() -> None:
    """When all offers are refused, the error holds the reason of each, and nothing is left to release."""
    provider = Failing(create=[NoCapacity("first"), NoCapacity("second")])
    lease, _ = make_lease(provider)
    with pytest.raises(OutOfStock, match="2 offers were refused") as raised:
        lease.acquire()
    assert [text.rpartition(": ")[2] for text in raised.value.refusals] == ["first", "second"]
    assert not lease.is_open


def test_nothing_that_fits_is_out_of_stock() -> None:
    """Without an offer the error describes the request."""
    lease, _ = make_lease(Failing(), request=PodRequest(image="i", gpu=Gpu(L4, max_price_usd=0.01)))
    with pytest.raises(OutOfStock, match=r"offers nothing that fits: NVIDIA L4 up to \$0.01/h"):
        lease.acquire()


@pytest.mark.parametrize("hiccup", [TransientError("502"), RateLimited("429", retry_after=0.0)])
def test_a_hiccup_is_tried_again_under_a_new_name(hiccup: ProviderError) -> None:
    """After a create that certainly made no pod, the next try has a new name, to tell a late pod apart."""
    provider = Failing(create=[hiccup, None])
    lease, events = make_lease(provider)
    lease.acquire()
    assert [spec.name for spec in provider.specs] == ["rpd-test-1", "rpd-test-2"]
    assert [pod.name for pod in provider.left] == [lease.name] == ["rpd-test-2"]
    assert [detail["pod_name"] for name, detail in events.seen if name == "intent"] == [
        "rpd-test-1",
        "rpd-test-2",
    ]


@pytest.mark.parametrize("error", [AuthError("no"), QuotaError("no"), RequestRejected("no")])
def test_a_refused_request_is_not_repeated(error: ProviderError) -> None:
    """A permanent refusal of RunPod is raised at once."""
    provider = Failing(create=[error])
    lease, _ = make_lease(provider)
    with pytest.raises(type(error)):
        lease.acquire()
    assert provider.calls.count("create") == 1
    assert not lease.is_open


def test_a_lost_answer_is_looked_up_and_the_pod_deleted() -> None:
    """When a create's answer was lost for good, the pod is found by its name and deleted."""
    provider = Failing(create=[(AmbiguousCreate("lost"),)], list=[TransientError("once"), None])
    lease, events = make_lease(provider)
    with pytest.raises(AmbiguousCreate):
        lease.acquire()
    assert provider.left == []
    assert provider.calls.count("create") == 1
    assert events.names[-1] == "released"


def test_a_pod_that_cannot_be_found_again_is_named() -> None:
    """If the pods cannot be listed after a lost answer, the error names the pod that may exist."""
    provider = Failing(create=[(AmbiguousCreate("lost"),)], list=[TransientError("down")] * RELEASE_TRIES)
    lease, _ = make_lease(provider)
    with pytest.raises(ReleaseError, match=r"rpd-test-1 may still bill.*rpd stop rpd-test-1"):
        lease.acquire()
    assert lease.is_open


def test_only_reading_back_proves_a_release() -> None:
    """A delete that was answered well but did nothing is repeated until the pod is gone."""

    class Deaf(Failing):
        def delete(self, pod_id: str) -> None:
            self.calls.append("delete")
            if self.calls.count("delete") > 2:
                OfflineProvider.delete(self, pod_id)

    provider = Deaf()
    lease, events = make_lease(provider)
    lease.acquire()
    assert lease.release(Release.DELETE) == "deleted"
    assert provider.left == []
    assert provider.calls.count("delete") == 3
    assert events.names[-1] == "released"


def test_a_pod_that_stays_is_told_with_its_id() -> None:
    """A pod that cannot be deleted makes a ReleaseError with its id; a later release may still succeed."""
    provider = Failing(delete=[TransientError("500")] * RELEASE_TRIES)
    lease, events = make_lease(provider)
    lease.acquire()
    with pytest.raises(ReleaseError, match=r"dryrun1 may still bill: .*rpd stop dryrun1") as raised:
        lease.release(Release.DELETE)
    assert raised.value.pod_id == "dryrun1"
    assert events.names[-1] == "unreleased"
    assert lease.is_open
    assert lease.release(Release.DELETE) == "deleted"
    assert provider.left == []


@pytest.mark.parametrize(
    ("error", "tries"), [(TransientError("500"), RELEASE_TRIES), (AuthError("401."), HOPELESS_TRIES)]
)
def test_what_waiting_may_mend_is_tried_for_longer(error: ProviderError, tries: int) -> None:
    """A hiccup is waited for; a refused key is not, and neither is followed by a wait after the last try."""
    provider, waits = Failing(delete=[error] * 99), list[float]()
    lease, _ = make_lease(provider)
    lease.acquire()
    (pod,) = provider.left
    with pytest.raises(ReleaseError) as raised:
        pod_release.delete(provider, pod, sleep=waits.append)
    assert (provider.calls.count("delete"), len(waits)) == (tries, tries - 1)
    assert (
        str(raised.value)
        == f"pod {pod.id} may still bill: {str(error).rstrip('.')}. Release it with: rpd stop {pod.id}"
    )


def test_a_pod_that_is_gone_is_released() -> None:
    """A pod that somebody else deleted counts as deleted, also where it should have been stopped."""
    for how in (Release.DELETE, Release.STOP):
        provider = Failing()
        lease, _ = make_lease(provider)
        lease.acquire()
        assert lease.pod is not None
        OfflineProvider.delete(provider, lease.pod.id)
        lease.release(how)
        assert not lease.is_open


@pytest.mark.parametrize("how", [Release.STOP, Release.RECYCLE])
def test_stopping_keeps_the_pod(how: Release) -> None:
    """A stopped pod is still there, stopped, and confirmed as such."""
    provider = Failing()
    lease, _ = make_lease(provider)
    lease.acquire()
    assert lease.release(how) == "stopped"
    assert [pod.status for pod in provider.left] == ["EXITED"]


def test_preserving_asks_nothing() -> None:
    """A preserved pod runs on and is recorded as kept."""
    provider = Failing()
    lease, events = make_lease(provider)
    lease.acquire()
    calls = len(provider.calls)
    assert lease.release(Release.PRESERVE) == "running"
    assert (len(provider.calls), events.names[-1]) == (calls, "kept")


def test_a_pod_that_never_comes_up_is_deleted() -> None:
    """No SSH port within the deadline: the error asks about image and disk, and the pod is gone."""

    class Silent(Failing):
        def get(self, pod_id: str) -> PodInfo | None:
            info = super().get(pod_id)
            return None if info is None else PodInfo(id=info.id, name=info.name, status=info.status)

    provider = Silent()
    lease, _ = make_lease(provider, request=PodRequest(image="my/image", gpu=None))
    with pytest.raises(PodNotReady, match=r"never started. Is the image right \(my/image\)"):
        lease.acquire()
    assert provider.left == []


def test_a_pod_that_ends_while_it_boots_is_lost() -> None:
    """A pod that exits before it is ready is deleted and reported as lost."""

    class Ending(Failing):
        def get(self, pod_id: str) -> PodInfo | None:
            info = super().get(pod_id)
            if info is not None and "stop" not in self.calls:
                self.stop(pod_id)
                info = OfflineProvider.get(self, pod_id)
            return info

    provider = Ending()
    lease, _ = make_lease(provider)
    with pytest.raises(PodLost, match="ended while it booted"):
        lease.acquire()
    assert provider.left == []


@pytest.mark.parametrize(
    ("change", "is_user"),
    [
        ("Exited by user: Fri", True),
        ("Terminated by User: Fri", True),
        ("Exited by Runpod: Fri", False),
        ("", False),
    ],
)
def test_a_lease_notes_who_ended_its_pod(change: str, is_user: bool) -> None:
    """In RunPod's words, where they say so; of a deleted pod they say nothing."""

    class Ended(Failing):
        def get(self, pod_id: str) -> PodInfo | None:
            info = super().get(pod_id)
            return info and replace(info, status=PodStatus.EXITED, last_status_change=change)

    lease, _ = make_lease(Ended())
    with pytest.raises(PodLost):
        lease.acquire()
    assert lease.ended_by_user == (change if is_user else "")


def test_too_few_gpus_are_noticed() -> None:
    """A pod that shows fewer GPUs than asked for is refused and deleted."""

    class Bare(RecorderRemote):
        def probe(self) -> Mapping[str, str]:
            return {"gpu_count": "0"}

    provider = Failing()
    lease, _ = make_lease(provider, connect=lambda *_, **__: Bare())
    with pytest.raises(PodNotReady, match="0 GPUs instead of 1"):
        lease.acquire()
    assert provider.left == []


def test_an_image_without_a_needed_tool_is_rented_once() -> None:
    """The image and the tool are named, the pod is deleted, and no other pod of that image is asked for."""

    class Bare(RecorderRemote):
        def probe(self) -> Mapping[str, str]:
            return {"missing": "tar, xargs"}

    provider, images = Failing(), Images()
    for _ in range(2):
        lease, _ = make_lease(provider, connect=lambda *_, **__: Bare(), images=images)
        with pytest.raises(UnusableImage, match="image i has no tar, xargs"):
            lease.acquire()
    assert len(provider.specs) == 1
    assert provider.left == []
    other = PodRequest(image="other", gpu=Gpu(A4000))
    lease, _ = make_lease(provider, images=images, request=other)
    lease.acquire()


def test_nothing_is_created_once_the_run_ends() -> None:
    """When the run is being ended, a lease asks for nothing more."""
    provider, stop = Failing(), Hasty()
    stop.request(StopLevel.END, "interrupted by SIGINT")
    lease, _ = make_lease(provider, stop=stop)
    with pytest.raises(Interrupted):
        lease.acquire()
    assert "create" not in provider.calls


def test_an_interrupt_while_it_boots_gives_it_back() -> None:
    """A run that ends while the pod boots deletes it."""
    stop = Hasty()

    class Interrupting(Failing):
        def create(self, spec: PodSpec) -> PodInfo:
            pod = super().create(spec)
            stop.request(StopLevel.END, "interrupted by SIGINT")
            return PodInfo(id=pod.id, name=pod.name, status=pod.status)

        def get(self, pod_id: str) -> PodInfo | None:
            info = super().get(pod_id)
            return None if info is None else PodInfo(id=info.id, name=info.name, status=info.status)

    provider = Interrupting()
    lease, _ = make_lease(provider, stop=stop)
    with pytest.raises(Interrupted):
        lease.acquire()
    assert provider.left == []


def test_the_meter_is_read_once() -> None:
    """Billed time is charged once, at the rate of the pod, and no more after the release."""
    provider = Failing()
    lease, _ = make_lease(provider)
    assert lease.take_meter().seconds == 0
    lease.acquire()
    first = lease.take_meter()
    lease.release(Release.DELETE)
    last = lease.take_meter()
    assert first.seconds > 0
    assert first.usd == pytest.approx(first.seconds * lease.total_usd_per_hr / 3600)
    assert first.seconds + last.seconds == pytest.approx(lease.age_seconds)
    assert lease.take_meter().seconds == 0
    assert lease.rate_source == "pod"


def faults(*errors: RpdError) -> st.SearchStrategy[list[Any]]:
    """Return plans of up to four calls: each fine, failed, or (for a create) failed after it took effect."""
    return st.lists(st.sampled_from([None, None, *errors]), max_size=4)


@given(
    offers=faults(TransientError("offers")),
    creates=st.lists(
        st.sampled_from(
            [None, None, NoCapacity("full"), TransientError("502"), RateLimited("429", retry_after=0.0),
             AmbiguousCreate("nothing made"), (AmbiguousCreate("made"),), QuotaError("quota"), RequestRejected("?")]
        ),
        max_size=4,
    ),
    gets=faults(TransientError("get"), AuthError("get")),
    lists=faults(TransientError("list")),
    deletes=st.lists(
        st.sampled_from([None, TransientError("500"), (TransientError("500, but done"),), PodNotFound("?")]), max_size=10
    ),
)  # fmt: skip
def test_no_pod_is_left_whatever_fails(
    offers: list[Any], creates: list[Any], gets: list[Any], lists: list[Any], deletes: list[Any]
) -> None:
    """Whatever call fails, in the end there is no pod, or the ReleaseError that was raised names it."""
    provider = Failing(offers=offers, create=creates, get=gets, list=lists, delete=deletes)
    lease, events = make_lease(provider)
    text = ""
    try:
        lease.acquire()
    except ReleaseError as error:
        text = str(error)
    except RpdError:
        assert not lease.is_open
    else:
        assert [pod.name for pod in provider.left] == [lease.name]
        try:
            lease.release(Release.DELETE)
        except ReleaseError as error:
            text = str(error)
    for pod in provider.left:
        assert pod.id in text or pod.name in text
    assert lease.is_open == bool(text)
    # The journal alone says which pods may be left: `rpd gc` goes by it.
    intended = {detail["pod_name"] for name, detail in events.seen if name == "intent"}
    assert {spec.name for spec in provider.specs} <= intended


class Moving(OfflineProvider):
    """A provider of pods whose container restarts, on another port each time somebody looks."""

    def __init__(self) -> None:
        super().__init__()
        self._ports = itertools.count(40001)

    def get(self, pod_id: str) -> PodInfo | None:
        pod = super().get(pod_id)
        return pod and replace(pod, ssh=SshEndpoint(host="10.0.0.1", port=next(self._ports)))

    def list(self) -> Sequence[PodInfo]:
        return [self.get(pod.id) or pod for pod in super().list()]


@pytest.mark.parametrize("answers_at", [1, 3])
def test_an_address_that_changes_while_the_pod_boots(answers_at: int) -> None:
    """An address that does not answer is looked up again, and the pod is found at its new one."""
    tried: list[int] = []

    def choosy(endpoint: SshEndpoint, *, pod_id: str, **_: Any) -> RecorderRemote:
        tried.append(endpoint.port)
        if len(tried) < answers_at:
            raise PodNotReady("cannot run a command")
        return RecorderRemote()

    lease, events = make_lease(Moving(), connect=choosy, ready_seconds=600.0)
    lease.acquire()
    assert len(set(tried)) == len(tried) == answers_at
    assert events.names == ["intent", "created", "ready"]


def deaf(_endpoint: SshEndpoint, *, pod_id: str, **_: Any) -> RecorderRemote:
    raise PodNotReady(f"pod {pod_id}: nobody answers")


def test_a_pod_that_never_answers_is_given_up_in_time() -> None:
    """The error gives the time waited and the last problem; the pod is deleted."""
    provider = Moving()
    lease, _ = make_lease(provider, connect=deaf, ready_seconds=5.0)
    with pytest.raises(PodNotReady, match=r"was not ready after 5.00s: .*nobody answers"):
        lease.acquire()
    assert provider.list() == []


def test_the_log_of_a_pod_that_never_answers_is_read_at_last() -> None:
    """It may say why: a container that ends and starts again has an address now and then, and its uptime may not tell."""

    class Restarting(Moving):
        def logs(self, pod_id: str, *, tail: int) -> Sequence[str]:
            return ["start container for my/image: begin"] * 5

    provider = Restarting()
    lease, _ = make_lease(provider, connect=deaf, ready_seconds=3.0)
    with pytest.raises(ContainerRestarts, match="was restarted 4 times"):
        lease.acquire()
    assert provider.list() == []


@pytest.mark.parametrize(
    ("paid", "reported", "same"),
    [
        (L4, L4, True),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100-PCIE-80GB", True),
        ("Tesla T4", "NVIDIA T4", True),
        ("NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX 6000 Ada", True),
        (
            "NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb",
            "NVIDIA RTX PRO 6000 Blackwell Server Edition",
            True,
        ),
        ("NVIDIA L40S", "NVIDIA L40", False),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", False),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", False),
    ],
)
def test_names_of_gpus_are_compared_by_their_words(paid: str, reported: str, same: bool) -> None:
    """Spelling does not matter, every word that tells one GPU from another does; a slice is no whole one."""
    assert is_same_gpu(paid, reported) is same
