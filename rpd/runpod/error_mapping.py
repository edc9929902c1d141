"""Turns a failed call into one of rpd's errors, by RunPod's HTTP statuses, codes and sentences.

RunPod answers most failures with HTTP 200 and a sentence, so rpd has to read sentences. The order of the
rules matters: the sentence for "sold out" of spot pods ends in "Please try again later", just like that for a
temporary error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from rpd.errors import (
    ApiRetired,
    AuthError,
    BalanceError,
    NoCapacity,
    NotPermitted,
    PodNotFound,
    ProviderError,
    QuotaError,
    RateLimited,
    RequestRejected,
    TransientError,
)
from rpd.runpod.address import api_url, what_to_check


class Trouble(StrEnum):
    """How far a call got."""

    UNSENT = "unsent"
    """It never reached RunPod: no route, an unknown host, a closed port."""
    LOST = "lost"
    """It was sent, and no response came back."""
    UNREADABLE = "unreadable"
    """The response is not one of the API's: HTML of a proxy, an empty body, JSON without data."""
    REFUSED = "refused"
    """RunPod answered with errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed call. ``text``: RunPod's own words, which decide; ``codes``: its errors' ``extensions.code``.

    ``shown``: the words without secrets, for the user; None if ``text`` has no secrets.
    """

    trouble: Trouble
    text: str = field(default="", repr=False)
    shown: str | None = None
    status: int | None = None
    codes: tuple[str, ...] = ()
    retry_after: float | None = None
    """Seconds."""
    url: str | None = None
    """The address of the call; None: the one in the environment."""

    @property
    def where(self) -> str:
        """The address of the API."""
        return self.url or api_url()


def _words(*fragments: str) -> re.Pattern[str]:
    return re.compile("|".join(fragments), re.IGNORECASE)


_AUTH = _words(r"unauthori[sz]ed", r"invalid api key", r"no api key", r"not (?:logged in|authenticated)")
_BALANCE = _words(
    r"insufficient (?:balance|funds|credit)",
    r"not enough (?:balance|funds|credit)",
    r"add (?:more )?(?:funds|credit)",
    r"balance is too low",
)
_QUOTA = _words(r"spend(?:ing)? limit", r"quota", r"(?:maximum|max) (?:number|amount) of pods", r"pod limit")
_RATE = _words(r"rate limit", r"too many requests")
_CAPACITY = _words(
    r"no longer any instances available",
    r"no instances (?:are )?(?:currently )?available",
    r"does not have the resources",
    r"try a different machine",
    r"could not find any pods with required specifications",
    r"not enough free gpus",
    r"no (?:machines|capacity|hosts|gpus)\b.*available",
    r"insufficient (?:capacity|resources)",
    r"out of stock",
    r"sold out",
)
_GONE = _words(r"pod (?:\S+ )?(?:was )?not found", r"pod (?:\S+ )?does not exist")
_MALFORMED = _words(
    r"cannot query field",
    r"unknown (?:argument|type|field)",
    r"is not defined by type",
    r"syntax error",
    r"of required type",
    r"expected (?:type|value of type)",
    r"cannot represent",
)
_TEMPORARY = _words(
    r"something went wrong",
    r"try again",
    r"internal server error",
    r"time(?:d )?[- ]?out",
    r"bad gateway",
    r"service (?:temporarily )?unavailable",
    r"connection (?:reset|refused)",
)


def _unauthorised(failure: Failure) -> bool:
    return failure.status == 401 or _is(failure, "UNAUTHENTICATED") or bool(_AUTH.search(failure.text))


def _is(failure: Failure, *codes: str) -> bool:
    return any(code.upper() in codes for code in failure.codes)


def _retry_after(failure: Failure) -> ProviderError:
    wait = "" if failure.retry_after is None else f"; it says to retry after {failure.retry_after:g} s"
    words = f" ({_said(failure)})" if failure.text else ""
    return RateLimited(f"RunPod limits the rate of calls{words}{wait}", retry_after=failure.retry_after)


def _redirected(failure: Failure) -> ProviderError:
    return RequestRejected(
        f"{failure.where} redirects to {_said(failure)}, and rpd does not send the API key there. "
        "Is RUNPOD_API_BASE_URL right, and does your network require you to log in first?"
    )


def _is_redirect(failure: Failure) -> bool:
    return 300 <= (failure.status or 0) < 400


_Rule = tuple[Callable[[Failure], bool], Callable[[Failure], ProviderError]]

