"""The real SDK against the emulator: every call's answer, the life of pods, and faults as seen from outside."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest
import requests

from tests.waiting import DEADLINE

STOCK_OUT = "There are no longer any instances available with the requested specifications"
Platform = Any


# --- calls of the SDK -----------------------------------------------------------------------------------------------


def test_the_catalogue_reads_as_the_sdk_expects(platform: Platform) -> None:
    """get_gpus lists ids, get_gpu knows prices for one GPU, an unknown id is the SDK's own ValueError."""
    ids = {row["id"] for row in platform.sdk.get_gpus()}
    assert {"NVIDIA A40", "NVIDIA H100 80GB HBM3"} <= ids
    gpu = platform.sdk.get_gpu("NVIDIA L40S", 2)
    assert (gpu["securePrice"], gpu["communityPrice"], gpu["memoryInGb"]) == (0.99, 0.79, 48)
    assert gpu["lowestPrice"]["uninterruptablePrice"] == pytest.approx(1.98)
    with pytest.raises(ValueError, match="No GPU found"):
        platform.sdk.get_gpu("NVIDIA NOTHING")


def test_create_answers_at_once_and_the_runtime_comes_later(platform: Platform) -> None:
    """A created pod is RUNNING with a null runtime, and has a public port 22 when it booted."""
    platform.emulator.inject({"kind": "slow-boot", "seconds": 3.0})
    created = platform.create("mine")
    fresh = platform.sdk.get_pod(created["id"])
    assert (fresh["desiredStatus"], fresh["runtime"], fresh["name"]) == ("RUNNING", None, "mine")
    booted = platform.running(created["id"])
    host, port = platform.endpoint(booted)
    assert (host, port > 0) == ("127.0.0.1", True)
    assert [p["privatePort"] for p in booted["runtime"]["ports"]] == [22, 8888]
    assert booted["costPerHr"] == 0.44
    assert f"PUBLIC_KEY={platform.key.public}" in booted["env"]


def test_stop_resume_terminate(platform: Platform) -> None:
    """Stop keeps the volume and frees the container disk; resume gives another port and host key; terminate removes."""
    pod = platform.boot()
    first = platform.connect(pod)
    platform.run(first, "echo kept > /workspace/file; echo lost > /root/file")
    old_key = first.transport.get_remote_server_key()
    assert platform.sdk.stop_pod(pod["id"]) == {"id": pod["id"], "desiredStatus": "EXITED"}
    assert platform.sdk.get_pod(pod["id"])["runtime"] is None
    platform.sdk.resume_pod(pod["id"], 1)
    again = platform.running(pod["id"])
    assert platform.endpoint(again) != platform.endpoint(pod)
    second = platform.connect(again)
    assert second.transport.get_remote_server_key() != old_key
    assert platform.run(second, "cat /workspace/file; ls /root/file").stdout == "kept\n"
    assert platform.sdk.terminate_pod(pod["id"]) is None
    assert platform.sdk.get_pod(pod["id"]) is None
    assert platform.sdk.get_pods() == []
    # Its port goes to nobody: a driver that still looks for it finds no other.
    platform.emulator.settle()
    with pytest.raises(ConnectionRefusedError):
        _connect(platform.endpoint(again))
    with pytest.raises(OSError, match="in use"):
        socket.create_server(platform.endpoint(again))


def test_terminating_twice_says_the_pod_is_not_there(platform: Platform) -> None:
    """The second terminate is an error with RunPod's words."""
    pod = platform.create()
    platform.sdk.terminate_pod(pod["id"])
    with pytest.raises(platform.sdk.error.QueryError, match="pod not found to terminate"):
        platform.sdk.terminate_pod(pod["id"])


def test_a_cpu_pod(platform: Platform) -> None:
    """A pod without gpu_type_id has no GPU, nor nvidia-smi."""
    pod = platform.boot(gpu_type_id=None, instance_id="cpu3c-2-4")
    assert (pod["gpuCount"], pod["vcpuCount"], pod["costPerHr"]) == (0, 2, 0.06)
    assert platform.run(platform.connect(pod), "nvidia-smi").return_code == 127


