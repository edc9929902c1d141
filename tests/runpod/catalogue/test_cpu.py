"""CPU instances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import RequestRejected
from rpd.runpod.catalogue.cpu import cpu_instance, cpu_price


@pytest.mark.parametrize(
    ("vcpu", "memory", "instance"),
    [
        (None, None, "cpu3c-2-4"),
        (3, None, "cpu3c-4-8"),
        (2, 8, "cpu3g-2-8"),
        (2, 16, "cpu3m-2-16"),
        (None, 17, "cpu3m-4-32"),
    ],
)
def test_the_smallest_instance_that_fits(vcpu: int | None, memory: int | None, instance: str) -> None:
    """Cores first, then memory: the fewest vCPUs, and of those the leanest flavour."""
    assert cpu_instance(vcpu, memory) == instance


@given(st.integers(1, 32), st.integers(1, 256))
def test_an_instance_has_what_was_asked_for(vcpu: int, memory: int) -> None:
    """The instance's own name says that it has at least so much."""
    _, vcpus, gigabytes = cpu_instance(vcpu, memory).split("-")
    assert int(vcpus) >= vcpu
    assert int(gigabytes) >= memory


def test_more_than_any_has_is_refused() -> None:
    """The message states the largest size."""
    with pytest.raises(RequestRejected, match="largest has 32 vCPUs"):
        cpu_instance(64, None)


def test_prices_are_told_where_known() -> None:
    """The compute flavour's price grows with its vCPUs; the others' are not known."""
    assert cpu_price(None, None) == 0.06
    assert cpu_price(8, None) == 0.24
    assert cpu_price(2, 8) is None
