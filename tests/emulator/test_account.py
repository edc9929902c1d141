"""The account by itself, with a clock that the tests move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.emulator import catalogue
from rpd.emulator.account import Account
from rpd.emulator.faults import FaultBook
from rpd.emulator.model import Order, Pod
from rpd.emulator.refusals import HOST_FULL, STOCK_OUT, STOCK_OUT_SPOT, Refusal
from tests.clock import Clock

HOUR = 3600.0
DISK = catalogue.CONTAINER_DISK_USD_PER_GB_MONTH / catalogue.HOURS_PER_MONTH
VOLUME = catalogue.VOLUME_USD_PER_GB_MONTH / catalogue.HOURS_PER_MONTH


class Host:
    """Records its calls."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def start(self, pod: Pod) -> None:
        self.asked.append(("start", pod.id))

    def kill(self, pod: Pod) -> None:
        self.asked.append(("kill", pod.id))

    def delete(self, pod: Pod) -> None:
        self.asked.append(("delete", pod.id))


class World:
    """An account with its clock, host and faults."""

    def __init__(self, balance: float = 100.0) -> None:
        self.clock, self.host, self.faults = Clock(1_000_000.0), Host(), FaultBook()
        self.account = Account(clock=self.clock, host=self.host, faults=self.faults, balance=balance)

    def rent(self, **changes: object) -> Pod:
        order = {"name": "p", "image": "img", "gpu": "NVIDIA A40", "cloud": "secure", **changes}
        return self.account.create(Order(**order))  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World()


def test_a_running_pod_bills_gpu_and_disks_by_the_second(world: World) -> None:
    """A running pod costs its GPUs and both disks for exactly the seconds that passed."""
    world.rent(count=2, container_disk_gb=50, volume_gb=100)
    world.clock.now += 90
    assert world.account.balance == pytest.approx(100 - (0.44 * 2 + 50 * DISK + 100 * VOLUME) * 90 / HOUR)


def test_a_stopped_pod_bills_only_its_volume_at_double_rate(world: World) -> None:
    """After a stop the volume costs twice and nothing else is charged."""
    pod = world.rent(container_disk_gb=50, volume_gb=100)
    world.account.stop(pod.id)
    world.clock.now += HOUR
    assert world.account.balance == pytest.approx(100 - 2 * 100 * VOLUME)


def test_a_terminated_pod_bills_nothing(world: World) -> None:
    """After terminate the balance stands still and the pod is unknown."""
    pod = world.rent()
    world.account.terminate(pod.id)
    world.clock.now += HOUR
    assert world.account.balance == 100
    with pytest.raises(Refusal, match="pod not found to terminate"):
        world.account.terminate(pod.id)


def test_a_network_volume_bills_with_no_pod_at_all(world: World) -> None:
    """A network volume costs $0.07 per GB and month."""
    world.account.create_volume("data", 100, "EU-RO-1")
    world.clock.now += catalogue.HOURS_PER_MONTH * HOUR
    assert world.account.balance == pytest.approx(93)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["rent", "stop", "resume", "terminate"]), st.floats(0, 5000)), max_size=20
    )
)
def test_settling_more_often_charges_the_same(steps: list[tuple[str, float]]) -> None:
    """The balance depends on the pods' acts and their times, not on how often it is looked at."""
    balances = []
    for looks in (1, 7):
        world, pods = World(1000.0), []
        for action, seconds in steps:
            if action == "rent":
                pods.append(world.rent(volume_gb=10).id)
            elif pods and action == "terminate":
                world.account.terminate(pods.pop())
            elif pods:
                getattr(world.account, action)(pods[-1])
            for _ in range(looks):
                world.clock.now += seconds / looks
                world.account.settle()
        balances.append(world.account.balance)
    assert balances[0] == pytest.approx(balances[1])


def test_an_empty_balance_terminates_pods_but_only_stops_those_with_a_network_volume(world: World) -> None:
    """At $0 a pod with a network volume is EXITED, any other is gone."""
    volume = world.account.create_volume("data", 10, "EU-RO-1")
    kept = world.rent(network_volume=volume.id)
    gone = world.rent()
    world.account.balance = 0
    assert kept.desired_status == "EXITED"
    assert kept.last_status_change == "Exited by RunPod: Insufficient balance"
    assert gone.id not in world.account.pods
    assert ("delete", gone.id) in world.host.asked