_RULES: tuple[_Rule, ...] = (
    (_is_redirect, _redirected),
    # Only in RunPod's own words: the network's edge also answers 403.
    (
        lambda f: f.trouble is Trouble.REFUSED and (f.status == 403 or _is(f, "FORBIDDEN")),
        lambda f: NotPermitted(
            f"{_said(f)}: the role of this API key in the account, or its permissions, do not allow that. Ask an admin "
            "of the account, or create a key that may at https://console.runpod.io/user/settings",
            words=_said(f),
        ),
    ),
    (
        _unauthorised,
        lambda f: AuthError(f"RunPod refuses the API key ({_said(f)}): set RUNPOD_API_KEY to a valid one"),
    ),
    (
        lambda f: f.status == 402 or _is(f, "INSUFFICIENT_BALANCE") or bool(_BALANCE.search(f.text)),
        lambda f: BalanceError(
            f"not enough credit: {_said(f)}. Add credit at https://console.runpod.io/user/billing"
        ),
    ),
    # By its status or words, before the quotas, whose sentences mention limits as well.
    (lambda f: f.status == 429 or bool(_RATE.search(f.text)), _retry_after),
    (
        lambda f: bool(_QUOTA.search(f.text)),
        lambda f: QuotaError(f"the account has reached a limit: {_said(f)}"),
    ),
    (
        lambda f: f.status == 410,
        lambda _: ApiRetired("RunPod has retired this API (HTTP 410)"),
    ),
    (
        lambda f: _is(f, "SUPPLY_CONSTRAINT") or bool(_CAPACITY.search(f.text)),
        lambda f: NoCapacity(_said(f)),
    ),
    (lambda f: _is(f, "POD_NOT_FOUND") or bool(_GONE.search(f.text)), lambda f: PodNotFound(_said(f))),
    # A query that RunPod cannot parse gets the sentence of a temporary error; only the code differs.
    (
        lambda f: (
            _is(f, "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT")
            or bool(_MALFORMED.search(f.text))
        ),
        lambda f: SchemaMismatch(f"RunPod does not understand the request: {_said(f)}"),
    ),
    # The SDK checks the GPU type before it creates a pod.
    (
        lambda f: "No GPU found" in f.text,
        lambda _: RequestRejected("RunPod has no GPU type with that id"),
    ),
    # From the network's edge: it does not prove that the key is invalid.
    (
        lambda f: f.status == 403,
        lambda f: RequestRejected(
            f"RunPod denied access ({_said(f)}): does the API key have permission for this?"
        ),
    ),
    (
        lambda f: f.trouble is Trouble.UNSENT,
        lambda f: TransientError(
            f"RunPod cannot be reached at {f.where}: {_said(f)}. {what_to_check(f.where)}"
        ),
    ),
    (
        lambda f: f.trouble is Trouble.LOST,
        lambda f: TransientError(f"RunPod's response was lost: {_said(f)}"),
    ),
    (
        lambda f: (
            (f.status or 0) >= 500
            or f.status == 408
            or bool(_TEMPORARY.search(f.text))
            or _is(f, "INTERNAL_SERVER_ERROR")
            or (f.trouble is Trouble.UNREADABLE and (f.status or 200) < 400)
        ),
        lambda f: TransientError(f"temporary RunPod error: {_said(f)}"),
    ),
)


class SchemaMismatch(RequestRejected):
    """The query does not fit RunPod's schema: RunPod did nothing, and another query may work."""


def classify(failure: Failure) -> ProviderError:
    """Return the error that ``failure`` means; RequestRejected with RunPod's own words if no rule fits."""
    for matches, make in _RULES:
        if matches(failure):
            return make(failure)
    return RequestRejected(f"RunPod rejected the request: {_said(failure)}")


_CERTAIN = (SchemaMismatch, NoCapacity, BalanceError, QuotaError, AuthError, ApiRetired, NotPermitted)
"""Errors that mean RunPod did nothing."""
_REFUSING = frozenset((400, 403, 404, 405, 413, 415, 422))
"""Statuses with which RunPod, in its own words, rejects a request before acting on it."""


def may_have_acted(failure: Failure) -> bool:
    """Return whether RunPod may have acted although the call failed.

    Only a certain refusal counts as not acted. A 429, a 409 or a page of HTML can come from a gateway that
    passed the request on, perhaps twice; an unknown sentence may concern only a part of the answer: GraphQL
    answers the rest, and the pod exists.
    """
    if failure.trouble is Trouble.UNSENT or isinstance(classify(failure), _CERTAIN):
        return False
    return failure.trouble is not Trouble.REFUSED or failure.status not in _REFUSING


def was_answered(failure: Failure) -> bool:
    """Return whether RunPod has finished with a failed request, so that nothing comes of it later."""
    return failure.trouble is Trouble.REFUSED or failure.status == 429


def _said(failure: Failure) -> str:
    """Return RunPod's words in one line for use in a sentence, with its HTTP status if that is an error."""
    text = " ".join((failure.text if failure.shown is None else failure.shown).split()).rstrip(".")
    bad_status = failure.status if failure.status and failure.status >= 400 else None
    if not text:
        return (
            f"HTTP {bad_status}"
            if bad_status
            else "an unreadable response"
            if failure.status
            else "no response"
        )
    if bad_status:
        text = f"{text} (HTTP {bad_status})"
    return text if len(text) <= 300 else f"{text[:297]}..."
