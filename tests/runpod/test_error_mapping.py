"""From RunPod's statuses, codes and sentences to our errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from rpd.runpod.error_mapping import Failure, SchemaMismatch, Trouble, classify, may_have_acted

KNOWN: list[tuple[str, str, int, type[ProviderError]]] = [
    # text, code, status, meaning
    (
        "There are no longer any instances available with the requested specifications. Please refresh and try again.",
        "SUPPLY_CONSTRAINT",
        200,
        NoCapacity,
    ),
    (
        "There are no longer any instances available with the request specifications. Please try again later.",
        "",
        200,
        NoCapacity,
    ),
    ("There are no longer any instances available with enough disk space.", "", 200, NoCapacity),
    ("create pod: There are no instances currently available.", "", 500, NoCapacity),
    ("no instances available", "", 400, NoCapacity),
    (
        "This machine does not have the resources to deploy your pod. Please try a different machine",
        "",
        200,
        NoCapacity,
    ),
    ("could not find any pods with required specifications", "", 500, NoCapacity),
    ("There are not enough free GPUs on the host machine to start this pod.", "", 200, NoCapacity),
    ("whatever", "SUPPLY_CONSTRAINT", 200, NoCapacity),
    (
        "Insufficient balance to resume this on-demand pod. You need at least $3.59 (current: $3.01).",
        "",
        200,
        BalanceError,
    ),
    ("whatever", "INSUFFICIENT_BALANCE", 200, BalanceError),
    ("payment required", "", 402, BalanceError),
    ("any body", "", 401, AuthError),
    ("access denied", "", 403, NotPermitted),
    ("You may not", "FORBIDDEN", 200, NotPermitted),
    ("pod not found to terminate", "POD_NOT_FOUND", 200, PodNotFound),
    ("Pod not found", "", 200, PodNotFound),
    (
        "Something went wrong. Please try again later or contact support.",
        "INTERNAL_SERVER_ERROR",
        200,
        TransientError,
    ),
    ("Something went wrong. Please try again later or contact support.", "", 200, TransientError),
    (
        "Something went wrong. Please try again later or contact support.",
        "GRAPHQL_PARSE_FAILED",
        200,
        SchemaMismatch,
    ),
    ('Cannot query field "x" on type "T".', "", 400, SchemaMismatch),
    ('Unknown argument "x" on field "y".', "", 400, SchemaMismatch),
    ('Field "x" is not defined by type "T".', "BAD_USER_INPUT", 400, SchemaMismatch),
    ("rate limit exceeded for the minute window", "", 429, RateLimited),
    ("You have reached your spend limit. Insufficient quota.", "", 200, QuotaError),
    ("Maximum number of pods reached", "", 200, QuotaError),
    ("", "", 410, ApiRetired),
    ("", "", 502, TransientError),
    ("", "", 503, TransientError),
    ("", "", 504, TransientError),
    ("", "", 520, TransientError),
    ("", "", 524, TransientError),
    ("A sentence nobody has seen.", "", 200, RequestRejected),
]


@pytest.mark.parametrize(("text", "code", "status", "meaning"), KNOWN)
def test_every_known_answer_has_its_meaning(
    text: str, code: str, status: int, meaning: type[ProviderError]
) -> None:
    """Each sentence, code and status RunPod is known to answer with is the error it means, in any case."""
    for said in (text, text.upper(), f"prefix: {text}\n"):
        failure = Failure(trouble=Trouble.REFUSED, text=said, status=status, codes=(code,) if code else ())
        assert type(classify(failure)) is meaning


def test_a_sentence_that_is_a_hiccup_and_a_stock_out_is_a_stock_out() -> None:
    """The order of the rules decides where a sentence says both."""
    both = Failure(
        trouble=Trouble.REFUSED, text="Something went wrong: sold out. Please try again later", status=503
    )
    assert isinstance(classify(both), NoCapacity)


def test_a_rate_limit_carries_its_wait() -> None:
    """The caller learns how long to wait."""
    error = classify(Failure(trouble=Trouble.UNREADABLE, status=429, retry_after=12.0))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 12.0


@given(st.text(max_size=600), st.sampled_from(Trouble), st.none() | st.integers(100, 599))
def test_anything_has_a_meaning_in_one_line(text: str, trouble: Trouble, status: int | None) -> None:
    """No failure is left without an error, and its text fits a line."""
    message = str(classify(Failure(trouble=trouble, text=text, status=status)))
    assert message.splitlines() == [message]
    assert len(message) < 500


@pytest.mark.parametrize(
    ("failure", "maybe"),
    [
        (Failure(trouble=Trouble.UNSENT, text="nobody answers"), False),
        (Failure(trouble=Trouble.LOST), True),
        (Failure(trouble=Trouble.UNREADABLE, status=502), True),
        (Failure(trouble=Trouble.UNREADABLE, status=200), True),
        (Failure(trouble=Trouble.UNREADABLE, status=429), True),
        (Failure(trouble=Trouble.REFUSED, text="too many requests", status=429), True),
        (Failure(trouble=Trouble.REFUSED, text="rate limit exceeded", status=200), True),
        (Failure(trouble=Trouble.REFUSED, text="that name exists", status=409), True),
        (Failure(trouble=Trouble.UNREADABLE, text="https://elsewhere.example", status=303), True),
        (Failure(trouble=Trouble.REFUSED, text="pod not found", status=200), True),
        (Failure(trouble=Trouble.UNREADABLE, status=401), False),
        (Failure(trouble=Trouble.UNREADABLE, status=403), True),
        (Failure(trouble=Trouble.REFUSED, text="not for you", status=403), False),
        (Failure(trouble=Trouble.REFUSED, text="validation failed", status=422), False),
        (Failure(trouble=Trouble.UNREADABLE, status=410), False),
        (Failure(trouble=Trouble.REFUSED, text="Something went wrong."), True),
        (
            Failure(trouble=Trouble.REFUSED, text="Something went wrong.", codes=("GRAPHQL_PARSE_FAILED",)),
            False,
        ),
        (Failure(trouble=Trouble.REFUSED, text="Cannot return null for non-nullable field"), True),
        (Failure(trouble=Trouble.REFUSED, text="no instances available", status=500), False),
        (Failure(trouble=Trouble.REFUSED, text="insufficient balance"), False),
    ],
)
def test_what_may_have_been_done_although_it_failed(failure: Failure, maybe: bool) -> None:
    """A create is looked for exactly where it may have gone through."""
    assert may_have_acted(failure) is maybe
