"""Watches the HTTP calls of the SDK for facts it hides: parts of a response, and whether a call was sent at all."""

from __future__ import annotations

import io
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from rpd.runpod.address import is_local
from rpd.runpod.bounds import MOST_BYTES, TOTAL_SECONDS, TooLong, whole
from rpd.runpod.error_mapping import Trouble
from rpd.runpod.rate_limit import TokenBucket, heed
from rpd.runpod.retry_after import seconds_to_wait
from rpd.threads import Overdue, bounded
from rpd.values.frozen import frozen

_CHUNK = 1 << 16
_IDLE_SECONDS = 20.0
"""Seconds for which a connection is kept after a call: load balancers keep one for a minute."""
_MOST_KEPT = 32
_CHECK_SECONDS = 600.0
"""Seconds for which RunPod's confirmation of a GPU type is reused."""

_WAYS_TO_LOSE = (
    ("NameResolutionError", Trouble.UNSENT, "its host name cannot be resolved"),
    ("NewConnectionError", Trouble.UNSENT, "nothing is listening there"),
    ("ConnectTimeout", Trouble.UNSENT, "connecting timed out"),
    ("InvalidURL", Trouble.UNSENT, "it is not a valid URL"),
    ("InvalidSchema", Trouble.UNSENT, "it is not a valid URL"),
    ("InvalidHeader", Trouble.UNSENT, "the API key cannot be sent"),
    ("ProxyError", Trouble.LOST, "the proxy failed"),
    ("SSLError", Trouble.LOST, "the encrypted connection failed"),
    ("ReadTimeout", Trouble.LOST, "no response within 30 s"),
)
"""Name of an error of requests or urllib3, its meaning, and its words; the first match counts."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One HTTP call of the SDK and its result."""

    mutation: bool
    trouble: Trouble | None = None
    text: str = ""
    status: int | None = None
    codes: tuple[str, ...] = ()
    retry_after: float | None = None


@frozen
class Route:
    """The destination of an account's calls: address, key and proxies.

    Determined once: the job functions of a run may change the environment, or use the SDK for themselves, and
    a pod must still be released where it was rented.
    """

    url: str
    key: str
    proxies: Mapping[str, str | None]
    verify: bool | str = True
    """Whether certificates are checked, or the file of those that are trusted."""

    @classmethod
    def of(cls, key: str, requests: Any, url: str) -> Route:
        """Return the route that the environment describes now."""
        trusted = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        return cls(url=url, key=key, proxies=_proxies(requests, url), verify=trusted)

    def keywords(self, keywords_of_sdk: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of ``post`` that send the key to this route and nothing else to anybody.

        Without ``auth``, requests would take a name and password for the host from ``~/.netrc``, where a
        ``default`` entry fits every host, and send them instead of the key.
        """
        headers = {**(keywords_of_sdk.get("headers") or {}), "Authorization": f"Bearer {self.key}"}
        manners = {"headers": headers, "auth": _as_it_is, "allow_redirects": False, "verify": self.verify}
        return {**keywords_of_sdk, **manners, **({"proxies": dict(self.proxies)} if self.proxies else {})}


def _proxies(requests: Any, url: str) -> Mapping[str, str | None]:
    """Return the proxies for ``url``; none for this machine, since a proxy would look for the server on itself."""
    if is_local(url):
        return {"http": None, "https": None, "all": None}
    proxies: Mapping[str, str | None] = requests.utils.get_environ_proxies(url)
    return proxies


class Checks:
    """Successful checks that the SDK made before creating something. Thread-safe.

    Before each pod it asks whether the GPU type exists; once in a while is enough.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._passed: dict[str, tuple[float, Any]] = {}

    def passed(self, question: str) -> Any | None:
        """Return the recent answer to ``question``, None if it has to be asked."""
        at, answer = self._passed.get(question, (-math.inf, None))
        return answer if self._clock() - at < _CHECK_SECONDS else None

    def keep(self, question: str, answer: Any) -> None:
        """Remember an answer, so that the SDK need not ask again soon."""
        self._passed[question] = (self._clock(), answer)


@dataclass(slots=True, kw_only=True)
class Recording:
    """The HTTP calls made by one call of the SDK; ``checks`` if it creates something."""

    bucket: TokenBucket
    route: Route
    checks: Checks | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    asked: tuple[str, Any] | None = None
    """The last successful question, and its answer."""


class _Recordings(threading.local):
    current: Recording | None = None


_recordings = _Recordings()


@contextmanager
def recorded(bucket: TokenBucket, route: Route, checks: Checks | None = None) -> Iterator[Recording]:
    """Record the SDK's calls on this thread, each of which takes a token and the ``route``."""
    _recordings.current = recording = Recording(bucket=bucket, route=route, checks=checks)
    try:
        yield recording
    finally:
        _recordings.current = None


class _KeptConnections:
    """Reused connections, so that a call costs one round trip instead of four. Thread-safe.

    Only recently used ones: a router on the way may silently forget an idle connection, and a call over that,
    such as the one that deletes a pod, would wait until its timeout.
    """

    def __init__(self, requests: Any) -> None:
        self._session = requests.Session()
        # A route says all that the environment does, which takes long to read.
        self._session.trust_env = False
        # Cookies must not carry anything from one call to the next.
        self._session.cookies.set_policy(_NoCookies())
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_MOST_KEPT))
        self._used_at = -math.inf

    def session(self) -> Any:
        """Return a session without idle connections."""
        if time.monotonic() - self._used_at > _IDLE_SECONDS:
            self._session.close()  # a closed session can be used again
        return self._session

    def used(self) -> None:
        """Note that a connection has just worked."""
        self._used_at = time.monotonic()


