"""Sizes as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.values.size import format_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9960, "10 kB"),
        (999499, "999 kB"),
        (999500, "1.0 MB"),
        (230000000, "230 MB"),
        (2000000000, "2.0 GB"),
        (10**16, "10000 TB"),
    ],
)
def test_the_unit_is_the_largest_that_fits(size: int, text: str) -> None:
    """One digit after the point below ten, none above."""
    assert format_size(size) == text


@given(st.integers(1000, 10**14))
def test_it_is_close(size: int) -> None:
    """A shown size is within six percent of its value."""
    number, unit = format_size(size).split()
    factor = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
    assert float(number) * factor == pytest.approx(size, rel=0.06)
