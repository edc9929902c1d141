"""RunPodProvider against scripted answers, through the real SDK."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from rpd.errors import (
    AmbiguousCreate,
    ApiRetired,
    AuthError,
    BalanceError,
    NoCapacity,
    PodNotFound,
    ProviderError,
    QuotaError,
    RateLimited,
    RequestRejected,
    TransientError,
)
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.values.job import Gpu, SshSource, Storage
from rpd.values.pod import Cloud, PodRequest, PodStatus, SshEndpoint
from tests.runpod.conftest import GPU_FOUND, KEY, Answer, Script, data, errors, html, pod_row, raw, spec

CREATE = "podFindAndDeployOnDemand"
MADE = data(podFindAndDeployOnDemand={"id": "p1", "machineId": "m1"})
LIST = "myself { pods"
READ = "pod(input"
SPOT_SOLD_OUT = (
    "There are no longer any instances available with the request specifications. Please try again later."
)


def listed(*rows: dict[str, Any] | None) -> Answer:
    return data(myself={"pods": list(rows)})


def ready_to_create(script: Script, *answers: Answer | Callable[[str], Answer]) -> Script:
    return (
        script.on("gpuTypes", GPU_FOUND).on(READ, data(pod=pod_row())).on(LIST, listed()).on(CREATE, *answers)
    )


# --- reading --------------------------------------------------------------------------------------------------------


def test_get_reads_what_runpod_tells(script: Script, provider: RunPodProvider) -> None:
    """A pod is described with rate, place, machine and the public address of its port 22."""
    script.on(READ, data(pod=pod_row()))
    pod = provider.get("p1")
    assert pod is not None
    assert (pod.id, pod.status, pod.usd_per_hr, pod.datacenter) == ("p1", PodStatus.RUNNING, 0.44, "EU-RO-1")
    assert pod.ssh == SshEndpoint(host="213.173.109.39", port=13007)
    assert (pod.gpu, pod.gpu_count, pod.cloud, pod.machine_id) == (
        "NVIDIA L4",
        1,
        Cloud.SECURE,
        "hpvdausak8xb",
    )
    assert pod.uptime_seconds == 11


@pytest.mark.parametrize("row", [None, pod_row(desiredStatus="TERMINATED")])
def test_a_deleted_pod_is_none(script: Script, provider: RunPodProvider, row: Any) -> None:
    """A pod RunPod does not know, and one it still shows as terminated, are both gone."""
    script.on(READ, data(pod=row)).on(LIST, listed(*([row] if row else [])))
    assert provider.get("p1") is None
    assert provider.list() == ()


def test_list_is_one_call_and_asks_for_no_environment(script: Script, provider: RunPodProvider) -> None:
    """All pods come in one call, which does not fetch their environment."""
    script.on(LIST, listed(pod_row("a"), pod_row("b", desiredStatus="EXITED")))
    pods = provider.list()
    assert [(pod.id, pod.status) for pod in pods] == [("a", PodStatus.RUNNING), ("b", PodStatus.EXITED)]
    assert len(script.queries) == 1
    assert " env" not in script.queries[0]


@pytest.mark.parametrize("answer", [data(myself={"pods": None}), listed(pod_row(), None), data(myself={})])
def test_a_list_with_holes_is_an_error(script: Script, provider: RunPodProvider, answer: Answer) -> None:
    """A broken list is never read as a list of nothing."""
    script.on(LIST, answer)
    with pytest.raises(TransientError):
        provider.list()


def test_a_schema_that_lost_a_field_falls_back_to_the_sdks_own_queries(
    script: Script, provider: RunPodProvider
) -> None:
    """A query RunPod no longer understands is replaced by the SDK's, for good."""
    unknown = errors('Cannot query field "secureCloud" on type "PodMachineInfo".', status=400)
    script.on("myPods", listed(pod_row("a"))).on("query pod {", data(pod=pod_row("a")))
    script.on("secureCloud", unknown)
    assert [pod.id for pod in provider.list()] == ["a"]
    assert provider.get("a") is not None
    assert script.sent("secureCloud") == 1


def test_account_tells_the_balance(script: Script, provider: RunPodProvider) -> None:
    """The account's balance and burn are read, with the key in the header."""
    script.on("clientBalance", data(myself={"id": "u1", "clientBalance": 12.5, "currentSpendPerHr": 0.44}))
    account = provider.account()
    assert (account.id, account.balance_usd, account.spend_usd_per_hr) == ("u1", 12.5, 0.44)
    assert script.authorization == [f"Bearer {KEY}"]


