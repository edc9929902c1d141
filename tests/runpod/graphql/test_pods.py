"""Reading a pod."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import parse

from rpd.runpod.graphql.pods import LIST, pod_info, read_one
from rpd.values.pod import Cloud, PodStatus, SshEndpoint
from tests.runpod.conftest import pod_row

HTTP = {"ip": "100.65.0.1", "isIpPublic": False, "privatePort": 22, "publicPort": 60000, "type": "http"}
PRIVATE = {"ip": "100.65.0.1", "isIpPublic": False, "privatePort": 22, "publicPort": 60001, "type": "tcp"}
OTHER = {"ip": "1.2.3.4", "isIpPublic": True, "privatePort": 8000, "publicPort": 60002, "type": "tcp"}
SSH = {"ip": "1.2.3.4", "isIpPublic": True, "privatePort": 22, "publicPort": 60003, "type": "tcp"}


def runtime(*ports: Any, uptime: Any = 5) -> dict[str, Any]:
    return {"uptimeInSeconds": uptime, "ports": list(ports)}


@pytest.mark.parametrize("ports", [[HTTP, PRIVATE, OTHER], [], [None], [{**SSH, "publicPort": None}]])
def test_only_a_public_tcp_port_22_is_ssh(ports: list[Any]) -> None:
    """Entries of the http proxy, private addresses and other ports are not where sshd is."""
    assert pod_info(pod_row(runtime=runtime(*ports))).ssh is None
    address = pod_info(pod_row(runtime=runtime(*ports, SSH))).ssh
    assert address == SshEndpoint(host="1.2.3.4", port=60003)


def test_a_stopped_pod_has_no_address() -> None:
    """RunPod keeps showing old ports of a stopped pod; they are ignored."""
    assert pod_info(pod_row(desiredStatus="EXITED", runtime=runtime(SSH))).ssh is None


@pytest.mark.parametrize(("seconds", "read"), [(None, None), (-3, 0), (0, 0), (11, 11)])
def test_uptime(seconds: int | None, read: int | None) -> None:
    """Less than none is none yet; null is before the boot."""
    assert pod_info(pod_row(runtime=runtime(uptime=seconds))).uptime_seconds == read


@pytest.mark.parametrize("state", [None, {}, {"ports": None}])
def test_before_the_boot(state: Any) -> None:
    """A pod without a runtime runs only by intent."""
    pod = pod_info(pod_row(runtime=state))
    assert (pod.status, pod.ssh, pod.uptime_seconds) == (PodStatus.RUNNING, None, None)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("RUNNING", PodStatus.RUNNING),
        ("exited", PodStatus.EXITED),
        ("DEAD", PodStatus.UNKNOWN),
        (None, PodStatus.UNKNOWN),
    ],
)
def test_a_status_nobody_knows_is_unknown(text: str | None, status: PodStatus) -> None:
    """An unheard-of status is not taken for stopped."""
    assert pod_info(pod_row(desiredStatus=text)).status is status


def test_the_sdks_own_reading_is_enough() -> None:
    """Where only the SDK's fields are there, the rest is not known."""
    pod = pod_info({"id": "p", "name": "n", "desiredStatus": "RUNNING", "machine": {"gpuDisplayName": "L4"}})
    assert (pod.gpu, pod.cloud, pod.datacenter, pod.usd_per_hr, pod.spot) == ("L4", None, None, None, False)


def test_cloud_and_spot() -> None:
    """The machine tells the cloud, the pod's type whether it can be outbid; prices may be texts."""
    pod = pod_info(pod_row(machine={"secureCloud": False}, podType="INTERRUPTABLE", costPerHr="0.44"))
    assert (pod.cloud, pod.spot, pod.usd_per_hr) == (Cloud.COMMUNITY, True, 0.44)


def test_the_queries_are_graphql() -> None:
    """Both documents parse, and an id cannot break out of its quotes."""
    for document in (LIST, read_one("p1"), read_one('"}) { id } } #')):
        assert len(parse(document).definitions) == 1
