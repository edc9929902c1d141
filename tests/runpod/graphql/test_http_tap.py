"""The traffic of the SDK: lost calls told from those never sent, and the waits RunPod asks for."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests

from rpd.runpod.error_mapping import Trouble
from rpd.runpod.graphql.http_tap import Route, Watched, how_it_was_lost, recorded
from rpd.runpod.rate_limit import TokenBucket
from tests.ports import free_port
from tests.runpod.conftest import dribbling


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def lost_at(url: str) -> tuple[Trouble, str]:
    with pytest.raises(requests.RequestException) as caught:
        requests.post(url, data="{}", timeout=0.2)
    return how_it_was_lost(caught.value)


def test_no_answer_in_time_is_lost(silent: int) -> None:
    """The request was sent, so a create may have gone through."""
    assert lost_at(f"http://127.0.0.1:{silent}/") == (Trouble.LOST, "no response within 30 s")


@pytest.mark.parametrize(
    ("piece", "limit"), [(b" ", {"TOTAL_SECONDS": 0.3}), (b" " * (1 << 19), {"MOST_BYTES": 1 << 20})]
)
def test_an_answer_without_end_is_lost(
    piece: bytes, limit: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, the last one never: neither time nor memory is spent on it without a bound."""
    for name, value in limit.items():
        monkeypatch.setattr(f"rpd.runpod.graphql.http_tap.{name}", value)
    with (
        dribbling(piece, monkeypatch) as url,
        recorded(TokenBucket(), Route.of("key", requests, url)) as recording,
    ):
        with pytest.raises(requests.RequestException):
            Watched(requests).post("", data='{"query": "query { myself { id } }"}')
        [exchange] = recording.exchanges
    assert exchange.trouble is Trouble.LOST


def test_nobody_there_is_unsent(silent: int) -> None:
    """Where there was no connection nothing was done."""
    assert lost_at(f"http://127.0.0.1:{free_port()}/")[0] is Trouble.UNSENT
    assert lost_at(f"https://127.0.0.1:{silent}/")[0] in (Trouble.UNSENT, Trouble.LOST)
    assert lost_at("http://nobody.invalid/")[0] is Trouble.UNSENT