def test_a_pod_needs_one_hour_of_credit() -> None:
    """Less credit than one hour's price is refused with the amounts."""
    world = World(balance=0.40)
    with pytest.raises(
        Refusal, match=r"need at least \$0\.44 \(current: \$0\.40, deficit: \$0\.04\)"
    ) as refusal:
        world.rent()
    assert refusal.value.code == "INSUFFICIENT_BALANCE"


def test_the_spend_limit_refuses_what_would_exceed_it() -> None:
    """All pods together may not cost more than the account's limit per hour."""
    world = World(balance=10_000)
    world.rent(gpu="NVIDIA B200", count=8)
    with pytest.raises(Refusal, match="spend limit"):
        world.rent(gpu="NVIDIA B200", count=8)


def test_stock_goes_down_and_comes_back(world: World) -> None:
    """A pod takes its GPUs from one data centre and gives them back when stopped."""
    world.account.stock.set("NVIDIA A40", "EU-RO-1", 2)
    pod = world.rent(count=2, datacenter="EU-RO-1")
    with pytest.raises(Refusal) as refusal:
        world.rent(datacenter="EU-RO-1")
    assert (refusal.value.message, refusal.value.code) == (STOCK_OUT, "SUPPLY_CONSTRAINT")
    world.account.stop(pod.id)
    assert world.rent(datacenter="EU-RO-1").datacenter == "EU-RO-1"


def test_a_stopped_pod_cannot_resume_when_its_gpus_went_to_others(world: World) -> None:
    """Resume is pinned to where the pod was."""
    world.account.stock.set("NVIDIA A40", "EU-RO-1", 1)
    pod = world.rent(datacenter="EU-RO-1")
    world.account.stop(pod.id)
    world.rent(datacenter="EU-RO-1")
    with pytest.raises(Refusal, match=HOST_FULL):
        world.account.resume(pod.id)
    assert world.account.resume(pod.id, zero_gpu=True).gpu_count == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu": "NVIDIA NOTHING"},
        {"count": 11},
        {"min_memory_gb": 126},
        {"min_vcpu": 17},
        {"cuda": ("99.9",)},
        {"datacenter": "XX-1"},
        {"deploy_cost": 0.1},
        {"cloud": "community", "gpu": "NVIDIA L4"},
    ],
)
def test_what_no_machine_offers_is_out_of_stock(world: World, changes: dict[str, object]) -> None:
    """A request nothing can serve is refused as sold out, as RunPod does."""
    with pytest.raises(Refusal, match="no longer any instances available"):
        world.rent(**changes)
    assert world.host.asked == []


def test_cloud_all_prefers_secure_and_falls_back_to_community(world: World) -> None:
    """``ALL`` lands on Community when Secure has none."""
    assert world.rent(cloud="all", gpu="NVIDIA L40S").cloud == "secure"
    world.faults.inject({"kind": "stock-out", "match": {"cloud": "secure"}})
    pod = world.rent(cloud="all", gpu="NVIDIA L40S")
    assert (pod.cloud, pod.datacenter, pod.cost_per_hr) == ("community", None, 0.79)


def test_a_low_bid_is_refused_in_the_words_of_spot(world: World) -> None:
    """A bid below the price answers the stock-out text of spot pods."""
    with pytest.raises(Refusal) as refusal:
        world.rent(bid_per_gpu=0.01)
    assert refusal.value.message == STOCK_OUT_SPOT


def test_a_network_volume_pins_cloud_and_data_centre(world: World) -> None:
    """A pod with a network volume lands where the volume is, and nowhere else."""
    volume = world.account.create_volume("data", 10, "US-KS-2")
    assert world.rent(network_volume=volume.id, cloud="all").datacenter == "US-KS-2"
    with pytest.raises(Refusal):
        world.rent(network_volume=volume.id, datacenter="EU-RO-1")
    with pytest.raises(Refusal, match="in use"):
        world.account.delete_volume(volume.id)