def test_a_network_volume_is_shared_and_outlives_pods(platform: Platform) -> None:
    """Two pods see one network volume; deleting a pod leaves it; deleting it in use is refused."""
    created = platform.query(
        'mutation { createNetworkVolume(input: {name: "v", size: 10, dataCenterId: "EU-RO-1"}) { id } }'
    )
    volume = created["createNetworkVolume"]["id"]
    assert platform.sdk.get_user()["networkVolumes"][0]["name"] == "v"
    first, second = (platform.boot(name, network_volume_id=volume, volume_in_gb=0) for name in "ab")
    platform.run(platform.connect(first), "echo shared > /workspace/file")
    platform.sdk.terminate_pod(first["id"])
    assert platform.run(platform.connect(second), "cat /workspace/file").stdout == "shared\n"
    with pytest.raises(platform.sdk.error.QueryError, match="in use"):
        platform.query(f'mutation {{ deleteNetworkVolume(input: {{id: "{volume}"}}) }}')
    platform.sdk.terminate_pod(second["id"])
    platform.query(f'mutation {{ deleteNetworkVolume(input: {{id: "{volume}"}}) }}')
    assert platform.sdk.get_user()["networkVolumes"] == []


@pytest.mark.parametrize(
    ("docker_args", "ssh"), [("sleep 100", False), ("bash -c 'touch /workspace/ran; exec /start.sh'", True)]
)
def test_docker_args_replace_the_start_script(platform: Platform, docker_args: str, ssh: bool) -> None:
    """A command of one's own runs instead of /start.sh, and only if it ends there is an SSH server."""
    pod = platform.boot(docker_args=docker_args)
    if ssh:
        assert platform.run(platform.connect(pod), "ls /workspace").stdout == "ran\n"
    else:
        with pytest.raises(ConnectionRefusedError):
            _connect(platform.endpoint(pod))


def _connect(address: tuple[str, int]) -> None:
    socket.create_connection(address, 5).close()


@pytest.mark.parametrize("image", ["runpod/pytorch:missing", "nobody/missing"])
def test_an_image_called_missing_never_gets_ready(platform: Platform, image: str) -> None:
    """Such a pod is RUNNING and bills, without a runtime, while others boot."""
    stuck = platform.create(image_name=image)
    platform.boot()
    pod = platform.sdk.get_pod(stuck["id"])
    assert (pod["desiredStatus"], pod["runtime"]) == ("RUNNING", None)


def test_money_is_charged(platform: Platform) -> None:
    """A running pod makes the balance fall."""
    platform.boot(gpu_type_id="NVIDIA B200", gpu_count=8)
    before = platform.query("query { myself { clientBalance currentSpendPerHr } }")["myself"]
    assert before["currentSpendPerHr"] == pytest.approx(54.32, abs=0.01)
    platform.eventually(
        lambda: (
            platform.query("query { myself { clientBalance } }")["myself"]["clientBalance"]
            < before["clientBalance"]
        )
    )


# --- the documents the SDK lacks ----------------------------------------------------------------------------------------


def test_prices_and_stock_of_both_clouds(platform: Platform) -> None:
    """lowestPrice is for the whole gpuCount, per cloud, and all null where sold out."""
    platform.emulator.inject({"kind": "stock-out", "match": {"gpu": "NVIDIA L40S", "cloud": "community"}})
    document = """query { gpuTypes(input: {id: "NVIDIA L40S"}) { id
        secure: lowestPrice(input: {gpuCount: 2, secureCloud: true, dataCenterId: "EU-RO-1"}) { stockStatus uninterruptablePrice minimumBidPrice }
        community: lowestPrice(input: {gpuCount: 2, secureCloud: false}) { stockStatus uninterruptablePrice } } }"""
    (row,) = platform.query(document)["gpuTypes"]
    assert row["secure"] == {"stockStatus": "High", "uninterruptablePrice": 1.98, "minimumBidPrice": 1.98}
    assert row["community"] == {"stockStatus": None, "uninterruptablePrice": None}


def test_stock_by_data_centre(platform: Platform) -> None:
    """gpuAvailability follows the stock, for the count asked for."""
    platform.emulator.set_stock("NVIDIA A40", "EU-RO-1", 3)
    document = """query { dataCenters { id name location storageSupport listed
        gpuAvailability(input: {gpuCount: %d, secureCloud: true}) { gpuTypeId displayName stockStatus available } } }"""

    def stock(count: int) -> tuple[str | None, bool]:
        rows = {place["id"]: place for place in platform.query(document % count)["dataCenters"]}
        (row,) = (r for r in rows["EU-RO-1"]["gpuAvailability"] if r["gpuTypeId"] == "NVIDIA A40")
        return row["stockStatus"], row["available"]

    assert stock(1) == ("Low", True)
    assert stock(4) == (None, False)
    platform.emulator.set_stock("NVIDIA A40", "EU-RO-1", 256)


