"""The only door to the ``runpod`` SDK: calls that answer with plain values or raise one error of ours.

Importing this module does not import the SDK, which takes seconds; ``preload`` starts that in the background.
What the SDK hides of an answer is restored here: the HTTP status, ``Retry-After`` and the codes of GraphQL
errors. What it shows too much of is dropped here: a ``QueryError`` holds the whole query with the environment
of the pod.
"""

from __future__ import annotations

import email.utils
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rpd.errors import AmbiguousCreate, ApiRetired, ProviderError, TransientError
from rpd.runpod.classify import Failure, Trouble, classify, may_have_acted
from rpd.runpod.pace import TokenBucket

T = TypeVar("T")

DEFAULT_URL = "https://api.runpod.io"
MASK = "***"
_SHAPELESS = (KeyError, TypeError, IndexError, AttributeError, ValueError)
"""What falls out of code that reads an answer which has not the shape it counts on."""
_SHORTEST_SECRET = 4
"""Shorter texts are not masked: an environment value of "1" would mask half of every message."""


class UnsureCreate(AmbiguousCreate):
    """A create that failed although RunPod may have made the pod.

    ``refusal`` is the error that RunPod answered with, None if its answer never came or was not the API's.
    """

    def __init__(self, message: str, *, refusal: ProviderError | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal


def api_url() -> str:
    """Return where the SDK sends its calls, without ``/graphql``; it reads the variable at each call."""
    return os.environ.get("RUNPOD_API_BASE_URL", DEFAULT_URL).rstrip("/")


# --- importing the SDK --------------------------------------------------------------------------------------

_import_lock = threading.Lock()


def preload() -> threading.Thread:
    """Start importing the SDK in the background; later calls wait for it only as long as it still takes."""
    thread = threading.Thread(target=_preload, name="rpd-import-sdk", daemon=True)
    thread.start()
    return thread


def _preload() -> None:
    try:
        _load()
    except Exception:  # noqa: BLE001 - the first call on the SDK meets the same error, where it can be told
        return


def _load() -> Any:
    """Import the SDK, once, and watch its calls. Raises ApiRetired for a release that works otherwise."""
    with _import_lock:
        module = _import_sdk()
        graphql = module.api.graphql
        if not hasattr(graphql, "run_graphql_query") or not hasattr(graphql, "requests"):
            version = getattr(module, "__version__", "of unknown version")
            raise ApiRetired(f"the runpod SDK {version} is not one this rpd can use: install runpod 1.12")
        if not isinstance(graphql.requests, _Watched):
            # The SDK drops the status, Retry-After and error codes of an answer, and gives no seam to see
            # them: it calls requests.post itself. Replacing the name `requests` in that one module of the SDK
            # touches nothing else in the process; wrapping `requests` or its sessions would touch everybody's
            # calls, and reading the frames of its tracebacks fails where it raises nothing.
            graphql.requests = _Watched(graphql.requests)
        return module


def _import_sdk() -> Any:
    try:
        return _sdk()
    except (KeyError, TypeError, OSError):
        # The SDK reads its configuration file while it is imported and fails on one whose [default] is not
        # a table with api_key, or that may not be read. The key comes from find_key, so let it read an empty
        # file instead, and import all but the module that reads it anew.
        reader = "runpod.cli.groups.config.functions"
        if reader not in sys.modules:
            raise
        vars(sys.modules[reader])["CREDENTIAL_FILE"] = os.devnull
        for name in [n for n in sys.modules if n.startswith("runpod.") and n != reader]:
            del sys.modules[name]
        return _sdk()


def _sdk() -> Any:
    import runpod.api.graphql
    import runpod.error

    return runpod


# --- seeing what the SDK hides ------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """One HTTP call of the SDK as it went."""

    mutation: bool
    trouble: Trouble | None = None
    text: str = ""
    status: int | None = None
    codes: tuple[str, ...] = ()
    retry_after: float | None = None


@dataclass(slots=True, kw_only=True)
class _Recording:
    """The HTTP calls made on behalf of one call on the SDK."""

    bucket: TokenBucket
    exchanges: list[_Exchange] = field(default_factory=list)


class _Recordings(threading.local):
    current: _Recording | None = None


_recordings = _Recordings()


@contextmanager
def _recorded(bucket: TokenBucket) -> Iterator[_Recording]:
    _recordings.current = recording = _Recording(bucket=bucket)
    try:
        yield recording
    finally:
        _recordings.current = None


class _Watched:
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
        exchange = _Exchange(mutation=_is_mutation(keywords.get("data", "")), trouble=Trouble.LOST)
        recording.exchanges.append(exchange)
        try:
            response = self._requests.post(url, **keywords)
        except self._requests.exceptions.RequestException as error:
            exchange.trouble, exchange.text = _how_it_was_lost(error)
            raise
        _note_answer(exchange, response)
        if exchange.status == 429 and exchange.retry_after:
            recording.bucket.hold(exchange.retry_after)
        return response


def _is_mutation(body: str) -> bool:
    try:
        return str(json.loads(body)["query"]).lstrip().startswith("mutation")
    except (ValueError, KeyError, TypeError):
        return True


def _how_it_was_lost(error: Exception) -> tuple[Trouble, str]:
    """Return whether RunPod can have got the request, and why it failed; by the names of nested errors."""
    names = {type(error).__name__} | {kind.__name__ for kind in type(error).__mro__}
    reason = getattr(error.args[0], "reason", None) if error.args else None
    names.add(type(reason).__name__)
    if "NameResolutionError" in names:
        return Trouble.UNSENT, "its host name cannot be resolved"
    if "NewConnectionError" in names:
        return Trouble.UNSENT, "nobody answers at its address"
    if "ConnectTimeout" in names:
        return Trouble.UNSENT, "no connection came about in time"
    if names & {"SSLError", "ProxyError", "InvalidURL", "InvalidSchema", "MissingSchema", "InvalidHeader"}:
        return Trouble.UNSENT, f"the connection failed ({type(error).__name__})"
    if "ReadTimeout" in names:
        return Trouble.LOST, "no answer within 30 s"
    return Trouble.LOST, f"the connection broke ({type(error).__name__})"


def _note_answer(exchange: _Exchange, response: Any) -> None:
    exchange.status = int(response.status_code)
    exchange.retry_after = seconds_to_wait(response.headers.get("Retry-After"))
    try:
        body = response.json()
    except ValueError:
        exchange.trouble, exchange.text = Trouble.UNREADABLE, "an answer that is not JSON"
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
    found = (
        [body[key] for key in ("error", "detail", "message", "title") if key in body]
        if isinstance(body, dict)
        else []
    )
    return next((text for text in found if isinstance(text, str)), "an answer without data")


def seconds_to_wait(header: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for: a number of them, or a date; None for neither."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
    return max(0.0, moment - (time.time() if now is None else now))


# --- the calls ----------------------------------------------------------------------------------------------


class Sdk:
    """The SDK with one account's key. Its methods raise ProviderError and may be called from several threads.

    The SDK keeps its key in a global: one account at a time in a process.
    """

    def __init__(self, key: str, bucket: TokenBucket | None = None) -> None:
        self._key = key
        self._bucket = bucket or TokenBucket()
        self._runpod: Any = _load()
        self._runpod.api_key = key
        graphql = self._runpod.api.graphql
        self._send: Callable[[str], Any] = graphql.run_graphql_query
        self._failures = (
            self._runpod.error.RunPodError,
            graphql.requests.exceptions.RequestException,
            *_SHAPELESS,
        )

    def query(self, document: str, read: Callable[[Mapping[str, Any]], T]) -> T:
        """Send a GraphQL document of one's own and return what ``read`` makes of its ``data``."""
        answer = self._call(lambda: self._send(document))
        try:
            return read(answer["data"])
        except _SHAPELESS:
            pass
        raise TransientError("RunPod answered in another shape than expected")

    def pods(self) -> Sequence[Mapping[str, Any] | None]:
        """Return the pods of the account as the SDK reads them."""
        return self._call(self._runpod.get_pods)

    def pod(self, pod_id: str) -> Mapping[str, Any] | None:
        """Return a pod as the SDK reads it; ``pod_id`` is escaped already."""
        return self._call(lambda: self._runpod.get_pod(pod_id))  # type: ignore[no-any-return]

    def user(self) -> Mapping[str, Any] | None:
        """Return ``id``, ``pubKey`` and ``networkVolumes`` of the account; None for a key without one."""
        return self._call(self._runpod.get_user)  # type: ignore[no-any-return]

    def stop(self, pod_id: str) -> None:
        """Stop a pod; ``pod_id`` is escaped already."""
        self._call(lambda: self._runpod.stop_pod(pod_id))

    def terminate(self, pod_id: str) -> None:
        """Delete a pod; ``pod_id`` is escaped already."""
        self._call(lambda: self._runpod.terminate_pod(pod_id))

    def create(self, arguments: Mapping[str, Any], *, secrets: Sequence[str]) -> Mapping[str, Any]:
        """Call ``create_pod`` once and return its answer. Raises UnsureCreate if a pod may exist anyway."""
        return self._create(lambda: self._runpod.create_pod(**arguments), secrets)

    def create_by(self, mutation: str, operation: str, *, secrets: Sequence[str]) -> Mapping[str, Any]:
        """Send a create mutation of one's own, once, as ``create`` does."""
        return self._create(lambda: self._send(mutation)["data"][operation], secrets)

    def _create(self, act: Callable[[], Any], secrets: Sequence[str]) -> Mapping[str, Any]:
        answer, failure, recording = self._attempt(act, secrets)
        if failure is None:
            if isinstance(answer, dict) and answer.get("id"):
                return answer
            raise UnsureCreate("RunPod answered a create with nothing")
        error = classify(failure)
        asked = bool(recording.exchanges) and recording.exchanges[-1].mutation
        if not asked or not may_have_acted(failure):
            raise error
        answered = failure.trouble is Trouble.REFUSED or not isinstance(error, TransientError)
        raise UnsureCreate(str(error), refusal=error if answered else None)

    def _call(self, act: Callable[[], T]) -> T:
        answer, failure, _ = self._attempt(act, ())
        if failure is not None:
            raise classify(failure)
        return answer  # type: ignore[return-value]

    def _attempt(
        self, act: Callable[[], T], secrets: Sequence[str]
    ) -> tuple[T | None, Failure | None, _Recording]:
        """Call the SDK; return its answer or how it failed; its own error is not even kept as context."""
        answer: T | None = None
        raised: str | None = None
        with _recorded(self._bucket) as recording:
            try:
                answer = act()
            except self._failures as error:
                raised = str(error) if isinstance(error, ValueError) else ""
        last = recording.exchanges[-1] if recording.exchanges else None
        failed = raised is not None or (last is not None and (last.trouble or (last.status or 0) >= 400))
        return answer, self._failure(last, raised or "", secrets) if failed else None, recording

    def _failure(self, last: _Exchange | None, raised: str, secrets: Sequence[str]) -> Failure:
        if last is None:
            return Failure(
                trouble=Trouble.UNSENT, text=self._scrub(raised or "the SDK sent nothing", secrets)
            )
        if last.trouble is None:
            # RunPod answered in order; the SDK's own check, or the shape of the answer, is what failed.
            trouble = Trouble.REFUSED if raised else Trouble.UNREADABLE
            text = raised or "an answer of another shape than expected"
            return Failure(trouble=trouble, text=self._scrub(text, secrets), status=last.status)
        return Failure(
            trouble=last.trouble,
            text=self._scrub(last.text, secrets),
            status=last.status,
            codes=last.codes,
            retry_after=last.retry_after,
        )

    def _scrub(self, text: str, secrets: Sequence[str]) -> str:
        """Return ``text`` without the key and the secrets, as they are and as they were sent."""
        hidden = {self._key, *secrets}
        hidden |= {
            json.dumps(secret, ensure_ascii=ascii_)[1:-1] for secret in hidden for ascii_ in (True, False)
        }
        for secret in sorted(hidden, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, MASK)
        return text
