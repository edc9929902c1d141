"""RunPodProvider through the real SDK against the emulator: an account with state, stock and faults."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from rpd.emulator.launch import Launched
from rpd.errors import (
    ApiRetired,
    AuthError,
    BalanceError,
    NoCapacity,
    PodNotFound,
    ProviderError,
    RateLimited,
    ReleaseError,
    TransientError,
)
from rpd.lease import pod_release
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.values.job import Gpu
from rpd.values.pod import Cloud, Offer, PodRequest, PodSpec, PodStatus
from tests.waiting import wait_until

L4 = Gpu("NVIDIA L4")


@pytest.fixture
def emulated(account: Launched, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPodProvider]:
    """A provider on an account without pods or faults."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", account.base_url)
    provider = RunPodProvider(
        account.api_key,
        retry=Retry(first_wait=0.01),
        patience=Patience(lost=(0.0, 0.02, 0.02)),
        bucket=TokenBucket(rate=1000, burst=1000, sleep=lambda _: None),
    )
    account.set_balance(100.0)
    yield provider
    account.clear_faults()
    for pod in provider.list():
        provider.delete(pod.id)
    provider.close()


def order(name: str, provider: RunPodProvider, **changes: Any) -> PodSpec:
    request = PodRequest(image="runpod/base:1", **{"gpu": L4, **changes})
    return PodSpec(
        name=name, request=request, offer=provider.offers(request)[0], env={"PUBLIC_KEY": "ssh-ed25519 A"}
    )


def until_ssh(provider: RunPodProvider, pod_id: str) -> Any:
    """Read the pod until it has an address."""
    return wait_until(lambda: _with_address(provider, pod_id), "the address of the pod")


def _with_address(provider: RunPodProvider, pod_id: str) -> Any:
    pod = provider.get(pod_id)
    return pod if pod is not None and pod.ssh is not None else None


def test_the_life_of_a_pod(account: Launched, emulated: RunPodProvider) -> None:
    """Create, read, list, stop and delete through the SDK, with the state of the account after each."""
    pod = emulated.create(order("rpd-life", emulated))
    assert (pod.name, pod.gpu, pod.gpu_count, pod.cloud) == ("rpd-life", "NVIDIA L4", 1, Cloud.SECURE)
    assert pod.usd_per_hr is not None
    assert pod.datacenter is not None
    ready = until_ssh(emulated, pod.id)
    assert ready.ssh.host == "127.0.0.1"
    assert [p.id for p in emulated.list()] == [pod.id]
    emulated.stop(pod.id)
    stopped = emulated.get(pod.id)
    assert stopped is not None
    assert (stopped.status, stopped.ssh) == (PodStatus.EXITED, None)
    emulated.delete(pod.id)
    emulated.delete(pod.id)
    assert emulated.get(pod.id) is None
    assert account.pods() == []
    with pytest.raises(PodNotFound):
        emulated.stop(pod.id)


def test_the_account_and_its_offers(emulated: RunPodProvider) -> None:
    """The balance is read, and offers name data centres that are in stock at the live price."""
    assert emulated.account().balance_usd == pytest.approx(100.0, abs=1.0)
    offers = emulated.offers(PodRequest(image="i", gpu=L4))
    assert offers[0].stock in ("high", "medium", "low")
    assert offers[0].datacenter is not None
    assert offers[-1].datacenter is None
    assert {offer.usd_per_hr for offer in offers} == {0.49}


def test_a_spot_pod_and_a_cpu_pod(account: Launched, emulated: RunPodProvider) -> None:
    """Both other kinds of pod are made by the mutations they need."""
    spot = emulated.create(order("rpd-spot", emulated, spot=True))
    cpu = emulated.create(order("rpd-cpu", emulated, gpu=None))
    assert spot.spot
    assert (cpu.spot, cpu.gpu_count) == (False, 0)
    assert {pod["name"] for pod in account.pods()} == {"rpd-spot", "rpd-cpu"}


def test_awkward_text_arrives_whole(account: Launched, emulated: RunPodProvider) -> None:
    """Quotes, backslashes, line ends and emoji in the environment come out as they went in."""
    text = 'a "b" \\ c\n{d} #e é 🚀\t$(f)'
    asked = order("rpd-text", emulated)
    emulated.create(PodSpec(name="rpd-text", request=asked.request, offer=asked.offer, env={"TEXT": text}))
    [pod] = account.pods()
    assert pod["env"]["TEXT"] == text