def test_a_spot_pod_can_be_outbid(platform: Platform) -> None:
    """A spot pod runs until someone pays more; then it is EXITED and says so."""
    document = """mutation { podRentInterruptable(input: {name: "spot", imageName: "i", gpuTypeId: "NVIDIA A40",
        bidPerGpu: 0.5, cloudType: SECURE, gpuCount: 1, volumeInGb: 0, ports: "22/tcp", startSsh: true,
        env: [{key: "A", value: "b"}]}) { id desiredStatus } }"""
    pod = platform.query(document)["podRentInterruptable"]
    assert platform.running(pod["id"])["podType"] == "BID"
    platform.emulator.inject({"kind": "outbid", "match": {"name": "spot"}})
    outbid = platform.sdk.get_pod(pod["id"])
    assert (outbid["desiredStatus"], outbid["lastStatusChange"].startswith("Outbid: ")) == ("EXITED", True)
    resumed = f'mutation {{ podBidResume(input: {{podId: "{pod["id"]}", bidPerGpu: 0.6, gpuCount: 1}}) {{ id desiredStatus }} }}'
    assert platform.query(resumed)["podBidResume"]["desiredStatus"] == "RUNNING"


def test_the_richer_read_of_a_pod(platform: Platform) -> None:
    """Everything clients are known to select about a running pod is there."""
    pod = platform.boot()
    document = f"""query {{ pod(input: {{podId: "{pod["id"]}"}}) {{ id costPerHr adjustedCostPerHr createdAt lastStartedAt
        networkVolumeId templateId locked podType machine {{ podHostId gpuTypeId dataCenterId location secureCloud
        supportPublicIp costPerHr maintenanceNote }} runtime {{ uptimeInSeconds container {{ cpuPercent }} gpus {{ id }}
        ports {{ ip publicPort }} }} latestTelemetry {{ state time }} }} }}"""
    result = platform.query(document)["pod"]
    assert result["machine"]["dataCenterId"] == "EU-RO-1"
    assert result["machine"]["gpuTypeId"] == "NVIDIA A40"
    assert result["runtime"]["uptimeInSeconds"] >= 0
    assert len(result["runtime"]["gpus"]) == 1
    assert result["latestTelemetry"]["state"] == "running"
    assert result["createdAt"].endswith("Z")


# --- answers as RunPod words them ---------------------------------------------------------------------------------------


def _post(
    platform: Platform, document: str, *, key: str | None = None, **body: Any
) -> tuple[int, dict[str, Any]]:
    headers = {} if key == "" else {"Authorization": f"Bearer {key or platform.emulator.api_key}"}
    answer = requests.post(
        f"{platform.emulator.base_url}/graphql", json={"query": document, **body}, headers=headers, timeout=10
    )
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("document", "message", "code"),
    [
        (
            "query { gpuTypes { colour } }",
            'Cannot query field "colour" on type "GpuType".',
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "query { gpuTypes(",
            "Something went wrong. Please try again later or contact support.",
            "GRAPHQL_PARSE_FAILED",
        ),
        (
            'mutation { podFindAndDeployOnDemand(input: {name: "x", spot: true}) { id } }',
            'Field "spot" is not defined by type "PodFindAndDeployOnDemandInput".',
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "query { __schema { types { name } } }",
            "GraphQL introspection has been disabled",
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ],
)
def test_a_document_that_is_wrong(platform: Platform, document: str, message: str, code: str) -> None:
    """It is HTTP 400 with the message and code of RunPod's server."""
    status, body = _post(platform, document)
    assert status == 400
    assert body["errors"][0]["message"].startswith(message)
    assert body["errors"][0]["extensions"]["code"] == code


