"""Rules of faults: which subjects they strike, and how often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.emulator.faults import FaultBook


@given(times=st.none() | st.integers(0, 5), after=st.integers(0, 5), calls=st.integers(0, 15))
def test_a_rule_strikes_after_so_many_and_so_many_times(times: int | None, after: int, calls: int) -> None:
    """Of n matching calls, the first ``after`` pass, the next ``times`` are struck, the rest pass."""
    book = FaultBook()
    book.inject({"kind": "hiccup", "times": times, "after": after})
    struck = [book.take({"hiccup"}, {"operation": "create"}) is not None for _ in range(calls)]
    last = calls if times is None else after + times
    assert struck == [after <= index < last for index in range(calls)]


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"operation": "create"}, True),
        ({"operation": "podFindAndDeployOnDemand"}, True),
        ({"operation": "stop"}, False),
        ({"operation": ["stop", "create"]}, True),
        ({"gpu": "NVIDIA A*"}, True),
        ({"gpu": "NVIDIA L*"}, False),
        ({"gpu": "NVIDIA A40", "name": "rpd-*"}, True),
        ({"dc": "EU-RO-1"}, False),
    ],
)
def test_match_compares_with_patterns(match: dict[str, object], fits: bool) -> None:
    """Every key must fit; a subject without that key never does."""
    subject = {
        "operation": "create",
        "field": "podFindAndDeployOnDemand",
        "gpu": "NVIDIA A40",
        "name": "rpd-1",
    }
    book = FaultBook()
    book.inject({"kind": "hiccup", "match": match})
    assert (book.take({"hiccup"}, subject) is not None) is fits


def test_peeking_does_not_count() -> None:
    """Looking at stock uses no strike up."""
    book = FaultBook()
    book.inject({"kind": "stock-out", "times": 1})
    assert book.peek("stock-out", {})
    assert book.peek("stock-out", {})
    assert book.take({"stock-out"}, {})
    assert not book.peek("stock-out", {})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "earthquake"}, "kind: expected one of"),
        ({"kind": "hiccup", "match": {"colour": "red"}}, "match: expected any of operation"),
        ({"kind": "slow", "minutes": 1}, "slow: expected seconds, when, got minutes"),
    ],
)
def test_a_rule_that_is_none_says_what_was_expected(rule: dict[str, object], message: str) -> None:
    """A wrong rule is refused with the allowed forms."""
    with pytest.raises(ValueError, match=message):
        FaultBook().inject(rule)
