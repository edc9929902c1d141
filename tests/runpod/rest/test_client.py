"""REST v2 over HTTP: the meaning of each answer, against a server that answers exactly as a test prescribes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from rpd.errors import (
    ApiRetired,
    AuthError,
    BalanceError,
    NoCapacity,
    NotPermitted,
    ProviderError,
    QuotaError,
    RateLimited,
    RequestRejected,
    TransientError,
)
from rpd.runpod.rate_limit import TokenBucket
from rpd.runpod.reconcile import UnsureCreate
from rpd.runpod.rest.client import USER_AGENT, Conflict, NotThere, Rest
from tests.http_server import Quiet, serving
from tests.runpod.conftest import dribbling

KEY = "rpa_TESTKEY0123456789"
JSON = "application/problem+json"


class Server:
    """Answers every request with ``status``, ``body`` and ``headers``, and keeps the requests."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"{}"
        self.headers: dict[str, str] = {}
        self.drop = False
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.peers: set[tuple[str, int]] = set()

    def says(self, status: int, content: Any, **headers: str) -> None:
        self.status = status
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.requests.append((self.command, self.path, dict(self.headers), body))
            made.peers.add(self.client_address)
            if made.drop:
                self.close_connection = True
                return
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(made.body)))
            self.end_headers()
            self.wfile.write(made.body)

        do_GET = do_POST = do_DELETE = answer

    with serving(Handler) as address:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", f"http://{address}")
        yield made


@pytest.fixture
def rest(server: Server) -> Iterator[Rest]:
    made = Rest(KEY, TokenBucket(rate=10_000, burst=10_000, sleep=lambda _: None))
    yield made
    made.close()


def problem(status: int, detail: str, *errors: str) -> dict[str, Any]:
    return {"title": "T", "status": status, "detail": detail, **({"errors": list(errors)} if errors else {})}


def test_a_request_as_it_is_sent(server: Server, rest: Rest) -> None:
    """The key, a name of rpd's own, the parameters and an ASCII body go out, over one connection for all."""
    server.says(200, {"id": "p"})
    assert rest.get("/pods", {"a": "1,2"}) == {"id": "p"}
    rest.post("/pods/x/action", {"action": "stöp"})
    (first, second) = server.requests
    assert first[:2] == ("GET", "/v2/pods?a=1%2C2")
    assert first[2]["Authorization"] == f"Bearer {KEY}"
    assert first[2]["User-Agent"] == USER_AGENT
    assert USER_AGENT.startswith("rpd/")
    assert second[3] == b'{"action": "st\\u00f6p"}'
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("status", "content", "wanted"),
    [
        (401, problem(401, "missing or invalid"), AuthError),
        (402, problem(402, "Insufficient balance"), BalanceError),
        (403, problem(403, "access denied"), NotPermitted),
        (404, problem(404, "pod x"), NotThere),
        (404, b"<html>", RequestRejected),
        (409, problem(409, "not now"), Conflict),
        (410, b"<html>", ApiRetired),
        (422, problem(422, "validation failed", "body.x: unexpected"), RequestRejected),
        (429, problem(429, "rate limit exceeded for the minute window"), RateLimited),
        (500, problem(500, "boom"), TransientError),
        (502, b"<html>", TransientError),
        (200, b"<html>", TransientError),
        (400, problem(400, "You have reached your spend limit"), QuotaError),
    ],
)
def test_what_answers_mean(
    server: Server, rest: Rest, status: int, content: Any, wanted: type[ProviderError]
) -> None:
    """Each status is the error that callers know; a 404 of something that is not the API is no absent pod."""
    server.says(status, content)
    with pytest.raises(wanted) as caught:
        rest.get("/pods/x")
    assert type(caught.value) is wanted
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "content", "wanted"),
    [
        (400, problem(400, "There are no longer any instances available"), NoCapacity),
        (400, problem(400, "this machine is on holiday"), NoCapacity),
        (403, problem(403, "no access to this pool"), NoCapacity),
        (402, problem(402, "no credit"), BalanceError),
        (422, problem(422, "validation failed", "body.gpu: what"), RequestRejected),
        (401, problem(401, "who"), AuthError),
        (410, problem(410, "gone"), ApiRetired),
    ],
)
def test_a_refused_create_is_certain(
    server: Server, rest: Rest, status: int, content: Any, wanted: type[ProviderError]
) -> None:
    """A refusal in RunPod's own words made no pod; 400 and 403 lead to the next candidate."""
    server.says(status, content)
    with pytest.raises(wanted) as caught:
        rest.create("/pods", {"name": "n"}, secrets=())
    assert not isinstance(caught.value, UnsureCreate)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "content", "has_refusal"),
    [
        (500, problem(500, "boom"), True),
        (502, b"<html>", False),
        (524, b"<html>", False),
        (201, b"<html>", False),
        (201, {}, False),
        (403, b"<html>", False),
        (429, problem(429, "slow down"), True),
        (429, b"<html>", True),
        (409, problem(409, "that name exists"), True),
    ],
)
def test_an_unclear_create_is_unsure_and_sent_once(
    server: Server, rest: Rest, status: int, content: Any, has_refusal: bool
) -> None:
    """A create that may have worked is never sent again; only RunPod's own words count as an answer."""
    server.says(status, content)
    with pytest.raises(UnsureCreate) as caught:
        rest.create("/pods", {"name": "n"}, secrets=())
    assert (caught.value.refusal is not None) is has_refusal
    assert len(server.requests) == 1