def test_network_volumes_exist_only_where_storage_is(world: World) -> None:
    """A data centre without storage refuses a volume."""
    with pytest.raises(Refusal, match="does not support network volumes"):
        world.account.create_volume("data", 10, "US-TX-4")


def test_a_template_fills_in_only_what_is_not_said(world: World) -> None:
    """The template's image and ports apply where the request has none."""
    pod = world.rent(image="", template="runpod-ubuntu")
    assert pod.order.image.startswith("runpod/base")
    assert pod.order.ports == "22/tcp,8888/http"
    assert world.rent(image="mine", template="runpod-ubuntu").order.image == "mine"


def test_a_late_report_of_an_old_start_is_ignored(world: World) -> None:
    """A container that reports after its pod was restarted changes nothing."""
    pod = world.rent()
    world.account.stop(pod.id)
    world.account.resume(pod.id)
    world.account.container_started(pod.id, 1, ())
    assert pod.runtime is None
    world.account.container_started(pod.id, 2, ())
    assert pod.runtime is not None


def test_account_secrets_and_keys_reach_the_pod(world: World) -> None:
    """``{{ RUNPOD_SECRET_x }}`` is expanded, and the account's SSH keys become PUBLIC_KEY unless given."""
    world.account.secrets["hf"] = "token"
    world.account.pub_key = "ssh-ed25519 AAAA"
    pod = world.rent(env={"HF_TOKEN": "{{ RUNPOD_SECRET_hf }}"})
    assert pod.env == {"HF_TOKEN": "token", "PUBLIC_KEY": "ssh-ed25519 AAAA"}
    assert world.rent(env={"PUBLIC_KEY": "mine"}).env == {"PUBLIC_KEY": "mine"}


@pytest.mark.parametrize(("instance", "usd", "memory"), [("cpu3c-2-4", 0.06, 4), ("cpu3g-4-16", 0.16, 16)])
def test_cpu_pods_are_priced_by_vcpu(world: World, instance: str, usd: float, memory: int) -> None:
    """A CPU pod's flavour, vCPUs and memory come from its instance id."""
    pod = world.rent(gpu=None, instance=instance, count=0)
    assert (pod.cost_per_hr, pod.memory_gb, pod.gpu_count) == (usd, memory, 0)


@pytest.mark.parametrize("instance", ["cpu9x-2-4", "cpu3c-2-5", "cpu3c-two-4", "cpu3c"])
def test_a_cpu_instance_that_does_not_exist_is_out_of_stock(world: World, instance: str) -> None:
    """An unknown flavour or ratio is refused."""
    with pytest.raises(Refusal, match="no longer any instances"):
        world.rent(gpu=None, instance=instance, count=0)


@pytest.mark.parametrize("gpu", ["NVIDIA A40", None], ids=str)
def test_a_stock_out_that_begins_later(world: World, gpu: str | None) -> None:
    """``after`` counts requests, not the places each of them looks at, and ``times`` ends it again."""
    world.faults.inject({"kind": "stock-out", "after": 2, "times": 1})
    ended = []
    for _ in range(4):
        try:
            ended.append(world.rent(gpu=gpu).desired_status)
        except Refusal as refusal:
            ended.append(refusal.code)
    assert ended == ["RUNNING", "RUNNING", "SUPPLY_CONSTRAINT", "RUNNING"]


def test_a_cpu_pod_has_no_volume(world: World) -> None:
    """RunPod takes the size without a word and gives none."""
    pod = world.rent(gpu=None, instance="cpu3c-2-4", volume_gb=20, count=0)
    assert (pod.order.volume_gb, pod.order.mount) == (0, "/workspace")


def test_a_locked_pod_is_neither_stopped_nor_reset(world: World) -> None:
    """Until the lock is taken off."""
    pod = world.rent()
    pod.locked = True
    for act in (world.account.stop, world.account.reset, world.account.terminate):
        with pytest.raises(Refusal, match="locked"):
            act(pod.id)
    pod.locked = False
    world.account.stop(pod.id)
    assert not pod.running
