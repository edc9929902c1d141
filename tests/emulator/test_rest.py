"""The emulator's REST v2: every operation's answer, checked against RunPod's own document, and the look of faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

Platform = Any
A40 = {"id": "NVIDIA A40", "count": 1}
POD = {
    "name": "rest",
    "image": "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404",
    "gpu": A40,
    "ports": ["22/tcp", "8888/http"],
    "mounts": {"persistent": {"size": 10, "path": "/workspace"}},
    "disk": 20,
}


@pytest.fixture
def rest(platform: Platform) -> Iterator[httpx.Client]:
    """A client with the account's key."""
    key = platform.emulator.api_key
    with httpx.Client(
        base_url=f"{platform.emulator.base_url}/v2",
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
    ) as client:
        yield client


def create(rest: httpx.Client, platform: Platform, **changes: Any) -> dict[str, Any]:
    answer = rest.post("/pods", json={**POD, "env": {"PUBLIC_KEY": platform.key.public}, **changes})
    assert answer.status_code == 201, answer.text
    pod: dict[str, Any] = answer.json()
    return pod


def running(rest: httpx.Client, platform: Platform, pod_id: str) -> dict[str, Any]:
    def ready() -> dict[str, Any] | None:
        pod: dict[str, Any] = rest.get(f"/pods/{pod_id}").json()
        return pod if pod["status"] == "RUNNING" else None

    row: dict[str, Any] = platform.eventually(ready, what="RUNNING")
    return row


def test_a_pod_from_provisioning_to_deleted(rest: httpx.Client, platform: Platform) -> None:
    """A pod is PROVISIONING, then RUNNING with an SSH address, EXITED for free after a stop, and gone at last."""
    platform.emulator.inject({"kind": "slow-boot", "seconds": 0.5, "times": 1})
    pod = create(rest, platform)
    assert (pod["status"], pod["ssh"]["direct"], pod["runtime"]) == ("PROVISIONING", None, None)
    ready = running(rest, platform, pod["id"])
    assert ready["ssh"]["direct"]["host"] == "127.0.0.1"
    assert {(p["private"], p["type"]) for p in ready["runtime"]["ports"]} == {(22, "tcp"), (8888, "http")}
    assert (ready["cost"], ready["actions"]) == (0.44, ["stop", "restart", "terminate"])
    stopped = rest.post(f"/pods/{pod['id']}/action", json={"action": "stop"}).json()
    assert (stopped["status"], stopped["cost"], stopped["actions"]) == ("EXITED", 0.0, ["start", "terminate"])
    assert rest.post(f"/pods/{pod['id']}/action", json={"action": "stop"}).status_code == 409
    assert rest.post(f"/pods/{pod['id']}/action", json={"action": "start"}).status_code == 200
    running(rest, platform, pod["id"])
    assert rest.delete(f"/pods/{pod['id']}").status_code == 204
    assert rest.get(f"/pods/{pod['id']}").status_code == 404
    assert rest.delete(f"/pods/{pod['id']}").status_code == 404


def test_both_faces_show_the_same_pods(rest: httpx.Client, platform: Platform) -> None:
    """A pod made through one API is read and deleted through the other."""
    made = create(rest, platform)
    assert platform.sdk.get_pod(made["id"])["name"] == "rest"
    other = platform.create("graphql")
    names = {pod["name"] for pod in rest.get("/pods").json()["pods"]}
    assert names == {"rest", "graphql"}
    assert rest.delete(f"/pods/{other['id']}").status_code == 204
    assert platform.sdk.get_pod(other["id"]) is None


def test_a_pod_over_rest_runs_commands(rest: httpx.Client, platform: Platform) -> None:
    """The address that REST tells leads to an SSH server of a real pod with the environment asked for."""
    pod = create(rest, platform, env={"PUBLIC_KEY": platform.key.public, "GREETING": "hello"})
    running(rest, platform, pod["id"])
    connection = platform.connect(platform.sdk.get_pod(pod["id"]))
    assert (
        platform.run(connection, "tr '\\0' '\\n' < /proc/1/environ | grep GREETING").stdout
        == "GREETING=hello\n"
    )