class _NoCookies(DefaultCookiePolicy):
    """Keeps no cookie and sends none."""

    def set_ok(self, cookie: object, request: object) -> bool:  # noqa: ARG002
        return False

    def return_ok(self, cookie: object, request: object) -> bool:  # noqa: ARG002
        return False


class Watched:
    """Replaces ``requests`` in the SDK's GraphQL module and records the responses of ``post``."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests
        self._kept = _KeptConnections(requests)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._requests, name)

    def post(self, url: str, **keywords: Any) -> Any:
        recording = _recordings.current
        if recording is None:
            return self._requests.post(url, **keywords)
        if recording.checks is None:
            return self._post(recording, keywords)
        return self._post_checked(recording, recording.checks, keywords)

    def _post_checked(self, recording: Recording, checks: Checks, keywords: dict[str, Any]) -> Any:
        """Post, unless it is a question that was answered recently."""
        body = str(keywords.get("data", ""))
        if _is_mutation(body):
            if recording.asked is not None:
                checks.keep(*recording.asked)
            return self._post(recording, keywords)
        recent = checks.passed(body)
        if recent is not None:
            return recent
        answer = self._post(recording, keywords)
        if recording.exchanges[-1].trouble is None:
            recording.asked = (body, answer)
        return answer

    def _post(self, recording: Recording, keywords: dict[str, Any]) -> Any:
        """Send a call and record its result."""
        recording.bucket.take()
        url, keywords = f"{recording.route.url}/graphql", recording.route.keywords(keywords)
        exchange = Exchange(mutation=_is_mutation(keywords.get("data", "")), trouble=Trouble.LOST)
        recording.exchanges.append(exchange)
        try:
            response = self._post_within(url, keywords)
        except self._requests.exceptions.RequestException as error:
            exchange.trouble, exchange.text = how_it_was_lost(error)
            raise
        _note_answer(exchange, response)
        heed(recording.bucket, response.status_code, response.headers)
        return response

    def _post_within(self, url: str, keywords: dict[str, Any]) -> Any:
        """Return the complete response to a call. Raise a RequestException if it takes too long or is too large."""
        until = time.monotonic() + TOTAL_SECONDS

        def exchange() -> Any:
            with self._kept.session().post(url, **keywords, stream=True) as response:
                answer = self._whole(response, until)
            self._kept.used()
            return answer

        try:
            return bounded(exchange, seconds=TOTAL_SECONDS)
        except Overdue as error:
            raise self._requests.exceptions.ReadTimeout(str(error)) from error
        except TooLong as error:
            raise self._requests.exceptions.ContentDecodingError(str(error)) from error

    def _whole(self, response: Any, until: float) -> Any:
        """Return a copy of ``response`` read to its end, which requests itself would not limit."""
        copy = self._requests.models.Response()
        copy.raw = io.BytesIO(whole(response.iter_content(_CHUNK), until=until, most=MOST_BYTES))
        copy.status_code, copy.reason, copy.url = response.status_code, response.reason, response.url
        copy.headers, copy.encoding = response.headers, response.encoding
        return copy


def _as_it_is(request: Any) -> Any:
    """Leave a request with its Authorization header."""
    return request


def _is_mutation(body: str) -> bool:
    try:
        return str(json.loads(body)["query"]).lstrip().startswith("mutation")
    except (ValueError, KeyError, TypeError):
        return True


def how_it_was_lost(error: Exception) -> tuple[Trouble, str]:
    """Return whether RunPod may have received the request, and why it failed, judged by the names of nested errors.

    Only certain cases count as unsent: an error of TLS or of a proxy may also come after the request.
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
    if response.is_redirect:
        exchange.trouble, exchange.text = Trouble.UNREADABLE, str(response.headers["Location"])
        return
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
    """Return the sentence in a response that is JSON but not GraphQL's."""
    table = body if isinstance(body, dict) else {}
    texts = (table.get(key) for key in ("error", "detail", "message", "title"))
    return next((text for text in texts if isinstance(text, str)), "")