@pytest.mark.parametrize(
    "act",
    [lambda p: p.account(), lambda p: p.list(), lambda p: p.offers(volume_request())],
    ids=["account", "list", "offers"],
)
def test_a_key_of_nobody_is_refused(script: Script, provider: RunPodProvider, act: Any) -> None:
    """An answer without an identity means that the key is no good."""
    script.on("myself", data(myself=None)).on("dataCenters", CATALOGUE)
    with pytest.raises(AuthError, match="belongs to no account"):
        act(provider)


# --- failures, row by row -------------------------------------------------------------------------------------------

READ_FAILURES: list[tuple[str, Answer, type[ProviderError]]] = [
    ("401", raw({"any": "body"}, 401), AuthError),
    ("401 html", html(401), AuthError),
    ("errors", errors("An unheard-of sentence."), RequestRejected),
    ("errors null", raw({"errors": None, "data": {"pod": None}}), TransientError),
    ("errors empty", raw({"errors": [], "data": {"pod": None}}), TransientError),
    ("403 json", raw({"error": "access denied"}, 403), RequestRejected),
    ("403 html", html(403), RequestRejected),
    ("402 json", raw({"detail": "no credit"}, 402), BalanceError),
    ("410", html(410), ApiRetired),
    ("429 json", raw({"error": "slow down"}, 429), RateLimited),
    ("429 html", html(429), RateLimited),
    ("500 json", raw({"error": "boom", "status": 500}, 500), TransientError),
    ("502 html", html(502), TransientError),
    ("520 html", html(520), TransientError),
    ("524 html", html(524), TransientError),
    ("200 html", html(200), TransientError),
    ("200 empty", Answer(), TransientError),
    ("dropped", Answer(drop=True), TransientError),
    ("data null", raw({"data": None}), TransientError),
    ("hiccup", errors("Something went wrong. Please try again later or contact support."), TransientError),
    (
        "parse",
        errors("Something went wrong. Please try again later.", "GRAPHQL_PARSE_FAILED"),
        RequestRejected,
    ),
    ("quota", errors("You have reached your spend limit of $80/hr."), QuotaError),
]


@pytest.mark.parametrize(
    ("answer", "wanted"), [row[1:] for row in READ_FAILURES], ids=[r[0] for r in READ_FAILURES]
)
def test_every_way_to_fail_is_one_of_our_errors(
    script: Script, provider: RunPodProvider, answer: Answer, wanted: type[ProviderError]
) -> None:
    """Whatever the SDK makes of an answer, the caller sees the error it means, in one line without a cause."""
    script.on("", answer)
    with pytest.raises(wanted) as caught:
        provider.get("p1")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("answer", [raw({"error": "no"}, 429), raw({"error": "boom"}, 500), html(502)])
def test_delete_does_not_swallow_an_answer_that_is_no_success(
    script: Script, provider: RunPodProvider, answer: Answer
) -> None:
    """The SDK's terminate reports nothing for a 429 or 500 of JSON; ours does."""
    script.on("podTerminate", answer)
    with pytest.raises(TransientError):
        provider.delete("p1")


