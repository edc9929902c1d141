"""A scripted RunPod: a local HTTP server that answers with exactly the bytes a test gives it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from rpd.emulator.launch import Launched, launch
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.values.job import Gpu
from rpd.values.pod import Cloud, Offer, PodRequest, PodSpec
from tests.http_server import Quiet, serving

KEY = "rpa_TESTKEY0123456789"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    """Close the connection without a word."""


def data(**content: Any) -> Answer:
    return Answer(body=json.dumps({"data": content}).encode())


def raw(content: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, body=json.dumps(content).encode(), headers=named)


def html(status: int) -> Answer:
    return Answer(status=status, body=b"<html><body>cloudflare</body></html>")


def errors(message: str, code: str = "", status: int = 200, content: Any = None) -> Answer:
    entry = {"message": message, "extensions": {"code": code}} if code else {"message": message}
    return raw({"errors": [entry], "data": content}, status)


GPU_FOUND = data(gpuTypes=[{"id": "NVIDIA L4", "displayName": "L4", "memoryInGb": 24}])


class Script:
    """Answers by the contents of the query, in turn; the last answer of a kind is repeated."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.authorization: list[str] = []
        self.paths: list[str] = []
        self._rules: list[tuple[str, list[Answer | Callable[[str], Answer]]]] = []
        self._lock = threading.Lock()

    def on(self, fragment: str, *answers: Answer | Callable[[str], Answer]) -> Script:
        self._rules.insert(0, (fragment, list(answers)))
        return self

    def answer(self, query: str) -> Answer:
        with self._lock:
            self.queries.append(query)
            answers = next(answers for fragment, answers in self._rules if fragment in query)
            result = answers[0] if len(answers) == 1 else answers.pop(0)
        return result(query) if callable(result) else result

    def sent(self, fragment: str) -> int:
        return sum(fragment in query for query in self.queries)


@pytest.fixture(scope="module")
def account() -> Iterator[Launched]:
    """An emulator whose pods need no sandbox, since no command runs on them here."""
    with launch(boot_seconds=0.0, isolation="plain") as launched:
        yield launched


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """A server on this machine, and the SDK pointed at it by the environment."""
    made = Script()

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.authorization.append(self.headers["Authorization"])
            made.paths.append(self.path)
            answer = made.answer(json.loads(body)["query"])
            if answer.drop:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    with serving(Handler) as address:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", f"http://{address}")
        yield made


@pytest.fixture
def provider(script: Script) -> Iterator[RunPodProvider]:
    """A provider with the pauses taken out."""
    quiet: list[float] = []
    made = RunPodProvider(
        KEY,
        retry=Retry(sleep=quiet.append),
        patience=Patience(sleep=quiet.append),
        bucket=TokenBucket(rate=10_000, burst=10_000, sleep=quiet.append),
    )
    yield made
    made.close()


def spec(
    name: str = "rpd-run-node-1",
    *,
    gpu_id: str | None = "NVIDIA L4",
    usd: float | None = 0.49,
    **changes: Any,
) -> PodSpec:
    """A create request for one GPU in EU-RO-1."""
    env = changes.pop("env", {"PUBLIC_KEY": "ssh-ed25519 AAAA one"})
    request = PodRequest(image="runpod/base:1", gpu=Gpu(gpu_id) if gpu_id else None, **changes)
    offer = Offer(
        gpu_id=gpu_id,
        count=1 if gpu_id else 0,
        cloud=Cloud.SECURE,
        datacenter="EU-RO-1",
        usd_per_hr=usd,
    )
    return PodSpec(name=name, request=request, offer=offer, env=env)


def pod_row(pod_id: str = "p1", name: str = "rpd-run-node-1", **changes: Any) -> dict[str, Any]:
    """A pod as RunPod describes one that runs."""
    return {
        "id": pod_id,
        "name": name,
        "desiredStatus": "RUNNING",
        "imageName": "runpod/base:1",
        "lastStatusChange": "Rented by User: Fri Jul 12 2024 15:14:40 GMT+0000",
        "costPerHr": 0.44,
        "gpuCount": 1,
        "podType": "RESERVED",
        "machineId": "hpvdausak8xb",
        "volumeInGb": 20,
        "runtime": {
            "uptimeInSeconds": 11,
            "ports": [
                {
                    "ip": "100.65.0.101",
                    "isIpPublic": False,
                    "privatePort": 8888,
                    "publicPort": 60141,
                    "type": "http",
                },
                {
                    "ip": "213.173.109.39",
                    "isIpPublic": True,
                    "privatePort": 22,
                    "publicPort": 13007,
                    "type": "tcp",
                },
            ],
        },
        "machine": {
            "gpuTypeId": "NVIDIA L4",
            "gpuDisplayName": "L4",
            "dataCenterId": "EU-RO-1",
            "secureCloud": True,
        },
        **changes,
    }


class Dribble:
    """A server that sends the same bytes again and again and never comes to an end."""

    def __init__(self, piece: bytes) -> None:
        self._ending = threading.Event()
        dribble = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not dribble._ending.wait(0.01):
                        self.wfile.write(piece)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def dribbling(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    made = Dribble(piece)
    monkeypatch.setenv("RUNPOD_API_BASE_URL", made.url)
    try:
        yield made.url
    finally:
        made.close()
