"""The only door to the ``runpod`` SDK: calls that return plain values or raise one of rpd's errors.

Importing this module does not import the SDK, which takes seconds; ``preload`` starts that in the background.
This module restores what the SDK hides of a response: the HTTP status, ``Retry-After`` and the codes of
GraphQL errors. It drops what the SDK reveals too much of: a ``QueryError`` contains the whole query with the
environment of the pod.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from operator import attrgetter
from types import ModuleType
from typing import Any, TypeVar

from rpd.errors import ApiRetired, TransientError
from rpd.redaction import Redactor
from rpd.runpod.address import key_url
from rpd.runpod.error_mapping import Failure, Trouble, classify, may_have_acted, was_answered
from rpd.runpod.graphql.http_tap import Checks, Exchange, Recording, Route, Watched, recorded
from rpd.runpod.key import ENVIRONMENT_NAME
from rpd.runpod.rate_limit import TokenBucket
from rpd.runpod.reconcile import UnsureCreate
from rpd.runpod.response import understood
from rpd.threads import begun
from rpd.values.frozen import replace

T = TypeVar("T")

_SHAPELESS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of code that reads a response of an unexpected shape."""


# --- importing the SDK --------------------------------------------------------------------------------------

NEEDED = (
    *("api.graphql.run_graphql_query", "api.graphql.requests", "error.RunPodError", "api_key", "create_pod"),
    *("get_pods", "get_pod", "get_user", "stop_pod", "resume_pod", "terminate_pod"),
)
"""The parts of the SDK that rpd uses. A release without any of them is not usable: REST v2 takes over."""
_import_lock = threading.Lock()
_BARS = "tqdm_loggable.auto"
_BARS_FORCED = "TQDM_LOGGABLE_FORCE"


def preload() -> threading.Thread:
    """Start importing the SDK in the background; calls wait for it only as long as it still takes."""
    return begun(_preload, name="rpd-import-sdk")


def _preload() -> None:
    try:
        _load()
    except Exception:  # noqa: BLE001 - the first call on the SDK meets the same error, where it can be reported
        return


def _load() -> Any:
    """Import the SDK, once, and watch its calls. Raise ApiRetired for an incompatible release."""
    with _import_lock:
        try:
            module = _import_sdk()
        except ImportError as error:
            raise ApiRetired(f"the runpod SDK cannot be used ({error}): install runpod 1.12") from None
        graphql = module.api.graphql
        if lacking := [name for name in NEEDED if not _has(module, name)]:
            version = getattr(module, "__version__", "of unknown version")
            raise ApiRetired(
                f"the runpod SDK {version} is not one this rpd can use (no {', '.join(lacking)}): install runpod 1.12"
            )
        if not isinstance(graphql.requests, Watched):
            # The SDK drops the status, Retry-After and error codes of an answer, and gives no seam to see
            # them: it calls requests.post itself. Replacing the name `requests` in that one module of the SDK
            # touches nothing else in the process; wrapping `requests` or its sessions would touch everybody's
            # calls, and reading the frames of its tracebacks fails where it raises nothing.
            graphql.requests = Watched(graphql.requests)
        return module


def _has(module: Any, name: str) -> bool:
    try:
        attrgetter(name)(module)
    except AttributeError:
        return False
    return True


def _import_sdk() -> Any:
    try:
        return _sdk()
    except (KeyError, TypeError, OSError):
        # While it is imported, the SDK reads its configuration file. It fails if [default] is not a table
        # with api_key, or if the file cannot be read. The key comes from find_key, so let the SDK read an
        # empty file instead, and import everything again except the module that reads it.
        reader = "runpod.cli.groups.config.functions"
        if reader not in sys.modules:
            raise
        vars(sys.modules[reader])["CREDENTIAL_FILE"] = os.devnull
        for name in [n for n in sys.modules if n.startswith("runpod.") and n != reader]:
            del sys.modules[name]
        return _sdk()


def _sdk() -> Any:
    # A library that it imports for progress bars warns in notebooks about missing widgets.
    warnings.filterwarnings("ignore", message="IProgress not found")
    # Its progress bars ask standard output whether it is a terminal; a program without a console has none.
    streams = nullcontext() if sys.stdout is not None else redirect_stdout(io.StringIO())
    with _processor_unknown(), _plain_progress(), _root_logger_kept(), streams:
        import runpod.api.graphql
        import runpod.error

    return runpod


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Leave the root logger unchanged: the SDK configures it for itself, which would show everybody's messages."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@contextmanager
def _plain_progress() -> Iterator[None]:
    """Keep the SDK from importing IPython to choose progress bars, for uploads of its serverless workers.

    Where IPython is installed, that was a sixth of the import. A later import of the library chooses again.
    """
    if _BARS in sys.modules or _BARS_FORCED in os.environ:
        yield
        return
    os.environ[_BARS_FORCED] = "stdout"
    try:
        yield
    finally:
        os.environ.pop(_BARS_FORCED, None)
        sys.modules.pop(_BARS, None)


@contextmanager
def _processor_unknown() -> Iterator[None]:
    """Hide this machine's processor name from the SDK.

    The SDK asks for it while it is imported, for the log of its serverless workers: that starts processes,
    takes a second, and is two thirds of the import. It copes with a missing name.
    """
    if "cpuinfo" in sys.modules:
        yield
        return
    sys.modules["cpuinfo"] = stand_in = ModuleType("cpuinfo")
    vars(stand_in)["get_cpu_info"] = dict
    try:
        yield
    finally:
        del sys.modules["cpuinfo"]  # a later import gets the real module


# --- the calls ----------------------------------------------------------------------------------------------


