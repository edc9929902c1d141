"""The only door to REST v2: calls that return plain values or raise one of rpd's errors.

httpx is imported by the first call. Connections are kept open for the next one.
"""

from __future__ import annotations

import json
import logging
import platform
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rpd import __version__
from rpd.errors import (
    ApiRetired,
    NoCapacity,
    NotPermitted,
    PodNotFound,
    PoolDenied,
    ProviderError,
    RequestRejected,
    TransientError,
)
from rpd.redaction import Redactor
from rpd.runpod import bounds
from rpd.runpod.address import is_local, key_url
from rpd.runpod.error_mapping import Failure, Trouble, classify, may_have_acted, was_answered
from rpd.runpod.rate_limit import TokenBucket, heed
from rpd.runpod.reconcile import UnsureCreate
from rpd.runpod.response import UNEXPECTED
from rpd.runpod.retry_after import seconds_to_wait
from rpd.threads import Overdue, bounded
from rpd.values.frozen import frozen

# httpx logs every request. A program that has chosen its own level for httpx keeps it.
if logging.getLogger("httpx").level == logging.NOTSET:
    logging.getLogger("httpx").setLevel(logging.WARNING)

if TYPE_CHECKING:
    import httpx

USER_AGENT = (
    f"rpd/{__version__} ({platform.system()}; {platform.machine()}) Python/{platform.python_version()}"
)
"""RunPod's edge refuses the default names of libraries."""

_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_KEEPALIVE_SECONDS = 20.0
_UNSENT = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "UnsupportedProtocol",
    "InvalidURL",
    "LocalProtocolError",
)
"""Errors of httpx after which RunPod cannot have received the request."""


class NotThere(PodNotFound):
    """RunPod has nothing at that path (HTTP 404, in the API's own words)."""


class Conflict(RequestRejected):
    """The call does not fit the state of the pod (HTTP 409)."""


class Rest:
    """REST v2 with one account's key. Its methods may be called from several threads; close it at the end."""

    def __init__(self, key: str, bucket: TokenBucket | None = None, url: str | None = None) -> None:
        self._key = key
        self._bucket = bucket or TokenBucket()
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._base = url or key_url()  # read now: the environment may change while pods are rented

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Return the response to a read of ``path`` (below ``/v2``). Raise NotThere."""
        return self._call("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the response to an action that may be repeated. Raise NotThere, Conflict."""
        return self._call("POST", path, body=body)

    def delete(self, path: str) -> None:
        """Delete the object at ``path``. Raise NotThere, Conflict."""
        self._call("DELETE", path)

    def create(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        secrets: Sequence[str],
        sold_out: Collection[int] = (400, 403),
    ) -> Mapping[str, Any]:
        """Create something, once, and return it.

        Raise UnsureCreate if it may exist although the call failed. A refusal with a status in ``sold_out``
        is NoCapacity (403: PoolDenied): RunPod has no code for that, and says to go on to the next candidate.
        """
        failure, answer = self._attempt("POST", path, body=body, secrets=secrets)
        if failure is None:
            if isinstance(answer, dict) and isinstance(answer.get("id"), str) and answer["id"]:
                return answer
            raise UnsureCreate("RunPod's response to the create call has no pod in it")
        error = classify(failure)
        if may_have_acted(failure):
            raise UnsureCreate(str(error), refusal=error if was_answered(failure) else None)
        if isinstance(error, NotPermitted) and failure.status in sold_out:
            raise PoolDenied(failure.shown or str(error))
        if type(error) is RequestRejected and failure.status in sold_out:
            raise NoCapacity(failure.shown or str(error))
        raise error

    def graphql(self, document: str) -> Any:
        """Return the ``data`` of a GraphQL read: for what REST v2 lacks, without the SDK."""
        answer = self._call("POST", "/graphql", body={"query": document}, root="")
        if isinstance(answer, dict) and isinstance(answer.get("data"), dict) and not answer.get("errors"):
            return answer["data"]
        raise TransientError(UNEXPECTED)

    def events(
        self, path: str, params: Mapping[str, str], *, count: int, quiet: float, seconds: float
    ) -> tuple[Any, ...]:
        """Return up to ``count`` events of a stream that does not end by itself.

        Return fewer if no event came for ``quiet`` seconds, whatever else keeps the stream alive, or when
        ``seconds`` are up.
        """
        httpx_ = _httpx()
        entries: list[Any] = []
        self._bucket.take()
        try:
            bounded(
                lambda: self._listen(path, params, entries, count=count, quiet=quiet, seconds=seconds),
                seconds=seconds,
            )
        except (Overdue, bounds.TooLong, httpx_.ReadTimeout):
            # The stream never ends by itself, so a timeout is its usual end.
            pass
        except (httpx_.HTTPError, httpx_.InvalidURL) as error:
            raise classify(_lost(error, self._base)) from None
        return tuple(entries)[:count]

    def _listen(
        self,
        path: str,
        params: Mapping[str, str],
        entries: list[Any],
        *,
        count: int,
        quiet: float,
        seconds: float,
    ) -> None:
        """Append the events of a stream to ``entries`` as they arrive."""
        timeout = _httpx().Timeout(seconds, connect=_CONNECT_SECONDS, read=quiet)
        until = time.monotonic() + seconds
        with self._opened().stream("GET", self._url(path), params=dict(params), timeout=timeout) as response:
            if response.status_code >= 400:
                self._raise(_answer(response, until))
            heard = time.monotonic()
            for lines in bounds.lines(response.iter_bytes()):
                events = list(_payloads(lines))
                entries += events
                now = time.monotonic()
                heard = now if events else heard
                if len(entries) >= count or now > until or now - heard > quiet:
                    return

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    # --- how ------------------------------------------------------------------------------------------------

    def _opened(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                httpx_ = _httpx()
                self._client = httpx_.Client(
                    headers={"Authorization": f"Bearer {self._key}", "User-Agent": USER_AGENT},
                    timeout=httpx_.Timeout(_SECONDS, connect=_CONNECT_SECONDS),
                    limits=httpx_.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
                    # A proxy would look for this machine's server on itself.
                    trust_env=not is_local(self._base),
                )
            return self._client

    def _url(self, path: str, root: str = "/v2") -> str:
        return f"{self._base}{root}{path}"

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        root: str = "/v2",
    ) -> Any:
        failure, answer = self._attempt(method, path, params=params, body=body, root=root)
        if failure is None:
            return answer
        raise _named(failure)

    def _attempt(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        secrets: Sequence[str] = (),
        root: str = "/v2",
    ) -> tuple[Failure | None, Any]:
        """Send one request; return the failure, or None and the JSON of the response."""
        httpx_ = _httpx()
        self._bucket.take()
        until = time.monotonic() + bounds.TOTAL_SECONDS
        # ASCII, so that no text can fail to be encoded.
        content = None if body is None else json.dumps(body).encode("ascii")
        headers = {} if body is None else {"Content-Type": "application/json"}

        def exchange() -> _Answer:
            with self._opened().stream(
                method, self._url(path, root), params=dict(params or {}), content=content, headers=headers
            ) as response:
                return _answer(response, until)

        try:
            answer = bounded(exchange, seconds=bounds.TOTAL_SECONDS)
        except Overdue:
            text = f"no complete response within {bounds.TOTAL_SECONDS:g} s"
            return Failure(trouble=Trouble.LOST, text=text), None
        except bounds.TooLong as error:
            return Failure(trouble=Trouble.UNREADABLE, text=str(error)), None
        except (httpx_.HTTPError, httpx_.InvalidURL) as error:
            return _lost(error, self._base), None
        return self._read(answer, secrets)

    def _read(self, answer: _Answer, secrets: Sequence[str] = ()) -> tuple[Failure | None, Any]:
        heed(self._bucket, answer.status, answer.headers)
        status = answer.status
        if status == 204:
            return None, None
        if answer.redirect:
            return Failure(
                trouble=Trouble.UNREADABLE, text=answer.redirect, status=status, url=self._base
            ), None
        try:
            body = json.loads(answer.body)
        except (ValueError, RecursionError):
            return Failure(trouble=Trouble.UNREADABLE, status=status), None
        if status < 300:
            return None, body
        text = _words(body)
        trouble = Trouble.REFUSED if text else Trouble.UNREADABLE
        wait = seconds_to_wait(answer.headers.get("Retry-After"))
        shown = Redactor((self._key, *secrets)).text(text)
        return Failure(trouble=trouble, text=text, shown=shown, status=status, retry_after=wait), None

    def _raise(self, answer: _Answer) -> NoReturn:
        failure, _ = self._read(answer)
        raise _named(failure or Failure(trouble=Trouble.UNREADABLE, status=answer.status))


