"""The arguments of a function that are requests, read from its code or from its signature."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import pytest

from rpd.collect.source_lines import argument_names
from rpd.errors import CollectionError


def through_signature(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose code does not tell its arguments, only its signature."""

    @wraps(function)
    def changed(*args: Any, **keywords: Any) -> Any:
        return function(*args, **keywords)

    return changed


def plain(pod: Any, seed: Any, tag: str = "") -> None: ...
def by_name(pod: Any, *, seed: Any, tag: str = "", gpu: Any) -> None: ...
def rest(pod: Any, *args: Any, seed: Any, **others: Any) -> None:
    inner = args  # a local name is no argument
    del inner


def defaults_first(tag: str = "", /, seed: int = 1, *, gpu: Any) -> None: ...
def nothing() -> None: ...


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (plain, ("pod", "seed")),
        (by_name, ("pod", "seed", "gpu")),
        (rest, ("pod", "seed")),
        (defaults_first, ("gpu",)),
        (nothing, ()),
    ],
)
def test_the_arguments_without_a_default_are_requests(
    function: Callable[..., Any], names: tuple[str, ...]
) -> None:
    """Whether they are read from the code of a function or from a signature."""
    assert argument_names(function) == names
    assert argument_names(through_signature(function)) == names
    assert argument_names(partial(function)) == names


def positional(pod: Any, /, seed: Any) -> None: ...


@pytest.mark.parametrize("function", [positional, through_signature(positional)])
def test_a_positional_argument_cannot_be_a_request(function: Callable[..., Any]) -> None:
    """Values are passed by name."""
    with pytest.raises(CollectionError, match="argument 'pod' stands before a /"):
        argument_names(function)
