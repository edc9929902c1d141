"""RestProvider and the switch to it, over the emulator; every call is held against RunPod's own document."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from rpd.emulator.launch import Launched
from rpd.errors import (
    ApiRetired,
    AuthError,
    BalanceError,
    ImpossibleRequest,
    NoCapacity,
    PodNotFound,
    ProviderError,
    RateLimited,
    RequestRejected,
    TransientError,
)
from rpd.lease import pod_release
from rpd.pipeline.whole_account import WholeAccount
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.runpod.rest.provider import RestProvider
from rpd.runpod.switch import Lifecycle, SwitchingProvider
from rpd.values.job import Cluster, Gpu, SshSource, Storage
from rpd.values.pod import Cloud, PodRequest, PodSpec, PodStatus, Provider
from tests.http_server import Quiet, serving
from tests.waiting import wait_until

L4 = Gpu("NVIDIA L4")


@dataclass
class Wire:
    """The traffic: (method, path, query, body) and (status, content type, body)."""

    calls: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    answers: list[tuple[int, str, Any]] = field(default_factory=list)


@pytest.fixture
def wire(account: Launched, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A proxy before the emulator that writes down REST calls; RUNPOD_API_BASE_URL leads to it."""
    seen = Wire()
    target = urlsplit(account.base_url)

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            link = http.client.HTTPConnection(target.hostname or "", target.port, timeout=20)
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            try:
                link.request(self.command, self.path, body=body, headers=headers)
                answer = link.getresponse()
                content = answer.read()
            except (http.client.HTTPException, OSError):
                self.close_connection = True
                return
            finally:
                link.close()
            self.note(body, answer, content)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() in ("content-type", "retry-after", "ratelimit"):
                    self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def note(self, body: bytes, answer: Any, content: bytes) -> None:
            parts = urlsplit(self.path)
            kind = answer.headers.get_content_type()
            if parts.path.startswith("/v2") and (kind.endswith("json") or not content):
                query = dict(parse_qsl(parts.query))
                seen.calls.append((self.command, parts.path, query, json.loads(body) if body else None))
                seen.answers.append((answer.status, kind, json.loads(content) if content else None))

        do_GET = do_POST = do_PUT = do_DELETE = forward

    with serving(Handler) as address:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", f"http://{address}")
        yield seen


def quick() -> dict[str, Any]:
    """Return the arguments that take the pauses out of a provider."""
    return {
        "retry": Retry(first_wait=0.01),
        "patience": Patience(lost=(0.0, 0.02, 0.02)),
        "bucket": TokenBucket(rate=1000, burst=1000, sleep=lambda _: None),
    }


@pytest.fixture
def provider(account: Launched, wire: Wire) -> Iterator[RestProvider]:
    """A provider on an account without pods or faults."""
    made = RestProvider(account.api_key, **quick())
    account.set_balance(100.0)
    yield made
    account.clear_faults()
    for pod in made.list():
        made.delete(pod.id)
    made.close()


@pytest.fixture
def switching(account: Launched, wire: Wire) -> Iterator[Callable[..., SwitchingProvider]]:
    """Makes providers that may change sides, with their notices in ``notices``."""
    made: list[SwitchingProvider] = []

    def make(lifecycle: Lifecycle = "sdk", notices: list[str] | None = None) -> SwitchingProvider:
        hear = (notices if notices is not None else []).append
        made.append(SwitchingProvider(account.api_key, lifecycle=lifecycle, notify=hear, **quick()))
        return made[-1]

    account.set_balance(100.0)
    yield make
    account.clear_faults()
    for one in made:
        for pod in one.list():
            one.delete(pod.id)
        one.close()


def order(name: str, provider: Provider, env: dict[str, str] | None = None, **changes: Any) -> PodSpec:
    request = PodRequest(image="runpod/base:1", **{"gpu": L4, **changes})
    offer = provider.offers(request)[0]
    return PodSpec(name=name, request=request, offer=offer, env=env or {"PUBLIC_KEY": "ssh-ed25519 A"})


