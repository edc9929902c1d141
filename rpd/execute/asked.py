"""Which fixtures a function asks for while it runs, as far as its code tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

_ASKING = "getfixturevalue"


@lru_cache(maxsize=4096)
def asked_while_running(function: Callable[..., Any]) -> frozenset[str]:
    """Return the names that ``function`` may give to ``request.getfixturevalue``: texts in its code.

    More than it asks for, and less where a name is made while it runs: good enough to keep what may still be wanted.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    codes = list(_all(code)) if isinstance(code, CodeType) else []
    if not any(_ASKING in each.co_names for each in codes):
        return frozenset()
    return frozenset(text for each in codes for text in _texts(each.co_consts))


def _all(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and what is defined in it: functions, comprehensions."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _all(inner)


def _texts(constants: tuple[object, ...]) -> Iterator[str]:
    for value in constants:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from _texts(value)