def test_every_answer_fits_the_document(rest: httpx.Client, platform: Platform, openapi: Any) -> None:
    """Each operation, its successes and its refusals, answers as RunPod's OpenAPI document says."""
    pod = create(rest, platform)
    running(rest, platform, pod["id"])
    cpu = rest.post("/pods", json={"name": "c", "image": "i", "cpu": {"id": "cpu3c", "vcpuCount": 2}}).json()
    stock = {"include": "AVAILABILITY", "product": "POD"}
    volume = {"name": "data", "size": 10, "dataCenter": "EU-RO-1"}
    made = rest.post("/network-volumes", json=volume).json()
    calls: list[tuple[str, str, dict[str, str], Any, int]] = [
        ("GET", "/pods", {}, None, 200),
        ("GET", f"/pods/{cpu['id']}", {}, None, 200),
        ("POST", "/pods", {}, {**POD, "gpu": {**A40, "count": 99}}, 400),
        ("POST", "/pods", {}, {"name": "", "gpu": {"id": 1}, "x": 1}, 422),
        ("POST", "/pods", {}, {**POD, "templateId": "none"}, 404),
        ("PATCH", f"/pods/{pod['id']}", {}, {"name": "other"}, 200),
        ("POST", f"/pods/{pod['id']}/action", {}, {"action": "start"}, 409),
        ("POST", f"/pods/{pod['id']}/action", {}, {"action": "explode"}, 422),
        ("POST", f"/pods/{pod['id']}/action", {}, {"action": "restart"}, 200),
        ("POST", f"/pods/{pod['id']}/action", {}, {"action": "stop"}, 200),
        ("POST", f"/pods/{pod['id']}/action", {}, {"action": "terminate"}, 204),
        ("DELETE", f"/pods/{cpu['id']}", {}, None, 204),
        ("GET", "/pods/none", {}, None, 404),
        ("GET", "/catalog/gpus", {}, None, 200),
        ("GET", "/catalog/gpus", {**stock, "count": "2", "cloud": "COMMUNITY"}, None, 200),
        ("GET", "/catalog/gpus", {**stock, "cudaVersions": "12.8", "countryCodes": "RO,US"}, None, 200),
        ("GET", "/catalog/gpus", {"include": "AVAILABILITY"}, None, 400),
        ("GET", "/catalog/gpus", {**stock, "cudaVersions": "twelve"}, None, 422),
        ("GET", "/catalog/gpus/NVIDIA%20L4", stock, None, 200),
        ("GET", "/catalog/gpus/none", {}, None, 404),
        ("GET", "/catalog/cpus", {**stock, "vcpuCount": "4"}, None, 200),
        ("GET", "/catalog/cpus/cpu3g", {}, None, 200),
        ("GET", "/catalog/datacenters", {"include": "GPU_AVAILABILITY,CPU_AVAILABILITY"}, None, 200),
        ("GET", "/catalog/datacenters", {"regions": "EUROPE", "networkVolumeTypes": "STANDARD"}, None, 200),
        ("GET", "/catalog/datacenters/EU-RO-1", {}, None, 200),
        ("GET", "/network-volumes", {}, None, 200),
        ("GET", f"/network-volumes/{made['id']}", {}, None, 200),
        ("PATCH", f"/network-volumes/{made['id']}", {}, {"size": 20}, 200),
        ("PATCH", f"/network-volumes/{made['id']}", {}, {"size": 10}, 400),
        ("DELETE", f"/network-volumes/{made['id']}", {}, None, 204),
        ("DELETE", f"/network-volumes/{made['id']}", {}, None, 404),
        ("PUT", "/account/ssh-keys", {}, {"keys": [platform.key.public]}, 200),
        ("GET", "/account/ssh-keys", {}, None, 200),
        ("PUT", "/account/ssh-keys", {}, {"keys": ["no key"]}, 422),
        ("PUT", "/account/ssh-keys", {}, {"keys": []}, 200),
        ("GET", "/billing/pods", {"bucketSize": "hour", "lastN": "2", "podId": pod["id"]}, None, 200),
        ("GET", "/billing/pods", {}, None, 200),
        ("GET", "/billing/network-volumes", {"bucketSize": "hour"}, None, 200),
        ("GET", "/billing/clusters", {"bucketSize": "hour"}, None, 200),
        ("GET", "/billing", {"bucketSize": "hour"}, None, 200),
    ]
    for method, path, query, body, status in calls:
        answer = rest.request(method, path, params=query, json=body)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        openapi.check_response(method, f"/v2{path}", status, kind, answer.json() if answer.content else None)
        assert '"minute";r=' in answer.headers["RateLimit"]