@frozen
class _Answer:
    """A complete response of RunPod."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    redirect: str
    """The address it redirects to; empty if it does not."""


def _answer(response: httpx.Response, until: float) -> _Answer:
    """Read a response to its end. Raise Overdue, TooLong."""
    body = bounds.whole(response.iter_bytes(), until=until, most=bounds.MOST_BYTES)
    redirect = str(response.headers["Location"]) if response.has_redirect_location else ""
    return _Answer(status=response.status_code, headers=response.headers, body=body, redirect=redirect)


def _httpx() -> Any:
    """Import httpx when it is needed: that takes a tenth of a second, and most commands make no call."""
    import httpx

    return httpx


def _named(failure: Failure) -> ProviderError:
    """Return the error that ``failure`` means; 404 and 409 count only in the API's own words."""
    if failure.status == 410:
        return ApiRetired("RunPod has retired this API (HTTP 410): install a newer rpd")
    if failure.trouble is Trouble.REFUSED and failure.status == 404:
        return NotThere(failure.shown or "not found")
    if failure.trouble is Trouble.REFUSED and failure.status == 409:
        return Conflict(failure.shown or "conflict")
    return classify(failure)


def _lost(error: Exception, url: str) -> Failure:
    names = {kind.__name__ for kind in type(error).__mro__}
    trouble = Trouble.UNSENT if names & set(_UNSENT) else Trouble.LOST
    if trouble is Trouble.LOST:
        return Failure(trouble=trouble, text=f"the connection broke ({type(error).__name__})")
    # httpx raises the same error for an unknown host and a closed port; getaddrinfo is in its chain.
    unknown = any(isinstance(cause, socket.gaierror) for cause in _causes(error))
    text = (
        "its host name cannot be resolved"
        if unknown
        else f"nothing is listening there ({type(error).__name__})"
    )
    return Failure(trouble=trouble, text=text, url=url)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _words(body: Any) -> str:
    """Return RunPod's sentences in a ``problem+json`` response, empty if it is none."""
    table = body if isinstance(body, dict) else {}
    errors = table.get("errors")
    texts = [table.get("detail") or table.get("title") or table.get("error") or ""]
    texts += errors if isinstance(errors, list) else []
    return "; ".join(str(text) for text in texts if text)


def _payloads(lines: Sequence[str]) -> Iterator[Any]:
    """Yield the JSON payloads of server-sent events; each has one ``data`` line."""
    for line in lines:
        name, _, value = line.partition(":")
        if name == "data":
            try:
                yield json.loads(value)
            except (ValueError, RecursionError):
                continue
