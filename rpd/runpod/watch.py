"""The HTTP calls of the SDK as they went: what it hides of an answer, and whether a call was sent at all."""

from __future__ import annotations

import email.utils
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rpd.runpod.address import api_url, is_local
from rpd.runpod.classify import Trouble
from rpd.runpod.pace import TokenBucket

_WAYS_TO_LOSE = (
    ("NameResolutionError", Trouble.UNSENT, "its host name cannot be resolved"),
    ("NewConnectionError", Trouble.UNSENT, "nobody answers there"),
    ("ConnectTimeout", Trouble.UNSENT, "no connection came about in time"),
    ("InvalidURL", Trouble.UNSENT, "that is no URL"),
    ("InvalidSchema", Trouble.UNSENT, "that is no URL"),
    ("InvalidHeader", Trouble.UNSENT, "the API key cannot be sent"),
    ("ProxyError", Trouble.LOST, "the proxy failed"),
    ("SSLError", Trouble.LOST, "the encrypted connection failed"),
    ("ReadTimeout", Trouble.LOST, "no answer within 30 s"),
)
"""Name of an error of requests or urllib3, what it means, and in which words; the first that fits counts."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One HTTP call of the SDK as it went."""

    mutation: bool
    trouble: Trouble | None = None
    text: str = ""
    status: int | None = None
    codes: tuple[str, ...] = ()
    retry_after: float | None = None


@dataclass(slots=True, kw_only=True)
class Recording:
    """The HTTP calls made on behalf of one call on the SDK."""

    bucket: TokenBucket
    exchanges: list[Exchange] = field(default_factory=list)


class _Recordings(threading.local):
    current: Recording | None = None


_recordings = _Recordings()


@contextmanager
def recorded(bucket: TokenBucket) -> Iterator[Recording]:
    """Record the SDK's calls on this thread, each of which takes a token."""
    _recordings.current = recording = Recording(bucket=bucket)
    try:
        yield recording
    finally:
        _recordings.current = None


class Watched:
    """Stands for ``requests`` in the SDK's GraphQL module and records what ``post`` answers."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests

    def __getattr__(self, name: str) -> Any:
        return getattr(self._requests, name)

    def post(self, url: str, **keywords: Any) -> Any:
        recording = _recordings.current
        if recording is None:
            return self._requests.post(url, **keywords)
        recording.bucket.take()
        url, keywords = f"{api_url()}/graphql", {**keywords, **_route()}
        exchange = Exchange(mutation=_is_mutation(keywords.get("data", "")), trouble=Trouble.LOST)
        recording.exchanges.append(exchange)
        try:
            response = self._requests.post(url, **keywords)
        except self._requests.exceptions.RequestException as error:
            exchange.trouble, exchange.text = how_it_was_lost(error)
            raise
        _note_answer(exchange, response)
        if exchange.status == 429 and exchange.retry_after:
            recording.bucket.hold(exchange.retry_after)
        return response


def _route() -> dict[str, Any]:
    """Return requests' arguments for reaching this machine past any proxy, which would look for itself there."""
    if not is_local(api_url()):
        return {}
    return {"proxies": {"http": None, "https": None, "all": None}}


def _is_mutation(body: str) -> bool:
    try:
        return str(json.loads(body)["query"]).lstrip().startswith("mutation")
    except (ValueError, KeyError, TypeError):
        return True


def how_it_was_lost(error: Exception) -> tuple[Trouble, str]:
    """Return whether RunPod can have got the request, and why it failed; by the names of nested errors.

    Only what is certain counts as unsent: an error of TLS or of a proxy may come after the request, too.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    reason = getattr(error.args[0], "reason", None) if error.args else None
    names.add(type(reason).__name__)
    for name, trouble, text in _WAYS_TO_LOSE:
        if name in names:
            return trouble, text
    return Trouble.LOST, f"the connection broke ({type(error).__name__})"


def _note_answer(exchange: Exchange, response: Any) -> None:
    exchange.status = int(response.status_code)
    exchange.retry_after = seconds_to_wait(response.headers.get("Retry-After"))
    try:
        body = response.json()
    except (ValueError, RecursionError):
        exchange.trouble = Trouble.UNREADABLE
        return
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, list) and errors:
        exchange.trouble = Trouble.REFUSED
        exchange.text = "; ".join(dict.fromkeys(_message(item) for item in errors))
        exchange.codes = tuple(filter(None, map(_code, errors)))
    elif not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        exchange.trouble, exchange.text = Trouble.UNREADABLE, _problem(body)
    else:
        exchange.trouble = None


def _message(error: Any) -> str:
    return str(error.get("message", "")) if isinstance(error, dict) else str(error)


def _code(error: Any) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    return str(extensions.get("code", "")) if isinstance(extensions, dict) else ""


def _problem(body: Any) -> str:
    """Return the sentence in an answer that is JSON but not GraphQL's."""
    table = body if isinstance(body, dict) else {}
    texts = (table.get(key) for key in ("error", "detail", "message", "title"))
    return next((text for text in texts if isinstance(text, str)), "")


def seconds_to_wait(header: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for: a number of them, or a date; None for neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        pass
    else:
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))