def test_a_create_whose_connection_broke_is_unsure(server: Server, rest: Rest) -> None:
    """No answer at all leaves open whether a pod exists."""
    server.drop = True
    with pytest.raises(UnsureCreate, match="lost"):
        rest.create("/pods", {"name": "n"}, secrets=())
    assert len(server.requests) == 1


def test_nobody_there_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no connection came about nothing was made."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:9")
    rest = Rest(KEY)
    with pytest.raises(
        TransientError, match=r"cannot be reached at http.*: nothing is listening there \(ConnectError\)"
    ):
        rest.create("/pods", {"name": "n"}, secrets=())
    rest.close()


def test_no_message_repeats_a_secret(server: Server, rest: Rest) -> None:
    """Values of the environment and the key are masked where RunPod echoes them, quoted or not."""
    secret = 'hf_"quoted"_secret'
    server.says(422, problem(422, f"validation failed for {KEY}", f"body.env.T: {json.dumps(secret)} is bad"))
    with pytest.raises(RequestRejected) as caught:
        rest.create("/pods", {"env": {"T": secret}}, secrets=(secret,))
    assert "hf_" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert "is bad" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry_After": "7"}, 7.0),
        (200, {"RateLimit": '"minute";r=0;t=12, "hour";r=2800;t=1812'}, 12.0),
        (200, {"RateLimit": '"minute";r=1;t=12'}, None),
        (200, {"RateLimit": '"minute";r=5;t=2, "day";r=0;t=45012'}, None),
    ],
)
def test_quotas_hold_all_calls(
    server: Server, status: int, headers: dict[str, str], seconds: float | None
) -> None:
    """Retry-After, or a used-up short window, makes every call wait.

    A day without calls is reported in RunPod's words.
    """
    holds: list[float] = []
    bucket = TokenBucket(rate=1000, burst=1000, sleep=lambda _: None)
    bucket.on_hold = holds.append
    rest = Rest(KEY, bucket)
    server.says(status, problem(429, "slow") if status == 429 else {}, **headers)
    with contextlib.suppress(RateLimited):
        rest.get("/pods")
    rest.close()
    assert holds == ([] if seconds is None else [seconds])


def test_events_end_where_there_are_enough(server: Server, rest: Rest) -> None:
    """Of a stream the payloads are read, invalid JSON is passed over, and reading ends at the requested number."""
    server.says(
        200,
        b'id: 1\ndata: {"line": "a"}\n\n: ping\n\ndata: {broken\n\ndata: {"line": "b"}\n\ndata: {"c": 1}\n\n',
    )
    assert rest.events("/pods/x/logs", {}, count=2, quiet=1, seconds=5) == ({"line": "a"}, {"line": "b"})
    server.says(404, problem(404, "no such pod"))
    with pytest.raises(NotThere):
        rest.events("/pods/x/logs", {}, count=2, quiet=1, seconds=5)


@pytest.mark.parametrize("piece", [b": keep-alive\n\n", b"x", b'data: {"line": "a"}\n\n'])
def test_a_stream_that_is_kept_alive_ends(piece: bytes, monkeypatch: pytest.MonkeyPatch, rest: Rest) -> None:
    """Comments, half a line and endless lines do not keep the reader listening."""
    with dribbling(piece, monkeypatch):
        events = rest.events("/pods/x/logs", {}, count=1 << 30, quiet=0.3, seconds=0.6)
    assert set(map(str, events)) <= {"{'line': 'a'}"}


def test_an_answer_that_dribbles_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the whole never does: that is an answer that was lost."""
    monkeypatch.setattr("rpd.runpod.bounds.TOTAL_SECONDS", 0.3)
    with dribbling(b" ", monkeypatch), pytest.raises(TransientError, match="no complete response"):
        Rest(KEY).get("/pods")


def test_an_answer_without_end_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than RunPod has reason to say is not kept in memory."""
    monkeypatch.setattr("rpd.runpod.bounds.MOST_BYTES", 1 << 20)
    with dribbling(b" " * (1 << 19), monkeypatch), pytest.raises(TransientError):
        Rest(KEY).get("/pods")


def test_nested_beyond_all_reason(server: Server, rest: Rest) -> None:
    """An answer that Python cannot parse is a hiccup."""
    server.says(200, b"[" * 200_000)
    with pytest.raises(TransientError):
        rest.get("/pods")
