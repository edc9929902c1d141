"""The place of an object in its source file, and its lines of source."""

from __future__ import annotations

import inspect
import linecache
import os
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from rpd.errors import CollectionError
from rpd.values.mark import Location


def relative(path: str | Path, rootdir: Path) -> str:
    """Return ``path`` as in node ids: relative to the root folder, with forward slashes."""
    text = os.fspath(path)
    root = f"{rootdir}{os.sep}"
    if text.startswith(root):
        inside = text[len(root) :]
    else:
        try:
            inside = os.path.relpath(text, rootdir)
        except ValueError:  # another drive on Windows
            inside = text
    return inside.replace(os.sep, "/")


def real_function(function: Any) -> Any:
    """Return the function that the user wrote, below ``functools.wraps``, ``partial`` and bound methods."""
    while True:
        below = getattr(function, "__wrapped__", None) or getattr(function, "__func__", None)
        if below is None:
            below = getattr(function, "func", None) if not hasattr(function, "__code__") else None
        if below is None:
            return function
        function = below


def location_of(function: Callable[..., Any], rootdir: Path) -> Location:
    """Return where a function (at its first decorator) or class starts; line 0 if there is no source."""
    begin = _beginning(function)
    if begin is None:
        return Location(getattr(function, "__module__", None) or "?", 0)
    return Location(relative(begin[0], rootdir), begin[1])


def _beginning(function: Any) -> tuple[str, int] | None:
    code = getattr(real_function(function), "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno
    try:
        return inspect.getfile(function), inspect.getsourcelines(function)[1]
    except (TypeError, OSError):
        return None


def signature_lines(function: Callable[..., Any]) -> list[str]:
    """Return the source of ``function`` from its first decorator to the end of the line with ``def``."""
    lines: list[str] = []
    path, first = _beginning(function) or ("", 0)
    for number in range(first, first + 50):
        line = linecache.getline(path, number)
        if not line:
            break
        lines.append(line.rstrip())
        if line.lstrip().startswith(("def ", "async def ", "class ")):
            break
    return lines


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the arguments without a default that can be passed by name: the requests of a job or fixture.

    Raise CollectionError for a positional-only one, TypeError or ValueError if there is no signature.
    """
    if type(function) is FunctionType and not {"__wrapped__", "__signature__"} & vars(function).keys():
        return _written_arguments(function)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise _positional_only(name)
        if parameter.kind in kinds:
            names.append(name)
    return tuple(names)


def _written_arguments(function: FunctionType) -> tuple[str, ...]:
    """Return the arguments of a function that no decorator has changed, which its code tells; nearly all are such."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    needed = positional[: code.co_argcount - len(function.__defaults__ or ())]
    if code.co_posonlyargcount and needed:
        raise _positional_only(needed[0])
    return (*needed, *(name for name in by_name if name not in (function.__kwdefaults__ or ())))


def _positional_only(name: str) -> CollectionError:
    return CollectionError(f"argument {name!r} stands before a /: arguments are passed by name")


def arguments_with_default(function: Callable[..., Any]) -> frozenset[str]:
    """Return the arguments that have a default."""
    return frozenset(
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    )
