"""The fixtures that a function may request while it runs, as far as its code shows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

_ASKING = "getfixturevalue"


@lru_cache(maxsize=4096)
def asked_while_running(function: Callable[..., Any]) -> frozenset[str]:
    """Return the strings in the code of ``function`` that may be arguments of ``request.getfixturevalue``.

    The set is too large where other strings are in the code, and too small where a name is computed. That is
    good enough to decide which values to keep alive.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    codes = list(_all(code)) if isinstance(code, CodeType) else []
    if not any(_ASKING in each.co_names for each in codes):
        return frozenset()
    return frozenset(text for each in codes for text in _texts(each.co_consts))


def _all(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and the code nested in it: functions, comprehensions."""
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