def test_a_wrong_variable_is_bad_user_input(platform: Platform) -> None:
    """An unknown key in a variable is HTTP 400."""
    document = "mutation($i: PodStopInput!) { podStop(input: $i) { id } }"
    status, body = _post(platform, document, variables={"i": {"podId": "x", "why": 1}})
    assert (status, body["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")
    assert 'Field "why" is not defined by type "PodStopInput".' in body["errors"][0]["message"]


def test_sold_out_is_http_200_with_a_path_and_null_data(platform: Platform) -> None:
    """The envelope of a refusal is Apollo's."""
    document = (
        'mutation { podFindAndDeployOnDemand(input: {imageName: "i", gpuTypeId: "X", gpuCount: 1}) { id } }'
    )
    status, body = _post(platform, document)
    assert status == 200
    assert body["data"] == {"podFindAndDeployOnDemand": None}
    assert body["errors"][0]["path"] == ["podFindAndDeployOnDemand"]
    assert body["errors"][0]["extensions"]["code"] == "SUPPLY_CONSTRAINT"


def test_keys(platform: Platform) -> None:
    """A wrong key is 401; without one only the catalogue can be read; a pod's key is good for that pod only."""
    assert _post(platform, "query { myself { id } }", key="wrong")[0] == 401
    assert _post(platform, "query { gpuTypes { id } }", key="")[0] == 200
    assert _post(platform, "query { myself { id } }", key="") == (200, {"data": {"myself": None}})
    mine, other = platform.create("mine"), platform.create("other")
    pod_key = next(pod["api_key"] for pod in platform.emulator.pods() if pod["id"] == mine["id"])
    stop = 'mutation {{ podStop(input: {{podId: "{}"}}) {{ id desiredStatus }} }}'
    assert _post(platform, stop.format(other["id"]), key=pod_key)[1]["errors"][0]["message"] == "Unauthorized"
    assert (
        _post(platform, "query { myself { id } }", key=pod_key)[1]["errors"][0]["message"] == "Unauthorized"
    )
    assert (
        _post(platform, stop.format(mine["id"]), key=pod_key)[1]["data"]["podStop"]["desiredStatus"]
        == "EXITED"
    )


def test_the_control_endpoint_is_the_owners(platform: Platform) -> None:
    """Without the account's key it answers 401."""
    request = urllib.request.Request(f"{platform.emulator.base_url}/_emulator/state")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert (refused.value.code, json.load(refused.value)) == (401, {"error": "Unauthorized"})


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "status", "fragment"),
    [
        ({"kind": "unauthorized"}, 401, "Unauthorized"),
        ({"kind": "forbidden-html"}, 403, "<html>"),
        ({"kind": "gone"}, 410, "<html>"),
        ({"kind": "rate-limit", "retry_after": 7}, 429, "Too Many Requests"),
        ({"kind": "server-error", "status": 524}, 524, "<html>"),
        ({"kind": "hiccup"}, 200, "Something went wrong"),
        ({"kind": "anonymous"}, 200, '"myself": null'),
        ({"kind": "error", "message": "Pod limit reached", "code": "LIMIT"}, 200, "Pod limit reached"),
    ],
)
def test_a_spoiled_answer(platform: Platform, rule: dict[str, Any], status: int, fragment: str) -> None:
    """Each fault of an answer has its status and body, once, and the next call is well."""
    platform.emulator.inject({"times": 1, **rule})
    ask = {
        "json": {"query": "query { myself { id } }"},
        "headers": {"Authorization": f"Bearer {platform.emulator.api_key}"},
    }
    url = f"{platform.emulator.base_url}/graphql"
    spoiled = requests.post(url, **ask, timeout=10)
    assert (spoiled.status_code, fragment in spoiled.text) == (status, True)
    if rule["kind"] == "rate-limit":
        assert (spoiled.headers["Retry-After"], "errors" in spoiled.json()) == ("7", False)
    assert requests.post(url, **ask, timeout=10).json()["data"]["myself"]["id"]


@pytest.mark.parametrize("kind", ["server-error", "reset"])
@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_lost_answer_to_a_create(platform: Platform, kind: str, when: str, made: int) -> None:
    """The caller sees the same failure whether or not the pod was made."""
    platform.emulator.inject({"kind": kind, "when": when, "times": 1, "match": {"operation": "create"}})
    with pytest.raises(requests.RequestException):
        platform.create("lost")
    assert [pod["name"] for pod in platform.sdk.get_pods()] == ["lost"] * made


def test_a_slow_answer_to_a_create_makes_the_pod_at_once(platform: Platform) -> None:
    """The pod is there while its create is still unanswered."""
    platform.emulator.inject({"kind": "slow", "seconds": 30, "times": 1, "match": {"operation": "create"}})
    document = 'mutation { podFindAndDeployOnDemand(input: {name: "slow", imageName: "i", gpuTypeId: "NVIDIA A40", gpuCount: 1}) { id } }'
    url, headers = (
        f"{platform.emulator.base_url}/graphql",
        {"Authorization": f"Bearer {platform.emulator.api_key}"},
    )
    answers: list[object] = []

    def create() -> None:
        with contextlib.suppress(requests.RequestException):
            answers.append(requests.post(url, json={"query": document}, headers=headers, timeout=DEADLINE))

    threading.Thread(target=create, daemon=True).start()
    platform.eventually(lambda: [pod["name"] for pod in platform.sdk.get_pods()] == ["slow"])
    assert answers == []