def test_nobody_listening_is_said_so(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, script: Script
) -> None:
    """An unreachable server is a hiccup, reported without a stack of library errors."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:9")
    provider: RunPodProvider = request.getfixturevalue("provider")
    with pytest.raises(
        TransientError,
        match=r"cannot be reached at http://127.0.0.1:\d+: nothing is listening there. Is RUNPOD_API_BASE_URL right",
    ):
        provider.get("p1")


def test_calls_go_where_the_environment_led_at_first(
    monkeypatch: pytest.MonkeyPatch, script: Script, provider: RunPodProvider
) -> None:
    """A job may change address and key, for the SDK too: a pod is looked for, and given back, where it was rented."""
    script.on(READ, data(pod=pod_row()), data(pod=pod_row()))
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:9")
    assert provider.get("p1") is not None
    import runpod

    monkeypatch.setattr(runpod, "api_key", "somebody else's")
    assert provider.get("p1") is not None
    assert script.sent(READ) == 2


# --- trying again ---------------------------------------------------------------------------------------------------


def test_reads_are_tried_again(script: Script, provider: RunPodProvider) -> None:
    """A read survives hiccups."""
    script.on(READ, html(502), raw({"error": "x"}, 500), data(pod=pod_row()))
    assert provider.get("p1") is not None
    assert script.sent(READ) == 3


def test_retry_after_is_honoured(script: Script) -> None:
    """The wait before the next try is at least the one RunPod asks for, for this call and for all others."""
    waits: list[float] = []
    pauses: list[float] = []
    notices: list[str] = []
    provider = RunPodProvider(
        KEY,
        notify=notices.append,
        retry=Retry(sleep=waits.append),
        bucket=TokenBucket(clock=lambda: 0.0, sleep=pauses.append),
    )
    script.on(READ, raw({"error": "slow"}, 429, Retry_After="7"), data(pod=None))
    assert provider.get("p1") is None
    assert waits[0] >= 7
    assert pauses[0] >= 7
    assert notices == ["RunPod limits the rate of calls: rpd makes none for 7 s, as RunPod asks"]


def test_a_wait_that_is_too_long_is_the_callers_to_know(script: Script, provider: RunPodProvider) -> None:
    """RunPod asking for an hour is an error with that number, not an hour of silence."""
    script.on(READ, raw({"error": "slow"}, 429, Retry_After="3600"))
    with pytest.raises(RateLimited) as caught:
        provider.get("p1")
    assert caught.value.retry_after == 3600
    assert script.sent(READ) == 1


def test_stop_and_delete(script: Script, provider: RunPodProvider) -> None:
    """Stop needs a pod; delete succeeds even without one."""
    gone = errors("pod not found to terminate", "POD_NOT_FOUND", content={"podTerminate": None})
    script.on("podTerminate", gone).on("podStop", errors("pod not found", "POD_NOT_FOUND"))
    provider.delete("p1")
    with pytest.raises(PodNotFound):
        provider.stop("p1")
    script.on("podTerminate", html(502), data(podTerminate=None))
    provider.delete("p2")
    assert script.sent('podTerminate(input: { podId: "p2"') == 2


# --- creating -------------------------------------------------------------------------------------------------------


def test_create_sends_everything(script: Script, provider: RunPodProvider) -> None:
    """A create leaves nothing to the SDK's defaults, and the pod comes back as asked for, without another call."""
    ready_to_create(script, MADE)
    pod = provider.create(
        spec(
            cuda=("12.8",),
            ports=("8888/http",),
            min_vcpu=4,
            storage=Storage(volume_gb=20),
            docker_args="x '\"'",
            ssh=SshSource.IMAGE,
        )
    )
    assert (pod.id, pod.usd_per_hr, pod.datacenter, pod.cloud) == ("p1", 0.49, "EU-RO-1", Cloud.SECURE)
    assert script.sent(READ) == 0
    sent = next(query for query in script.queries if CREATE in query)
    for piece in (
        'name: "rpd-run-node-1"',
        "cloudType: SECURE",
        "supportPublicIp: true",
        'dataCenterId: "EU-RO-1"',
        'ports: "22/tcp,8888/http"',
        'volumeMountPath: "/workspace"',
        "volumeInGb: 20",
        "containerDiskInGb: 20",
        "minVcpuCount: 4",
        'allowedCudaVersions: ["12.8"]',
        r"""dockerArgs: "x '\"'" """.strip(),
    ):
        assert piece in sent


def test_no_docker_args_is_not_an_empty_command(script: Script, provider: RunPodProvider) -> None:
    """A job without docker_args leaves the image's own command, which starts sshd."""
    ready_to_create(script, MADE)
    provider.create(spec())
    assert script.sent("dockerArgs") == 0


def test_a_gpu_is_looked_up_once(script: Script, provider: RunPodProvider) -> None:
    """The SDK asks before each create whether the GPU exists; one that a pod was made with is not asked for again."""
    ready_to_create(script, MADE)
    for _ in range(3):
        provider.create(spec())
    assert (script.sent("gpuTypes"), script.sent(CREATE)) == (1, 3)


def test_a_gpu_that_is_refused_is_looked_up_again(script: Script, provider: RunPodProvider) -> None:
    """Only an answer that let the SDK continue is remembered."""
    ready_to_create(script, MADE).on("gpuTypes", data(gpuTypes=[]), GPU_FOUND)
    with pytest.raises(ProviderError):
        provider.create(spec())
    provider.create(spec())
    assert (script.sent("gpuTypes"), script.sent(CREATE)) == (2, 1)