def until_ssh(provider: Provider, pod_id: str) -> Any:
    """Read the pod until it has an address."""
    return wait_until(lambda: _with_address(provider, pod_id), "the address of the pod")


def _with_address(provider: Provider, pod_id: str) -> Any:
    pod = provider.get(pod_id)
    return pod if pod is not None and pod.ssh is not None else None


# --- the life of a pod ----------------------------------------------------------------------------------------------


def test_the_life_of_a_pod(account: Launched, provider: RestProvider) -> None:
    """Create, read, list, stop and delete, with the state of the account after each; deleting twice is no error."""
    pod = provider.create(order("rpd-life", provider, storage=Storage(volume_gb=20)))
    assert (pod.name, pod.gpu, pod.gpu_count, pod.cloud) == ("rpd-life", "NVIDIA L4", 1, Cloud.SECURE)
    assert (pod.status, pod.usd_per_hr, pod.volume_gb) == (PodStatus.RUNNING, 0.49, 20)
    ready = until_ssh(provider, pod.id)
    assert (ready.ssh.host, ready.ssh.user) == ("127.0.0.1", "root")
    assert ready.uptime_seconds is not None
    assert [p.id for p in provider.list()] == [pod.id]
    provider.stop(pod.id)
    provider.stop(pod.id)
    stopped = provider.get(pod.id)
    assert stopped is not None
    assert (stopped.status, stopped.ssh, stopped.usd_per_hr) == (PodStatus.EXITED, None, 0.0)
    provider.delete(pod.id)
    provider.delete(pod.id)
    assert provider.get(pod.id) is None
    assert account.pods() == []
    with pytest.raises(PodNotFound):
        provider.stop(pod.id)


def test_the_whole_request_arrives(account: Launched, provider: RestProvider, wire: Wire) -> None:
    """The whole request of a job is in the one body that is sent, awkward text included."""
    text = 'a "b" \\ c\n{d} #e é 🚀\t$(f)'
    asked = order(
        "rpd-all",
        provider,
        {"TEXT": text},
        cuda=("12.8", "12.9"),
        ports=("8888/http", "22/tcp"),
        docker_args="bash -c 'sleep 9'",
        ssh=SshSource.IMAGE,
        storage=Storage(volume_gb=5),
        container_disk_gb=33,
    )
    provider.create(asked)
    [row] = account.pods()
    assert row["env"]["TEXT"] == text
    [body] = [body for method, path, _, body in wire.calls if (method, path) == ("POST", "/v2/pods")]
    assert body["gpu"] == {"id": "NVIDIA L4", "count": 1, "allowedCudaVersions": ["12.8", "12.9"]}
    assert (body["ports"], body["disk"]) == (["22/tcp", "8888/http"], 33)
    assert body["mounts"] == {"persistent": {"size": 10, "path": "/workspace"}}
    assert (body["args"], body["startSsh"]) == ("bash -c 'sleep 9'", True)
    assert body["dataCenterIds"] == [asked.offer.datacenter]


def test_a_cpu_pod_and_a_network_volume(account: Launched, provider: RestProvider) -> None:
    """A CPU pod is asked for by flavour and vCPUs, at the price of today; a volume by name goes where it is."""
    import httpx

    with httpx.Client(
        base_url=account.base_url, headers={"Authorization": f"Bearer {account.api_key}"}, trust_env=False
    ) as client:
        body = {"name": "data", "size": 10, "dataCenter": "US-KS-2"}
        volume = client.post("/v2/network-volumes", json=body).json()
        cpu = order("rpd-cpu", provider, gpu=None, min_vcpu=4, storage=Storage(network_volume="data"))
        assert (cpu.offer.usd_per_hr, cpu.offer.datacenter) == (0.12, "US-KS-2")
        pod = provider.create(cpu)
        assert (pod.gpu, pod.gpu_count, pod.datacenter, pod.usd_per_hr) == (None, 0, "US-KS-2", 0.12)
        provider.delete(pod.id)
        assert client.delete(f"/v2/network-volumes/{volume['id']}").status_code == 204