def test_stock_and_cuda_differ_by_data_centre(rest: httpx.Client, platform: Platform) -> None:
    """A data centre is listed where it has the GPU with one of the CUDA versions, at the level its stock has."""
    platform.emulator.set_stock("NVIDIA A40", "EU-RO-1", 2)
    query = {"include": "AVAILABILITY", "product": "POD", "count": "2"}

    def places(**more: str) -> dict[str, str]:
        row = rest.get("/catalog/gpus/NVIDIA A40", params={**query, **more}).json()
        return {place["id"]: place["availability"] for place in row["dataCenters"]}

    assert (places()["EU-RO-1"], places()["EU-CZ-1"]) == ("LOW", "HIGH")
    assert "OC-AU-1" in places(cudaVersions="12.4")
    assert "OC-AU-1" not in places(cudaVersions="12.8,12.9")
    assert places(countryCodes="RO") == {"EU-RO-1": "LOW"}
    platform.emulator.set_stock("NVIDIA A40", "EU-RO-1", 256)


def test_a_pod_that_needs_a_newer_driver_is_not_put_on_an_old_one(rest: httpx.Client) -> None:
    """A create with a CUDA version goes where that is, and is out of capacity where it is not."""
    old = {"dataCenterIds": ["OC-AU-1"], "gpu": {**A40, "allowedCudaVersions": ["12.8"]}}
    refused = rest.post("/pods", json={**POD, **old})
    assert (refused.status_code, "no longer any instances" in refused.json()["detail"]) == (400, True)
    floor = {"gpu": {**A40, "minCudaVersion": "12.9"}, "dataCenterIds": ["OC-AU-1", "EU-CZ-1"]}
    assert rest.post("/pods", json={**POD, **floor}).json()["dataCenterId"] == "EU-CZ-1"


def test_a_body_is_told_all_that_is_wrong_with_it(rest: httpx.Client) -> None:
    """A 422 lists every failure; a broken rule between fields is a 400; no JSON is a 400."""
    wrong = {"gpu": {"count": 0}, "env": {"A": 1}, "ports": "22/tcp", "volumeInGb": 5}
    errors = rest.post("/pods", json=wrong).json()["errors"]
    assert {error.partition(":")[0] for error in errors} == {
        "body", "body.gpu", "body.gpu.count", "body.env.A", "body.ports", "body.volumeInGb",
    }  # fmt: skip
    both = rest.post("/pods", json={**POD, "cpu": {"id": "cpu3c", "vcpuCount": 2}})
    assert (both.status_code, both.json()["detail"]) == (400, "exactly one of gpu or cpu must be set")
    assert rest.post("/pods", content=b"{").status_code == 400


def test_keys(rest: httpx.Client, platform: Platform) -> None:
    """No key and a wrong one are 401; a pod's own key reaches that pod and nothing else."""
    pod = create(rest, platform)
    [row] = platform.emulator.pods()
    for key, path, status in (
        ("Basic nobody", "/pods", 401),
        ("Bearer wrong", "/pods", 401),
        (f"Bearer {row['api_key']}", "/pods", 403),
        (f"Bearer {row['api_key']}", f"/pods/{pod['id']}", 200),
    ):
        answer = rest.get(path, headers={"Authorization": key})
        assert answer.status_code == status
    own = {"Authorization": f"Bearer {row['api_key']}"}
    assert rest.delete(f"/pods/{pod['id']}", headers=own).status_code == 204


def test_no_money_is_a_402(rest: httpx.Client, platform: Platform) -> None:
    """An account that cannot pay an hour gets that status."""
    platform.emulator.set_balance(0.01)
    answer = rest.post("/pods", json=POD)
    assert (answer.status_code, "Insufficient balance" in answer.json()["detail"]) == (402, True)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ({"kind": "rate-limit", "retry_after": 7}, 429, "application/problem+json"),
        ({"kind": "unauthorized"}, 401, "application/problem+json"),
        ({"kind": "hiccup"}, 500, "application/problem+json"),
        (
            {"kind": "error", "message": "sold out", "code": "SUPPLY_CONSTRAINT"},
            400,
            "application/problem+json",
        ),
        ({"kind": "gone"}, 410, "text/html"),
        ({"kind": "forbidden-html"}, 403, "text/html"),
        ({"kind": "server-error", "status": 502}, 502, "text/html"),
    ],
)
def test_faults(
    rest: httpx.Client, platform: Platform, fault: dict[str, Any], status: int, kind: str
) -> None:
    """Faults of an answer strike this face as they strike the other."""
    platform.emulator.inject({**fault, "times": 1})
    answer = rest.get("/pods")
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (status, kind)
    if status == 429:
        assert answer.headers["Retry-After"] == "7"
    assert rest.get("/pods").status_code == 200