def test_a_spot_pod_is_bid_for(script: Script, provider: RunPodProvider) -> None:
    """A spot pod goes through the bidding mutation, with the rate per GPU."""
    ready_to_create(script).on("podRentInterruptable", data(podRentInterruptable={"id": "p1"}))
    pod = provider.create(spec(spot=True))
    assert pod.id == "p1"
    assert script.sent("bidPerGpu: 0.4900") == 1
    assert script.sent(CREATE) == 0


def test_a_cpu_pod_has_an_instance(script: Script, provider: RunPodProvider) -> None:
    """A CPU pod is made without asking for a GPU."""
    script.on("deployCpuPod", data(deployCpuPod={"id": "p1"}))
    provider.create(spec(gpu_id=None, usd=0.06, min_vcpu=3))
    assert script.sent('instanceId: "cpu3c-4-8"') == 1
    assert script.sent("gpuTypes") == 0


@pytest.mark.parametrize(
    ("message", "code", "wanted"),
    [
        (
            "There are no longer any instances available with the requested specifications. Please refresh and try again.",
            "SUPPLY_CONSTRAINT",
            NoCapacity,
        ),
        (SPOT_SOLD_OUT, "", NoCapacity),
        (
            "This machine does not have the resources to deploy your pod. Please try a different machine",
            "",
            NoCapacity,
        ),
        ("Your balance is too low: insufficient balance.", "INSUFFICIENT_BALANCE", BalanceError),
        ("You have reached your spend limit.", "", QuotaError),
        (
            'Field "x" is not defined by type "PodFindAndDeployOnDemandInput".',
            "BAD_USER_INPUT",
            RequestRejected,
        ),
    ],
)
def test_a_refused_create_is_not_looked_for(
    script: Script, provider: RunPodProvider, message: str, code: str, wanted: type[ProviderError]
) -> None:
    """A refusal whose meaning is known is raised at once, after one create and without reading the list."""
    ready_to_create(script, errors(message, code, content={CREATE: None}))
    with pytest.raises(wanted):
        provider.create(spec())
    assert script.sent(CREATE) == 1
    assert script.sent(LIST) == 0


def test_a_gpu_nobody_rents_is_told(script: Script, provider: RunPodProvider) -> None:
    """An id RunPod does not list is an error of the request, before anything is created."""
    ready_to_create(script, MADE).on("gpuTypes", data(gpuTypes=[]))
    with pytest.raises(RequestRejected, match="has no GPU type"):
        provider.create(spec())
    assert script.sent(CREATE) == 0


LOST = [
    html(502),
    html(524),
    Answer(drop=True),
    Answer(),
    raw({"error": "boom"}, 500),
    data(podFindAndDeployOnDemand=None),
    raw({"errors": [], "data": {}}),
]


@pytest.mark.parametrize("answer", LOST, ids=range(len(LOST)))
def test_a_lost_answer_finds_the_pod_that_was_made(
    script: Script, provider: RunPodProvider, answer: Answer
) -> None:
    """A create whose answer was lost finds its pod by name, though it shows up late, and makes no second one."""
    ready_to_create(script, answer)
    script.on(LIST, listed(pod_row("other", "x")), listed(pod_row("other", "x"), pod_row("p9")))
    assert provider.create(spec()).id == "p9"
    assert script.sent(CREATE) == 1


@pytest.mark.parametrize("answer", LOST, ids=range(len(LOST)))
def test_a_lost_answer_without_a_pod_may_be_tried_again(
    script: Script, provider: RunPodProvider, answer: Answer
) -> None:
    """If every reading of the list shows no pod of that name, none was made, and the error says so."""
    ready_to_create(script, answer)
    with pytest.raises(TransientError, match=r"no pod named \S+ exists"):
        provider.create(spec())
    assert script.sent(CREATE) == 1
    assert script.sent(LIST) == len(Patience().lost)


def test_a_lost_answer_and_an_unreadable_list_stay_ambiguous(
    script: Script, provider: RunPodProvider
) -> None:
    """An unknown outcome is reported as unknown."""
    ready_to_create(script, html(502)).on(LIST, html(503))
    with pytest.raises(AmbiguousCreate, match="rpd-run-node-1"):
        provider.create(spec())
    assert script.sent(CREATE) == 1


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("Something went wrong. Please try again later.", TransientError),
        ("Cannot return null.", RequestRejected),
    ],
)
def test_an_answer_of_errors_is_checked_once(
    script: Script, provider: RunPodProvider, message: str, wanted: type[ProviderError]
) -> None:
    """An error that may speak of a part only is checked against the list: the pod is found, else the error stands."""
    ready_to_create(script, errors(message))
    with pytest.raises(wanted):
        provider.create(spec())
    assert script.sent(LIST) == 1
    script.on(LIST, listed(pod_row("p9")))
    assert provider.create(spec()).id == "p9"


