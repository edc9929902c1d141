"""The API key reaches the server it is meant for, as it is, and no other: over GraphQL and over REST v2."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rpd.errors import AmbiguousCreate, RequestRejected, UsageError
from rpd.runpod.graphql.provider import RunPodProvider
from rpd.runpod.rate_limit import Retry, TokenBucket
from rpd.runpod.reconcile import Patience
from rpd.runpod.rest.provider import RestProvider
from tests.runpod.conftest import KEY, spec

PLENTY = b'{"data": {"myself": {"pods": []}}, "pods": []}'


class Place:
    """A server that notes the key of each request, and sends people on to ``elsewhere`` if that is set."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.elsewhere = ""
        self.status = 307
        place = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                place.keys.append(self.headers["Authorization"])
                self.send_response(place.status if place.elsewhere else 200)
                if place.elsewhere:
                    self.send_header("Location", place.elsewhere)
                self.send_header("Content-Length", str(len(PLENTY)))
                self.end_headers()
                self.wfile.write(PLENTY)

            do_GET = do_POST = answer

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place()
    monkeypatch.setenv("RUNPOD_API_BASE_URL", made.url)
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


@pytest.fixture(params=[RunPodProvider, RestProvider])
def provider(request: pytest.FixtureRequest) -> Iterator[RunPodProvider | RestProvider]:
    quiet: list[float] = []
    made = request.param(
        KEY,
        retry=Retry(sleep=quiet.append),
        patience=Patience(sleep=quiet.append),
        bucket=TokenBucket(rate=10_000, burst=10_000, sleep=quiet.append),
    )
    yield made
    made.close()


@pytest.mark.parametrize("entry", ["default", "machine 127.0.0.1"])
def test_netrc_never_takes_the_place_of_the_key(
    place: Place,
    provider: RunPodProvider | RestProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry: str,
) -> None:
    """Entries of ~/.netrc for other servers, or for every server, are not sent."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"{entry} login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert list(provider.list()) == []
    assert place.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    place: Place, other: Place, provider: RunPodProvider | RestProvider, status: int
) -> None:
    """Another server gets no request, its answer is not believed, and the message says where it would have led."""
    place.elsewhere, place.status = other.url, status
    with pytest.raises(RequestRejected, match=f"redirects to {other.url}.*Is RUNPOD_API_BASE_URL right"):
        provider.list()
    assert other.keys == []


def test_a_redirected_create_is_no_certain_refusal(
    place: Place, other: Place, provider: RunPodProvider | RestProvider
) -> None:
    """Whether a pod was made is unknown where the pods cannot be listed either."""
    place.elsewhere = other.url
    cpu = spec(gpu_id=None)
    with pytest.raises(AmbiguousCreate, match=r"could not check whether pod"):
        provider.create(cpu)
    assert other.keys == []


def test_an_address_that_changes_later_changes_nothing(
    place: Place, other: Place, provider: RunPodProvider | RestProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy file that sets RUNPOD_API_BASE_URL cannot make rpd send the key elsewhere."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", other.url)
    assert list(provider.list()) == []
    assert (place.keys, other.keys) == ([f"Bearer {KEY}"], [])


@pytest.mark.parametrize("kind", [RunPodProvider, RestProvider])
@pytest.mark.parametrize("url", ["http://192.0.2.1", "http://me:secret@127.0.0.1:1"])
def test_an_address_that_must_not_get_the_key_is_refused(
    kind: type[RunPodProvider | RestProvider], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Neither clear text across a network nor another name and password."""
    monkeypatch.setenv("RUNPOD_API_BASE_URL", url)
    with pytest.raises(UsageError, match="RUNPOD_API_BASE_URL"):
        kind(KEY).list()
