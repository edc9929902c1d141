"""Values of users in reports."""

from __future__ import annotations

from typing import Any

import pytest

from rpd.values.printable import tellable


class NoRepr:
    def __repr__(self) -> str:
        raise ValueError("no repr")


class NoStr(str):
    def __str__(self) -> str:
        raise ValueError("no str")


@pytest.mark.parametrize("value", [1, 0.5, "x", None, True, [1, {"a": b"x"}], object(), float, len])
def test_what_has_a_text_is_itself(value: Any) -> None:
    """Anything that can be printed stays the very same object."""
    assert tellable(value) is value


@pytest.mark.parametrize(
    ("value", "message"), [(NoRepr(), "<NoRepr>"), ([NoRepr()], "<list>"), (NoStr("x"), "<NoStr>")]
)
def test_what_has_none_is_its_type(value: Any, message: str) -> None:
    """A value whose own code raises, or that holds one, is shown by its type."""
    assert tellable(value) == message