def test_a_question_before_the_create_that_fails_is_no_lost_create(
    script: Script, provider: RunPodProvider
) -> None:
    """The SDK asks for the GPU type first; if that fails nothing was created and nothing is looked for."""
    ready_to_create(script, MADE).on("gpuTypes", html(502))
    with pytest.raises(TransientError):
        provider.create(spec())
    assert script.sent(CREATE) == 0
    assert script.sent(LIST) == 0


def test_creates_are_never_tried_again(script: Script, provider: RunPodProvider) -> None:
    """A create that has to wait is not repeated here; the caller learns how long to wait."""
    ready_to_create(script, raw({"error": "slow"}, 429, Retry_After="1"))
    with pytest.raises(RateLimited) as caught:
        provider.create(spec())
    assert caught.value.retry_after == 1.0
    assert script.sent(CREATE) == 1


# --- secrets --------------------------------------------------------------------------------------------------------

CANARY = 'canary-"5f2c\\9d\n1e'
COMMAND_CANARY = "hunter2hunter2"


def echo(query: str) -> Answer:
    """Answer as a server that repeats in its error the text it could not parse."""
    return errors(f"Syntax Error: Unexpected Name in {query}", "GRAPHQL_PARSE_FAILED")


@pytest.mark.parametrize(
    "answer",
    [echo, errors("odd"), errors(f"odd {CANARY} {COMMAND_CANARY} {KEY}"), html(502), html(200), MADE],
)
@pytest.mark.parametrize("spot", [False, True])
def test_no_secret_is_in_any_error(
    script: Script, provider: RunPodProvider, answer: Any, spot: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Environment, command and key appear in no text, repr, traceback, chained error or log record."""
    caplog.set_level(logging.DEBUG)
    ready_to_create(script, answer).on("podRentInterruptable", answer).on(LIST, html(503))
    wanted = spec(spot=spot, env={"TOKEN": CANARY}, docker_args=f"run --password {COMMAND_CANARY}")
    shown = caplog.text
    try:
        provider.create(wanted)
    except ProviderError as error:
        shown += str(error) + repr(error) + "".join(traceback.format_exception(error)) + everything(error)
    shown += caplog.text
    for secret in (CANARY, json.dumps(CANARY)[1:-1], "5f2c", COMMAND_CANARY, KEY):
        assert secret not in shown


def test_masking_does_not_change_what_an_answer_means(script: Script, provider: RunPodProvider) -> None:
    """A command made of the words RunPod refuses with hides them in the message and not from the rules."""
    ready_to_create(script, errors(SPOT_SOLD_OUT))
    with pytest.raises(NoCapacity, match=r"\*\*\*"):
        provider.create(spec(docker_args="run any longer instances available"))


def everything(error: BaseException | None) -> str:
    """Return the attributes of an error and of all it was raised from."""
    if error is None:
        return ""
    return repr(vars(error)) + repr(error.args) + everything(error.__cause__) + everything(error.__context__)


@pytest.mark.parametrize("bad", ["a\x00b", "a\x1bb", "a\ud800b"])
def test_what_cannot_be_sent_is_refused_before_anything_is_sent(
    script: Script, provider: RunPodProvider, bad: str
) -> None:
    """Control characters and lone surrogates name their field, not the value."""
    with pytest.raises(RequestRejected, match=r"env\['TOKEN'\]"):
        provider.create(spec(env={"TOKEN": bad}))
    assert script.queries == []


# --- the market, live -----------------------------------------------------------------------------------------------

CATALOGUE = data(
    gpuTypes=[
        {"id": "unknown", "memoryInGb": 0, "securePrice": 0},
        {
            "id": "NVIDIA L4",
            "memoryInGb": 24,
            "secureCloud": True,
            "communityCloud": False,
            "maxGpuCountSecureCloud": 8,
            "maxGpuCountCommunityCloud": 0,
            "securePrice": 0.40,
            "communityPrice": 0.30,
        },
    ],
    dataCenters=[
        {
            "id": "EU-CZ-1",
            "listed": True,
            "gpuAvailability": [{"gpuTypeId": "NVIDIA L4", "stockStatus": "Low"}],
        },
        {
            "id": "EU-RO-1",
            "listed": True,
            "gpuAvailability": [{"gpuTypeId": "NVIDIA L4", "stockStatus": "High"}],
        },
        {
            "id": "US-XX-1",
            "listed": False,
            "gpuAvailability": [{"gpuTypeId": "NVIDIA L4", "stockStatus": "High"}],
        },
        {
            "id": "EU-SE-1",
            "listed": True,
            "gpuAvailability": [{"gpuTypeId": "NVIDIA L4", "stockStatus": None}],
        },
    ],
)


def volume_request() -> PodRequest:
    return PodRequest(image="i", gpu=Gpu("NVIDIA L4"), storage=Storage(network_volume="weights"))


def test_offers_follow_the_live_stock(script: Script, provider: RunPodProvider) -> None:
    """Prices and stock are read once and order the data centres."""
    script.on("dataCenters", CATALOGUE)
    request = PodRequest(image="i", gpu=Gpu("NVIDIA L4", count=2))
    offered = provider.offers(request)
    assert [(o.datacenter, o.usd_per_hr, o.stock) for o in offered] == [
        ("EU-RO-1", 0.8, "high"),
        ("EU-CZ-1", 0.8, "low"),
        (None, 0.8, "high"),
    ]
    provider.offers(request)
    assert script.sent("gpuCount: 2") == 1


def test_stock_is_read_again_after_a_while(script: Script) -> None:
    """A long run does not live on the stock of its first minute."""
    now = [0.0]
    provider = RunPodProvider(KEY, clock=lambda: now[0])
    script.on("dataCenters", CATALOGUE)
    request = PodRequest(image="i", gpu=Gpu("NVIDIA L4"))
    provider.offers(request)
    now[0] = 61.0
    provider.offers(request)
    assert script.sent("dataCenters") == 2


def test_without_a_catalogue_the_shipped_one_serves(script: Script, provider: RunPodProvider) -> None:
    """If prices cannot be read the run uses the shipped ones, and says so once."""
    notices: list[str] = []
    provider.notify = notices.append
    script.on("dataCenters", html(503))
    offered = provider.offers(PodRequest(image="i", gpu=Gpu("NVIDIA L4")))
    provider.offers(PodRequest(image="i", gpu=Gpu("NVIDIA L4", count=2)))
    assert [(o.datacenter, o.usd_per_hr, o.stock) for o in offered] == [(None, 0.49, "unknown")]
    assert len(notices) == 1
    assert "shipped" in notices[0]


def test_a_refused_key_is_not_covered_up_by_the_shipped_catalogue(
    script: Script, provider: RunPodProvider
) -> None:
    """Without a valid key there is nothing to fall back to."""
    script.on("dataCenters", html(401))
    with pytest.raises(AuthError):
        provider.offers(PodRequest(image="i", gpu=Gpu("NVIDIA L4")))


def test_a_network_volume_is_found_by_name(script: Script, provider: RunPodProvider) -> None:
    """Offers stay where the volume is, and the create names its id."""
    volumes = [{"id": "v1", "name": "weights", "size": 10, "dataCenterId": "EU-RO-1"}]
    ready_to_create(script, MADE).on("networkVolumes", data(myself={"id": "u", "networkVolumes": volumes}))
    script.on("dataCenters", CATALOGUE)
    assert [o.datacenter for o in provider.offers(volume_request())] == ["EU-RO-1"]
    provider.create(spec(storage=Storage(network_volume="weights")))
    assert script.sent('networkVolumeId: "v1"') == 1
    assert script.sent("networkVolumes") == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (None, "RunPod"),
        ("https://api.runpod.io/", "RunPod"),
        ("http://127.0.0.1:80", "emulator at http://127.0.0.1:80"),
        ("https://proxy.example", "https://proxy.example"),
    ],
)
def test_the_name_says_where_calls_go(monkeypatch: pytest.MonkeyPatch, url: str | None, name: str) -> None:
    """People see whether it is RunPod they rent from."""
    if url is None:
        monkeypatch.delenv("RUNPOD_API_BASE_URL", raising=False)
    else:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
    assert RunPodProvider(KEY).name == name
