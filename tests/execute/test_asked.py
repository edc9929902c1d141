"""Which fixtures a function may ask for while it runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from rpd.execute.asked import asked_while_running


def plainly(request: Any) -> Any:
    """Not this word: dataset."""
    return request.getfixturevalue("data")


def in_a_loop(request: Any) -> Any:
    return [request.getfixturevalue(name) for name in ("one", "two")]


def inside(request: Any) -> Any:
    def later() -> Any:
        return request.getfixturevalue("deep")

    return later


def without(request: Any) -> Any:
    return request.param or "data"


@functools.wraps(plainly)
def wrapped(*args: Any) -> Any:
    return plainly(*args)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (plainly, {"data"}),
        (in_a_loop, {"one", "two"}),
        (inside, {"deep"}),
        (without, set()),
        (wrapped, {"data"}),
        (functools.partial(plainly, None), set()),
        (print, set()),
    ],
)
def test_names_are_found_in_the_code(function: Callable[..., Any], names: set[str]) -> None:
    """The texts of code that asks are found, wherever it stands; code that does not ask has none."""
    result = asked_while_running(function)
    assert names <= result
    assert bool(result) is bool(names)