def test_sold_out(account: Launched, emulated: RunPodProvider) -> None:
    """A stock-out is NoCapacity, and no pod comes of it."""
    account.inject({"kind": "stock-out", "match": {"gpu": "NVIDIA L4"}})
    asked = PodRequest(image="i", gpu=L4)
    offer = Offer(gpu_id="NVIDIA L4", count=1, cloud=Cloud.SECURE, datacenter=None, usd_per_hr=0.49)
    with pytest.raises(NoCapacity):
        emulated.create(PodSpec(name="rpd-none", request=asked, offer=offer, env={}))
    assert account.pods() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "server-error", "status": 502, "when": "after"},
        {"kind": "server-error", "status": 524, "when": "after"},
        {"kind": "reset", "when": "after"},
        {"kind": "error", "message": "Something went wrong. Please try again later.", "when": "after"},
        {"kind": "error", "message": "Cannot return null.", "code": "", "when": "after"},
    ],
)
def test_a_pod_made_before_the_answer_was_lost_is_found_and_made_once(
    account: Launched, emulated: RunPodProvider, fault: dict[str, Any]
) -> None:
    """An answer lost after the pod was made leads to that pod and to no second one."""
    account.inject({**fault, "times": 1, "match": {"operation": "create"}})
    pod = emulated.create(order("rpd-lost", emulated))
    assert [row["id"] for row in account.pods()] == [pod.id]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate-limit", "retry_after": 0},
        {"kind": "forbidden-html"},
        {"kind": "server-error", "status": 409},
        {"kind": "server-error", "status": 404},
    ],
)
def test_a_refusal_of_a_pod_that_was_made_finds_it(
    account: Launched, emulated: RunPodProvider, fault: dict[str, Any]
) -> None:
    """Whatever a gateway answers after RunPod made the pod, the pod is found by its name, and no other is rented."""
    asked = order("rpd-lost", emulated)
    account.inject({**fault, "when": "after", "times": 1, "match": {"operation": "create"}})
    pod = emulated.create(asked)
    assert [row["id"] for row in account.pods()] == [pod.id]


def test_a_rate_limit_before_the_pod_was_made_stays_one(account: Launched, emulated: RunPodProvider) -> None:
    """Once the list has shown that there is no such pod, the caller may wait and ask again."""
    asked = order("rpd-limited", emulated)
    account.inject({"kind": "rate-limit", "retry_after": 0, "times": 1, "match": {"operation": "create"}})
    with pytest.raises(RateLimited):
        emulated.create(asked)
    assert account.pods() == []


@pytest.mark.parametrize(
    "fault", [{"kind": "server-error", "status": 502, "when": "before"}, {"kind": "reset", "when": "before"}]
)
def test_an_answer_lost_before_the_pod_was_made_is_a_hiccup(
    account: Launched, emulated: RunPodProvider, fault: dict[str, Any]
) -> None:
    """Where no pod was made the error says so."""
    account.inject({**fault, "times": 1, "match": {"operation": "create"}})
    with pytest.raises(TransientError, match=r"no pod named \S+ exists"):
        emulated.create(order("rpd-lost", emulated))
    assert account.pods() == []


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ({"kind": "unauthorized"}, AuthError),
        ({"kind": "anonymous"}, AuthError),
        ({"kind": "gone"}, ApiRetired),
        ({"kind": "rate-limit", "retry_after": 99}, RateLimited),
        ({"kind": "hiccup"}, TransientError),
        ({"kind": "forbidden-html"}, ProviderError),
    ],
)
def test_faults_of_the_api_are_our_errors(
    account: Launched, emulated: RunPodProvider, fault: dict[str, Any], wanted: type[ProviderError]
) -> None:
    """A list that cannot be read is the error that fits, never an empty list."""
    account.inject(fault)
    with pytest.raises(wanted):
        emulated.list()


def test_reads_survive_a_rate_limit(account: Launched, emulated: RunPodProvider) -> None:
    """A short wait is granted and the read continues."""
    account.inject({"kind": "rate-limit", "retry_after": 0.05, "times": 2, "match": {"operation": "list"}})
    assert emulated.list() == ()


def test_no_money(account: Launched, emulated: RunPodProvider) -> None:
    """An empty account gets an error that says so."""
    asked = order("rpd-poor", emulated)
    account.set_balance(0.01)
    with pytest.raises(BalanceError):
        emulated.create(asked)


def test_a_refused_key(account: Launched, emulated: RunPodProvider) -> None:
    """A wrong key is an AuthError that does not show it; the right one works afterwards."""
    with pytest.raises(AuthError) as caught:
        RunPodProvider("rpa_WRONGWRONG").account()
    assert "WRONG" not in str(caught.value)
    again = RunPodProvider(account.api_key)
    assert again.account().id


def test_many_threads_at_once(account: Launched, emulated: RunPodProvider) -> None:
    """Sixteen creates from eight threads make sixteen pods, each with its own name."""
    asked = order("rpd-x", emulated, gpu=Gpu("NVIDIA L4", "NVIDIA A40"))

    def make(number: int) -> str:
        return emulated.create(
            PodSpec(name=f"rpd-{number}", request=asked.request, offer=asked.offer, env={})
        ).name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(make, range(4)))
    assert sorted(names) == [f"rpd-{number}" for number in range(4)]
    assert sorted(pod["name"] for pod in account.pods()) == sorted(names)


@pytest.mark.parametrize("give_back", [pod_release.delete, pod_release.stop])
def test_a_locked_pod_names_its_lock(account: Launched, emulated: RunPodProvider, give_back: Any) -> None:
    """A release that fails because of a lock says so at once, and how to take the lock off."""
    pod = emulated.create(order("rpd-locked", emulated))
    url = f"{account.base_url}/v2/pods/{pod.id}"
    key = {"Authorization": f"Bearer {account.api_key}"}
    httpx.patch(url, json={"locked": True}, headers=key).raise_for_status()
    pauses: list[float] = []
    with pytest.raises(
        ReleaseError, match=rf'locked.*console.*PATCH /v2/pods/{pod.id} {{"locked": false}}'
    ) as caught:
        give_back(emulated, pod, sleep=pauses.append)
    assert (pauses, caught.value.exit_code) == ([], 6)
    httpx.patch(url, json={"locked": False}, headers=key).raise_for_status()
    give_back(emulated, pod, sleep=pauses.append)