def test_what_rest_cannot_do_is_told(provider: RestProvider) -> None:
    """There are no spot pods; the least memory of a GPU pod is left out with a notice."""
    notices: list[str] = []
    provider.notify = notices.append
    with pytest.raises(RequestRejected, match="no spot pods"):
        order("rpd-spot", provider, spot=True)
    provider.create(order("rpd-big", provider, min_memory_gb=64))
    assert [text for text in notices if "min_memory_gb" in text]


def test_the_account(account: Launched, provider: RestProvider) -> None:
    """The balance comes from GraphQL while that lives; a refused key is refused by both."""
    assert provider.account().balance_usd == pytest.approx(100.0, abs=1.0)
    account.inject({"kind": "gone", "match": {"face": "graphql"}})
    assert provider.account().balance_usd is None
    wrong = RestProvider("rpa_WRONGWRONG", **quick())
    with pytest.raises(AuthError) as caught:
        wrong.account()
    wrong.close()
    assert "WRONG" not in str(caught.value)


def test_logs_tell_why_a_pod_does_not_start(
    account: Launched, provider: RestProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lines of the pod's machine are there to be shown; a pod that is gone has none."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", account.base_url)  # the proxy passes on whole answers only
    asked = order("rpd-log", provider)
    request = PodRequest(image="nobody/nothing:missing", gpu=L4)
    pod = provider.create(PodSpec(name="rpd-log", request=request, offer=asked.offer, env={}))
    direct = RestProvider(account.api_key)  # a provider calls where the environment led when it was made
    lines = direct.logs(pod.id, tail=2)
    assert lines[0].startswith("create container")
    assert "manifest unknown" in lines[1]
    assert direct.logs(pod.id, tail=1) == lines[1:]
    provider.delete(pod.id)
    with pytest.raises(PodNotFound):
        direct.logs(pod.id)
    direct.close()


# --- when things go wrong -------------------------------------------------------------------------------------------


def test_sold_out_and_broke(account: Launched, provider: RestProvider) -> None:
    """A stock-out is NoCapacity, an empty account BalanceError, and no pod comes of either."""
    asked = order("rpd-none", provider)
    account.inject({"kind": "stock-out", "match": {"gpu": "NVIDIA L4"}})
    with pytest.raises(NoCapacity, match="no longer any instances"):
        provider.create(asked)
    account.clear_faults()
    account.set_balance(0.01)
    with pytest.raises(BalanceError):
        provider.create(asked)
    assert account.pods() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "server-error", "status": 502, "when": "after"},
        {"kind": "server-error", "status": 524, "when": "after"},
        {"kind": "reset", "when": "after"},
        {"kind": "error", "message": "Something went wrong.", "when": "after"},
    ],
)
def test_a_pod_made_before_the_answer_was_lost_is_found_and_made_once(
    account: Launched, provider: RestProvider, wire: Wire, fault: dict[str, Any]
) -> None:
    """An answer lost after the pod was made leads to that pod and to no second one."""
    asked = order("rpd-lost", provider)
    account.inject({**fault, "times": 1, "match": {"operation": "create"}})
    pod = provider.create(asked)
    assert [row["id"] for row in account.pods()] == [pod.id]