@pytest.mark.parametrize("match", [{"gpu": "NVIDIA A40"}, {"dc": "EU-RO-1"}, {}])
def test_stock_out_of_one_gpu_one_place_or_all(platform: Platform, match: dict[str, str]) -> None:
    """A stock-out refuses only matching requests."""
    platform.emulator.inject({"kind": "stock-out", "match": match})
    with pytest.raises(platform.sdk.error.QueryError, match=STOCK_OUT):
        platform.create(data_center_id="EU-RO-1")
    other = {"gpu_type_id": "NVIDIA L4", "data_center_id": "US-KS-2"}
    if match:
        assert platform.create(**other)["id"]
    else:
        with pytest.raises(platform.sdk.error.QueryError, match=STOCK_OUT):
            platform.create(**other)


def test_a_sold_out_refusal_counts_once_a_create(platform: Platform) -> None:
    """``times`` counts refused creates, not the data centres looked at."""
    platform.emulator.inject({"kind": "stock-out", "times": 2})
    for _ in range(2):
        with pytest.raises(platform.sdk.error.QueryError, match=STOCK_OUT):
            platform.create()
    assert platform.create()["id"]


def test_no_runtime_for_ever(platform: Platform) -> None:
    """A pod struck at boot never gets a runtime, the next one does."""
    platform.emulator.inject({"kind": "no-runtime", "times": 1})
    stuck = platform.create()
    platform.boot()
    assert platform.sdk.get_pod(stuck["id"])["runtime"] is None


def test_a_container_that_crashes_starts_again_and_again(platform: Platform) -> None:
    """The pod stays RUNNING while its container is restarted."""
    platform.emulator.inject({"kind": "crash-loop"})
    pod = platform.create()
    platform.eventually(lambda: next(p["generation"] for p in platform.emulator.pods()) > 1)
    assert platform.sdk.get_pod(pod["id"])["desiredStatus"] == "RUNNING"


def test_zero_gpus(platform: Platform) -> None:
    """The pod runs, its GPUs are gone."""
    platform.emulator.inject({"kind": "zero-gpus"})
    result = platform.run(platform.connect(platform.boot()), "nvidia-smi; echo $?")
    assert result.stdout == "No devices were found\n6\n"


def test_zero_gpus_on_resume_only(platform: Platform) -> None:
    """Faults of a start tell a create from a resume."""
    platform.emulator.inject({"kind": "zero-gpus", "match": {"operation": "resume"}})
    pod = platform.boot()
    assert platform.run(platform.connect(pod), "nvidia-smi -L").ok
    platform.sdk.stop_pod(pod["id"])
    platform.sdk.resume_pod(pod["id"], 1)
    assert platform.run(platform.connect(platform.running(pod["id"])), "nvidia-smi -L").failed


def test_stopping_and_resuming_at_once_keeps_the_volume_to_one_container(platform: Platform) -> None:
    """The earlier start of a pod has ended before it starts again, however quickly the two calls come."""
    pod = platform.boot()
    writer = "while :; do echo $RANDOM > /workspace/file; done"
    platform.run(platform.connect(pod), f"setsid bash -c '{writer}' > /dev/null 2>&1 < /dev/null &")
    for _ in range(3):
        platform.sdk.stop_pod(pod["id"])
        platform.sdk.resume_pod(pod["id"], 1)
    connection = platform.connect(platform.running(pod["id"]))
    before = platform.run(connection, "cat /workspace/file").stdout
    assert platform.run(connection, "sleep 0.2; cat /workspace/file").stdout == before


def test_no_sshd(platform: Platform) -> None:
    """The pod has a runtime and a port that refuses."""
    platform.emulator.inject({"kind": "no-sshd"})
    pod = platform.boot()
    with pytest.raises(ConnectionRefusedError):
        _connect(platform.endpoint(pod))