class Sdk:
    """The SDK with one account's key. Its methods raise ProviderError and may be called from several threads.

    ``url`` is the address of its calls, by default the present one in the environment.

    The SDK keeps its key in a global variable, which is left alone unless it is empty or the environment has
    the same key: a program may have set it for itself. Every call of ours carries its own key and address
    (``Route``).
    """

    def __init__(self, key: str, bucket: TokenBucket | None = None, url: str | None = None) -> None:
        self._key = key
        self._bucket = bucket or TokenBucket()
        self._runpod: Any = _load()
        if self._runpod.api_key is None or os.environ.get(ENVIRONMENT_NAME, "").strip() == key:
            self._runpod.api_key = key
        graphql = self._runpod.api.graphql
        self._route = Route.of(key, graphql.requests, url or key_url())
        self._checks = Checks()
        self._send: Callable[[str], Any] = graphql.run_graphql_query
        self._failures = (
            self._runpod.error.RunPodError,
            graphql.requests.exceptions.RequestException,
            *_SHAPELESS,
        )

    def query(self, document: str, read: Callable[[Mapping[str, Any]], T]) -> T:
        """Send a GraphQL document and return the result of ``read`` for its ``data``."""
        return understood(lambda answer: read(answer["data"]), self._call(lambda: self._send(document)))

    def pods(self) -> Sequence[Mapping[str, Any] | None]:
        """Return the pods of the account as the SDK reads them."""
        return self._call(self._runpod.get_pods)

    def pod(self, pod_id: str) -> Mapping[str, Any] | None:
        """Return a pod as the SDK reads it; ``pod_id`` must be escaped."""
        return self._call(lambda: self._runpod.get_pod(pod_id))  # type: ignore[no-any-return]

    def user(self) -> Mapping[str, Any] | None:
        """Return ``id``, ``pubKey`` and ``networkVolumes`` of the account; None for a key without one."""
        return self._call(self._runpod.get_user)  # type: ignore[no-any-return]

    def stop(self, pod_id: str) -> None:
        """Stop a pod; ``pod_id`` must be escaped."""
        self._call(lambda: self._runpod.stop_pod(pod_id))

    def resume(self, pod_id: str, gpu_count: int) -> None:
        """Start a stopped pod; ``pod_id`` must be escaped."""
        self._call(lambda: self._runpod.resume_pod(pod_id, gpu_count))

    def terminate(self, pod_id: str) -> None:
        """Delete a pod; ``pod_id`` must be escaped."""
        self._call(lambda: self._runpod.terminate_pod(pod_id))

    def create(self, arguments: Mapping[str, Any], *, secrets: Sequence[str]) -> Mapping[str, Any]:
        """Call ``create_pod`` once and return its response. Raise UnsureCreate if a pod may exist anyway."""
        return self._create(lambda: self._runpod.create_pod(**arguments), secrets)

    def create_by(self, mutation: str, operation: str, *, secrets: Sequence[str]) -> Mapping[str, Any]:
        """Send a create mutation of our own, once, as ``create`` does."""
        return self._create(lambda: self._send(mutation)["data"][operation], secrets)

    def _create(self, act: Callable[[], Any], secrets: Sequence[str]) -> Mapping[str, Any]:
        answer, failure, recording = self._attempt(act, secrets, self._checks)
        if failure is None:
            if isinstance(answer, dict) and isinstance(answer.get("id"), str) and answer["id"]:
                return answer
            raise UnsureCreate("RunPod's response to the create call has no pod in it")
        error = classify(failure)
        is_sent = bool(recording.exchanges) and recording.exchanges[-1].mutation
        if not is_sent or not may_have_acted(failure):
            raise error
        answered = was_answered(failure) or not isinstance(error, TransientError)
        raise UnsureCreate(str(error), refusal=error if answered else None)

    def _call(self, act: Callable[[], T]) -> T:
        answer, failure, _ = self._attempt(act, ())
        if failure is not None:
            raise classify(failure)
        return answer  # type: ignore[return-value]

    def _attempt(
        self, act: Callable[[], T], secrets: Sequence[str], checks: Checks | None = None
    ) -> tuple[T | None, Failure | None, Recording]:
        """Call the SDK; return its result or the failure.

        The SDK's error is dropped, even as context: it may hold secrets.
        """
        answer: T | None = None
        raised: str | None = None
        with recorded(self._bucket, self._route, checks) as recording:
            try:
                answer = act()
            except self._failures as error:
                raised = str(error) if isinstance(error, ValueError) else ""
        last = recording.exchanges[-1] if recording.exchanges else None
        failed = raised is not None or (last is not None and (last.trouble or (last.status or 0) >= 400))
        if not failed:
            return answer, None, recording
        failure = self._failure(last, raised or "", secrets)
        return answer, replace(failure, url=self._route.url), recording

    def _failure(self, last: Exchange | None, raised: str, secrets: Sequence[str]) -> Failure:
        if last is None:
            text = raised or "the SDK sent nothing"
            return Failure(trouble=Trouble.UNSENT, text=text, shown=self._redacted(text, secrets))
        if last.trouble is None:
            # RunPod's response was in order; the SDK's own check, or the shape of the response, failed.
            trouble = Trouble.REFUSED if raised else Trouble.UNREADABLE
            return Failure(
                trouble=trouble, text=raised, shown=self._redacted(raised, secrets), status=last.status
            )
        return Failure(
            trouble=last.trouble,
            text=last.text,
            shown=self._redacted(last.text, secrets),
            status=last.status,
            codes=last.codes,
            retry_after=last.retry_after,
        )

    def _redacted(self, text: str, secrets: Sequence[str]) -> str:
        """Return ``text`` without the key and the secrets."""
        return Redactor((self._key, *secrets)).text(text)