@pytest.mark.parametrize(
    "fault", [{"kind": "server-error", "status": 502, "when": "before"}, {"kind": "reset", "when": "before"}]
)
def test_an_answer_lost_before_the_pod_was_made_is_a_hiccup(
    account: Launched, provider: RestProvider, fault: dict[str, Any]
) -> None:
    """Where no pod was made the error says so."""
    asked = order("rpd-lost", provider)
    account.inject({**fault, "times": 1, "match": {"operation": "create"}})
    with pytest.raises(TransientError, match=r"no pod named \S+ exists"):
        provider.create(asked)
    assert account.pods() == []


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ({"kind": "unauthorized"}, AuthError),
        ({"kind": "gone"}, ApiRetired),
        ({"kind": "rate-limit", "retry_after": 99}, RateLimited),
        ({"kind": "hiccup"}, TransientError),
        ({"kind": "forbidden-html"}, RequestRejected),
    ],
)
def test_a_list_that_cannot_be_read_is_no_empty_list(
    account: Launched, provider: RestProvider, fault: dict[str, Any], wanted: type[ProviderError]
) -> None:
    """Faults of the API are the errors that fit."""
    account.inject(fault)
    with pytest.raises(wanted):
        provider.list()


def test_reads_survive_hiccups(account: Launched, provider: RestProvider) -> None:
    """Repeatable calls are repeated; a pod behind a broken edge is not gone."""
    pod = provider.create(order("rpd-there", provider))
    account.inject({"kind": "server-error", "status": 503, "times": 2, "match": {"operation": "get"}})
    read = provider.get(pod.id)
    assert read is not None
    assert read.id == pod.id
    account.inject({"kind": "hiccup", "times": 1, "match": {"operation": "terminate"}})
    provider.delete(pod.id)
    assert account.pods() == []