def test_a_late_sshd(platform: Platform) -> None:
    """The port refuses for a while after the runtime is there."""
    platform.emulator.inject({"kind": "late-sshd", "seconds": 3.0})
    pod = platform.boot()
    with pytest.raises(ConnectionRefusedError):
        _connect(platform.endpoint(pod))
    assert platform.run(platform.connect(pod), "echo late").stdout == "late\n"


def test_a_full_disk(platform: Platform) -> None:
    """Writing more than the small disk holds is ENOSPC."""
    platform.emulator.inject({"kind": "disk-full", "size_mb": 4})
    result = platform.run(platform.connect(platform.boot()), "head -c 8000000 /dev/zero > /workspace/big")
    assert (result.failed, "No space left on device" in result.stderr) == (True, True)


def test_ssh_dropped_in_the_middle_of_a_stream(platform: Platform) -> None:
    """The connection ends after so many bytes; the command keeps running; a new connection is let in.

    Of the bytes that its kernel had acknowledged, the client may read only a part before it notices the end.
    """
    pod = platform.boot()
    connection = platform.connect(pod)
    platform.run(
        connection, "setsid sh -c 'echo $$ > /tmp/pid; exec sleep 100' > /dev/null 2>&1 < /dev/null &"
    )
    channel = connection.transport.open_session()
    channel.exec_command("cat /dev/zero")
    platform.emulator.inject({"kind": "drop-ssh", "after_bytes": 1_000_000})
    received = 0
    with contextlib.suppress(EOFError, OSError):
        while data := channel.recv(1 << 16):
            received += len(data)
    assert 0 < received < 100_000_000
    platform.eventually(lambda: not connection.transport.is_active())
    assert platform.run(platform.connect(pod), "kill -0 $(cat /tmp/pid) && echo alive").stdout == "alive\n"


@pytest.mark.parametrize("status", ["RUNNING", "EXITED"])
def test_a_lost_host(platform: Platform, status: str) -> None:
    """Its processes are gone, and the API says RUNNING without runtime, or EXITED."""
    pod = platform.boot("victim")
    other = platform.boot("other")
    connection = platform.connect(pod)
    platform.emulator.inject({"kind": "lose-host", "status": status, "match": {"name": "victim"}})
    platform.eventually(lambda: not connection.transport.is_active())
    lost = platform.sdk.get_pod(pod["id"])
    assert (lost["desiredStatus"], lost["runtime"]) == (status, None)
    assert platform.sdk.get_pod(other["id"])["runtime"] is not None


def test_a_live_fault_armed_for_the_next_boot(platform: Platform) -> None:
    """``on: boot`` strikes when the pod has booted."""
    platform.emulator.inject({"kind": "lose-host", "status": "EXITED", "on": "boot", "times": 1})
    pod = platform.create()
    platform.eventually(lambda: platform.sdk.get_pod(pod["id"])["desiredStatus"] == "EXITED")
    (struck,) = platform.emulator.faults()
    assert struck["struck"] == 1
    assert platform.boot("next")["desiredStatus"] == "RUNNING", "it strikes once"


def test_the_host_is_full_at_resume(platform: Platform) -> None:
    """Resume is refused in RunPod's words."""
    pod = platform.create()
    platform.sdk.stop_pod(pod["id"])
    platform.emulator.inject({"kind": "host-full", "times": 1})
    with pytest.raises(platform.sdk.error.QueryError, match="not enough free GPUs on the host machine"):
        platform.sdk.resume_pod(pod["id"], 1)


def test_out_of_money(platform: Platform) -> None:
    """At $0 the pods end and no new one is let in."""
    pod = platform.boot()
    platform.emulator.set_balance(0)
    assert platform.sdk.get_pod(pod["id"]) is None
    with pytest.raises(platform.sdk.error.QueryError, match="Insufficient balance"):
        platform.create()


def test_a_large_environment_reaches_the_pod(platform: Platform) -> None:
    """Several variables of 100 kB each arrive whole on PID 1."""
    env = {"PUBLIC_KEY": platform.key.public, **{f"BIG_{index}": str(index) * 100_000 for index in range(5)}}
    result = platform.run(
        platform.connect(platform.boot(env=env)),
        "tr '\\0' '\\n' < /proc/1/environ | awk 'length > 100000' | wc -l",
    )
    assert result.stdout == "5\n"


def test_many_pods_at_once(platform: Platform) -> None:
    """Sixteen pods boot side by side."""
    pods = [platform.create(f"p{index}") for index in range(16)]
    for pod in pods:
        platform.running(pod["id"])
    assert len(platform.sdk.get_pods()) == 16
