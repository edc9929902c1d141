"""Answers of RunPod, recorded and then damaged: each ends in a ProviderError, or in values of the declared types."""

from __future__ import annotations

import copy
import http.client
import json
import math
import random
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import pytest

from rpd.emulator.launch import launch
from rpd.errors import ProviderError, TransientError
from rpd.runpod import response
from rpd.runpod.catalogue.cache import CatalogueStore
from rpd.runpod.catalogue.model import Catalogue
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.runpod.response import understood
from rpd.runpod.rest.provider import RestProvider
from rpd.values.job import Gpu, Storage
from rpd.values.pod import Account, Cloud, NetworkVolume, Offer, PodInfo, PodRequest, PodSpec
from tests.http_server import Quiet

SEEDS = 20
AnyProvider = RunPodProvider | RestProvider


class Between:
    """A server between a provider and the emulator: it records the answers, and later repeats them with ``damage``.

    An answer is found again by its method and path, for GraphQL by the beginning of the document.
    """

    def __init__(self) -> None:
        self.target: str | None = None
        self.damage: Callable[[bytes], bytes] = lambda body: body
        self._known: dict[str, tuple[int, bytes]] = {}
        between = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, content = between.reply(self.command, self.path, dict(self.headers.items()), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def reply(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        place = urlsplit(path).path
        key = f"{method} {place} {json.loads(body)['query'][:40] if place == '/graphql' else ''}"
        if self.target is None:
            status, content = self._known[key]
            return status, self.damage(content)
        link = http.client.HTTPConnection(urlsplit(self.target).netloc, timeout=20)
        link.request(method, path, body=body, headers=dict(headers))
        response = link.getresponse()
        self._known[key] = response.status, response.read()
        link.close()
        return self._known[key]


@pytest.fixture(scope="module")
def between() -> Iterator[Between]:
    """The server, which has seen every call of both providers answered."""
    made = Between()
    with pytest.MonkeyPatch.context() as patch, launch(boot_seconds=0.0, isolation="plain") as emulator:
        made.target = emulator.base_url
        patch.setenv("RUNPOD_API_BASE_URL", f"http://127.0.0.1:{made.server.server_port}")
        for kind in (RunPodProvider, RestProvider):
            provider = new(kind, emulator.api_key)
            pod = provider.create(SPEC)
            for name in CALLS:
                if name not in ("create", "delete"):
                    CALLS[name][0](provider, pod.id)
            provider.delete(pod.id)
            provider.close()
        made.target = None
        made.pods = pod.id  # type: ignore[attr-defined]
        yield made
    made.server.shutdown()
    made.server.server_close()


def new(kind: type[AnyProvider], key: str = "rpa_TESTKEY0123456789") -> AnyProvider:
    def soon(_seconds: float) -> None: ...

    return kind(
        key,
        retry=Retry(tries=1, sleep=soon),
        patience=Patience(lost=(0.0,), sleep=soon),
        bucket=TokenBucket(rate=10_000, burst=10_000, sleep=soon),
        store=CatalogueStore(None),
        catalogue_seconds=0.0,
    )


REQUEST = PodRequest(image="runpod/base:1", gpu=Gpu("NVIDIA L4"), storage=Storage(volume_gb=20))
SPEC = PodSpec(
    name="rpd-run-node-1",
    request=REQUEST,
    offer=Offer(gpu_id="NVIDIA L4", count=1, cloud=Cloud.SECURE, datacenter=None, usd_per_hr=0.5),
    env={"PUBLIC_KEY": "ssh-ed25519 AAAA one"},
)
CALLS: dict[str, tuple[Callable[[AnyProvider, str], Any], Any]] = {
    "account": (lambda provider, _: provider.account(), Account),
    "catalogue": (lambda provider, _: provider.catalogue(1), Catalogue),
    "catalogue with cuda": (lambda provider, _: provider.catalogue(2, cuda=("12.8",)), Catalogue),
    "offers": (lambda provider, _: provider.offers(REQUEST), Sequence[Offer]),
    "volumes": (lambda provider, _: provider._read_volumes(), tuple[NetworkVolume, ...]),
    "get": (lambda provider, pod_id: provider.get(pod_id), PodInfo | None),
    "list": (lambda provider, _: provider.list(), Sequence[PodInfo]),
    "logs": (lambda provider, pod_id: provider.logs(pod_id, tail=1), tuple[str, ...]),
    "stop": (lambda provider, pod_id: provider.stop(pod_id), type(None)),
    "create": (lambda provider, _: provider.create(SPEC), PodInfo),
    "delete": (lambda provider, pod_id: provider.delete(pod_id), type(None)),
}


def fits(value: Any, hint: Any) -> bool:
    """Return whether ``value`` has the type ``hint``, down to the fields of dataclasses; numbers are finite."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            fits(key, arguments[0]) and fits(entry, arguments[1]) for key, entry in value.items()
        )
    if origin is not None:
        return isinstance(value, origin) and all(fits(item, arguments[0]) for item in value)
    if is_dataclass(hint) or hasattr(hint, "__dataclass_fields__"):
        hints = get_type_hints(hint)
        return isinstance(value, hint) and all(
            fits(getattr(value, each.name), hints[each.name]) for each in fields(hint)
        )
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return isinstance(value, hint)
    return value is None if hint is None else type(value) is hint


WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**400, 1e308, "NaN", "-Infinity", "", "x", "\0\x1b]0;x\x07", "9" * 5000, "\ud800",
    [], [None], [[]], {}, {"id": {}}, {"id": None}, "y" * 100_000, "22", "²", 65536,
)  # fmt: skip
NOT_JSON = (
    b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"null", b"[]", b"1", b'"x"', b"NaN", b"1" * 5000,
    b'{"data": [' + b"[" * 900 + b"]" * 900 + b"]}",
)  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container in a JSON value with every key or index in it."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(each, dict | list):
            yield from places(each)


def damaged(body: bytes, chance: random.Random) -> bytes:
    """Return an answer with something in it replaced, removed or doubled; or one that is no JSON."""
    if chance.random() < 0.15:
        return chance.choice(NOT_JSON)
    try:
        value = copy.deepcopy(json.loads(body))
        spots = list(places(value))
    except (ValueError, AttributeError, TypeError):
        return chance.choice(NOT_JSON)
    # Parts near the root decide more, and are fewer.
    for each, key in (
        [chance.choice(spots[:12]), chance.choice(spots)][: chance.choice((1, 2))] if spots else ()
    ):
        act = chance.random()
        if isinstance(each, dict) and key not in each:
            continue
        if act < 0.15 and isinstance(each, dict):
            del each[key]
        elif act < 0.25 and isinstance(each, list):
            each.append(chance.choice(WRONG))
        elif isinstance(each, dict) or key < len(each):
            each[key] = chance.choice(WRONG)
    return json.dumps(value).encode()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [RunPodProvider, RestProvider])
def test_damaged_answers(
    between: Between, monkeypatch: pytest.MonkeyPatch, kind: type[AnyProvider], call: str
) -> None:
    """No traceback, no value of another kind, for whatever a field of an answer holds."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", f"http://127.0.0.1:{between.server.server_port}")
    act, hint = CALLS[call]
    provider = new(kind)
    try:
        for seed in range(SEEDS):
            chance = random.Random(f"{kind.__name__} {call} {seed}")
            between.damage = lambda body, chance=chance: damaged(body, chance)  # type: ignore[misc]
            try:
                result = act(provider, between.pods)  # type: ignore[attr-defined]
            except ProviderError:
                continue
            assert fits(result, hint), (seed, result)
    finally:
        between.damage = lambda body: body
        provider.close()


@pytest.mark.parametrize("value", WRONG, ids=range(len(WRONG)))
def test_fields_are_what_they_are_taken_for(value: Any) -> None:
    """Each reader of a field gives its own kind, or nothing, or says Misshapen."""
    assert fits(response.text(value), str)
    assert response.text(value).isprintable()
    assert fits(response.number(value), float | None)
    assert fits(response.price(value), float | None)
    assert fits(response.whole(value), int | None)
    assert (response.port(value) or 1) in range(1, 65536)
    assert fits(response.host(value), str | None)
    assert fits(response.flag(value), bool | None)
    assert fits(response.table(value), dict[str, Any])
    assert isinstance(response.tables(value), list)
    for needed in (response.identifier, response.needed_table, response.needed_tables):
        try:
            needed(value)
        except response.Misshapen:
            continue


def test_deep_answers_are_not_read() -> None:
    """A recursive walk through one would not come back."""
    deep: Any = {}
    for _ in range(100_000):
        deep = {"data": deep}
    with pytest.raises(TransientError, match="unexpected response"):
        understood(lambda text: str(text), deep)


def test_errors_of_readers_are_one_error() -> None:
    """Whatever a reader trips over."""
    for read in (
        lambda text: text["x"],
        lambda text: text.y,
        lambda text: 1 / 0,
        lambda text: int("9" * 5000),
        Path,
    ):
        with pytest.raises(TransientError, match="unexpected response"):
            understood(read, [])