def test_a_path_that_is_not_there_is_no_pod_that_is_gone(
    account: Launched, provider: RestProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod counts as gone only if the list of pods could be read without it."""
    pod = provider.create(order("rpd-there", provider))
    monkeypatch.setattr("rpd.runpod.rest.pods.path_of", lambda _: "/elsewhere")
    read = provider.get(pod.id)
    assert read is not None
    assert read.id == pod.id
    account.inject({"kind": "forbidden-html", "match": {"operation": "list"}})
    with pytest.raises(RequestRejected):
        provider.get(pod.id)


# --- offers ---------------------------------------------------------------------------------------------------------


def test_data_centres_without_the_cuda_version_are_left_out(provider: RestProvider) -> None:
    """A job's CUDA versions decide which data centres are tried, also among those it names itself."""
    names = ("OC-AU-1", "EU-CZ-1")
    plain = provider.offers(PodRequest(image="i", gpu=L4, datacenters=names))
    assert [offer.datacenter for offer in plain] == list(names)
    new = provider.offers(PodRequest(image="i", gpu=L4, datacenters=names, cuda=("12.8",)))
    assert [offer.datacenter for offer in new] == ["EU-CZ-1"]
    anywhere = [offer.datacenter for offer in provider.offers(PodRequest(image="i", gpu=L4, cuda=("12.8",)))]
    assert anywhere[-1] is None
    assert "OC-AU-1" not in anywhere
    assert "EU-RO-1" in anywhere


# --- the switch -----------------------------------------------------------------------------------------------------


def test_a_retired_api_is_left_for_the_other_once(
    account: Launched, switching: Callable[..., SwitchingProvider]
) -> None:
    """A pod made through the SDK is followed over REST when GraphQL ends in the middle, with one notice."""
    notices: list[str] = []
    provider = switching(notices=notices)
    pod = provider.create(order("rpd-first", provider))
    account.inject({"kind": "gone", "match": {"face": "graphql"}})
    read = provider.get(pod.id)
    assert read is not None
    assert (read.id, read.name, read.gpu) == (pod.id, "rpd-first", "NVIDIA L4")
    second = provider.create(order("rpd-second", provider))
    assert {p.id for p in provider.list()} == {pod.id, second.id}
    provider.delete(pod.id)
    assert [row["name"] for row in account.pods()] == ["rpd-second"]
    # All tests share the windows of the account's rate limit, so that there may be a notice about those, too.
    assert len([notice for notice in notices if "rpd continues with REST v2" in notice]) == 1


def test_a_create_refused_as_retired_is_made_over_rest(
    account: Launched, switching: Callable[..., SwitchingProvider]
) -> None:
    """HTTP 410 did nothing, so that the same create is sent to the other API, once."""
    provider = switching()
    asked = order("rpd-moved", provider)
    account.inject({"kind": "gone", "match": {"face": "graphql"}})
    pod = provider.create(asked)
    assert [row["id"] for row in account.pods()] == [pod.id]


def test_an_account_that_has_only_rest(
    account: Launched, switching: Callable[..., SwitchingProvider]
) -> None:
    """A run that starts after the end of GraphQL checks its key and has no spot pods."""
    account.inject({"kind": "gone", "match": {"face": "graphql"}})
    provider = switching()
    assert provider.account().balance_usd is None
    with pytest.raises(RequestRejected, match="no spot pods"):
        provider.offers(PodRequest(image="i", gpu=L4, spot=True))


def test_rest_by_choice_still_bids_for_spot_pods(
    account: Launched, switching: Callable[..., SwitchingProvider], wire: Wire
) -> None:
    """``lifecycle = "rest"`` sends nothing but spot pods through the SDK."""
    provider = switching("rest")
    plain = provider.create(order("rpd-plain", provider))
    made = [path for method, path, _, _ in wire.calls if method == "POST"]
    assert made == ["/v2/pods"]
    spot = provider.create(order("rpd-spot", provider, spot=True))
    assert spot.spot
    assert {pod.id for pod in provider.list()} == {plain.id, spot.id}


def test_both_gone_is_the_end(account: Launched, switching: Callable[..., SwitchingProvider]) -> None:
    """Where no API is left the error says so."""
    account.inject({"kind": "gone", "times": None})
    with pytest.raises(ApiRetired):
        switching().list()


# --- the contract ---------------------------------------------------------------------------------------------------


def test_everything_sent_and_answered_fits_the_document(
    account: Launched, provider: RestProvider, wire: Wire, openapi: Any
) -> None:
    """Requests of the provider and answers of the emulator are as RunPod's OpenAPI document has them."""
    full = order(
        "rpd-doc",
        provider,
        cuda=("12.8",),
        storage=Storage(volume_gb=10),
        docker_args="sleep 9",
        ports=("1/tcp",),
    )
    credentials = provider.add_registry("rpd-doc-registry", "me", "word")
    pod = provider.create(replace(full, registry_id=credentials))
    with pytest.raises(RequestRejected, match="in use"):
        provider.remove_registry(credentials)
    assert [auth.name for auth in provider.registries()] == ["rpd-doc-registry"]
    provider.create(order("rpd-doc-cpu", provider, gpu=None))
    until_ssh(provider, pod.id)
    provider.list()
    assert "EU-RO-1" in provider.datacenters()
    provider.stop(pod.id)
    provider.stop(pod.id)
    account.inject({"kind": "stock-out", "match": {"gpu": "NVIDIA L4"}})
    with pytest.raises(NoCapacity):
        provider.create(full)
    with pytest.raises(RequestRejected):
        provider.offers(PodRequest(image="i", gpu=L4, storage=Storage(network_volume="nothing")))
    for one in provider.list():
        provider.delete(one.id)
        provider.get(one.id)
    provider.remove_registry(credentials)
    provider.remove_registry(credentials)
    operations = {(method, path.split("/")[2]) for method, path, _, _ in wire.calls}
    assert operations >= {("POST", "pods"), ("GET", "pods"), ("DELETE", "pods"), ("GET", "catalog")}
    # The watchdog of a pod sends this.
    openapi.check_request("POST", f"/v2/pods/{pod.id}/action", {}, {"action": "terminate"})
    for (method, path, query, body), (status, kind, content) in zip(wire.calls, wire.answers, strict=True):
        openapi.check_request(method, path, query, body)
        openapi.check_response(method, path, status, kind, content)


# --- clusters -------------------------------------------------------------------------------------------------------


def test_clusters_fit_the_document(
    account: Launched, provider: RestProvider, wire: Wire, openapi: Any
) -> None:
    """A cluster is created, listed, read and deleted as one, in RunPod's shapes; plain lists of pods leave it out."""
    clusters = provider.clusters()
    spec = cluster_order("rpd-cluster", clusters, nodes=3)
    made = clusters.create(spec)
    assert (made.nodes, made.gpu_count, made.name) == (3, 3, "rpd-cluster")
    assert made.id not in {pod.id for pod in provider.list()}
    (whole,) = clusters.list()
    assert [member.rank for member in whole.members] == [0, 1, 2]
    assert len({member.private_ip for member in whole.members} - {""}) == 3
    read = clusters.get(made.id)
    assert read is not None
    assert [member.id for member in read.members] == [member.id for member in whole.members]
    assert read.usd_per_hr == pytest.approx(spec.offer.usd_per_hr)
    with pytest.raises(RequestRejected):
        provider.delete(whole.members[1].id)
    for act in (clusters.stop, lambda pod_id: clusters.resume(pod_id, 1)):
        with pytest.raises(ImpossibleRequest):
            act(made.id)
    clusters.delete(made.id)
    clusters.delete(made.id)
    assert clusters.get(made.id) is None
    assert account.pods() == []
    for (method, path, query, body), (status, kind, content) in zip(wire.calls, wire.answers, strict=True):
        openapi.check_request(method, path, query, body)
        openapi.check_response(method, path, status, kind, content)


def test_a_lost_answer_finds_the_cluster_by_its_name(account: Launched, provider: RestProvider) -> None:
    """Whatever becomes of the answer: there is one cluster of that name, or none, and the caller knows which."""
    clusters = provider.clusters()
    for kind, when in (("server-error", "after"), ("reset", "after")):
        account.inject({"kind": kind, "when": when, "times": 1, "match": {"operation": "createCluster"}})
        made = clusters.create(cluster_order(f"rpd-{kind}", clusters))
        assert [cluster.id for cluster in clusters.list()] == [made.id]
        clusters.delete(made.id)
    account.inject(
        {"kind": "server-error", "when": "before", "times": 1, "match": {"operation": "createCluster"}}
    )
    with pytest.raises(TransientError):
        clusters.create(cluster_order("rpd-none", clusters))
    assert clusters.list() == []


def test_half_a_cluster_is_never_rented(account: Launched, provider: RestProvider) -> None:
    """With GPUs for three of four members, and without the role, nothing is rented, and the reason is plain."""
    clusters = provider.clusters()
    spec = cluster_order("rpd-four", clusters, nodes=4)
    account.set_stock("NVIDIA L4", spec.offer.datacenter or "", 3)
    with pytest.raises(NoCapacity):
        clusters.create(spec)
    account.set_stock("NVIDIA L4", spec.offer.datacenter or "", 40)
    account.inject({"kind": "not-admin"})
    with pytest.raises(AuthError, match="only the role Admin may"):
        clusters.create(spec)
    assert (clusters.list(), account.pods()) == ([], [])


def test_the_whole_account(provider: RestProvider) -> None:
    """Commands see pods and clusters as one list, a member as part of its cluster, and delete either."""
    clusters = provider.clusters()
    pod = provider.create(order("rpd-single", provider))
    cluster = clusters.create(cluster_order("rpd-both", clusters))
    account = WholeAccount(provider)
    assert {each.id for each in account.list()} == {pod.id, cluster.id}
    for each in account.list():
        pod_release.delete(account, each)
    assert account.list() == []


def cluster_order(name: str, provider: Provider, nodes: int = 2) -> PodSpec:
    """Return a spec of a cluster for the best offer."""
    request = PodRequest(image="runpod/base:1", gpu=L4, cluster=Cluster(nodes=nodes))
    return PodSpec(name=name, request=request, offer=provider.offers(request)[0], env={})