def test_a_fault_can_be_meant_for_one_face(rest: httpx.Client, platform: Platform) -> None:
    """``face`` tells the two APIs apart."""
    platform.emulator.inject({"kind": "gone", "match": {"face": "graphql"}})
    assert rest.get("/pods").status_code == 200
    platform.emulator.clear_faults()
    platform.emulator.inject({"kind": "gone", "match": {"face": "rest"}})
    assert rest.get("/pods").status_code == 410
    assert platform.sdk.get_pods() == []


def test_an_answer_lost_after_the_pod_was_made(rest: httpx.Client, platform: Platform) -> None:
    """A fault ``after`` lets the pod come about."""
    platform.emulator.inject(
        {"kind": "server-error", "when": "after", "times": 1, "match": {"operation": "create"}}
    )
    assert rest.post("/pods", json=POD).status_code == 502
    assert [pod["name"] for pod in platform.emulator.pods()] == ["rest"]


def events(rest: httpx.Client, pod_id: str, count: int, headers: dict[str, str], **query: str) -> list[Any]:
    """Return the first ``count`` events of a log as (id, payload)."""
    collected: list[Any] = []
    with rest.stream("GET", f"/pods/{pod_id}/logs", params=query, headers=headers, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        event_id = ""
        for line in answer.iter_lines() if count else ():
            name, _, value = line.partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                collected.append((event_id, json.loads(value)))
                if len(collected) == count:
                    break
    return collected


def test_logs_of_machine_and_container(rest: httpx.Client, platform: Platform) -> None:
    """A log shows the machine's acts and the output of PID 1, can be tailed, and continues at the last event's id."""
    pod = create(rest, platform, args="sh -c 'echo one; echo two; sleep 600'")
    lines = events(rest, pod["id"], 3, {}, source="system", tail="50")
    assert [payload["line"].split()[0] for _, payload in lines] == ["create", f"{POD['image']}:", "start"]
    assert all(payload["source"] == "system" for _, payload in lines)
    said = events(rest, pod["id"], 2, {}, source="container")
    assert [payload["line"] for _, payload in said] == ["one", "two"]
    assert [event_id for event_id, payload in said] == [payload["ts"] for _, payload in said]
    [last] = events(rest, pod["id"], 1, {}, source="container", tail="1")
    assert last[1]["line"] == "two"
    [after] = events(rest, pod["id"], 1, {"Last-Event-ID": said[0][0]}, source="container")
    assert after == last


def test_a_slow_answer_comes_late_and_whole(rest: httpx.Client, platform: Platform) -> None:
    """A slow API answers correctly, only late, a log included."""
    platform.emulator.inject({"kind": "slow", "seconds": 0.2})
    pod = create(rest, platform)
    assert pod["name"] == "rest"
    [first] = events(rest, pod["id"], 1, {}, source="system", tail="9")
    assert first[1]["line"].startswith("create container")


def test_the_log_of_an_image_that_cannot_be_pulled_says_so(rest: httpx.Client, platform: Platform) -> None:
    """The reason of a pod that never starts is in the machine's lines."""
    pod = create(rest, platform, image="nobody/image:missing")
    [_, (_, payload)] = events(rest, pod["id"], 2, {}, source="system")
    assert "manifest unknown" in payload["line"]


def test_bills(rest: httpx.Client, platform: Platform) -> None:
    """The cost of a pod is shown even when it is gone, split into its parts."""
    pod = create(rest, platform)
    running(rest, platform, pod["id"])
    rest.delete(f"/pods/{pod['id']}")
    answer = rest.get("/billing/pods", params={"podId": pod["id"], "bucketSize": "hour"}).json()
    [record] = answer["records"]
    assert record["gpuAmount"] > record["diskAmount"] > 0
    assert record["totalAmount"] == pytest.approx(record["gpuAmount"] + record["diskAmount"])
    assert answer["metadata"]["totals"]["totalAmount"] == pytest.approx(record["totalAmount"])
    assert (
        rest.get("/billing/pods", params={"lastN": "1", "startTime": "2026-01-01T00:00:00Z"}).status_code
        == 400
    )
