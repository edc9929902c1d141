"""Ending a node from inside it: ``rpd.skip(reason)``, ``rpd.importorskip(module)`` and ``rpd.fail(reason)``."""

from __future__ import annotations

import importlib
import re
from typing import Any, NoReturn

from rpd.errors import DefinitionError


class Skipped(Exception):
    """Raised by ``rpd.skip``; the node is reported as skipped, or the file where ``allow_module_level`` is true."""

    def __init__(self, reason: str, *, allow_module_level: bool = False) -> None:
        super().__init__(reason)
        self.allow_module_level = allow_module_level


class Failed(Exception):
    """Raised by ``rpd.fail``; the node is reported as failed."""


def skip(reason: str, *, allow_module_level: bool = False) -> NoReturn:
    """End the node as skipped; with ``allow_module_level`` also, outside of a job, skip the rest of the file."""
    raise Skipped(reason, allow_module_level=allow_module_level)


def fail(reason: str) -> NoReturn:
    """End the node as failed."""
    raise Failed(reason)


def importorskip(name: str, minversion: str | None = None, reason: str | None = None) -> Any:
    """Return the module ``name``; skip the node, or at module level the file, if it is missing or too old.

    ``minversion`` is compared with the leading numbers of the module's ``__version__``. A module that exists
    but raises another error than ModuleNotFoundError is not skipped.
    """
    if not isinstance(name, str) or not name:
        raise DefinitionError("importorskip", "", "expected the name of a module", name)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Skipped(reason or f"could not import {name!r}: {error}", allow_module_level=True) from None
    if minversion is not None:
        version = getattr(module, "__version__", None)
        if version is None or _numbers(str(version)) < _numbers(minversion):
            outdated = f"module {name!r} has __version__ {version!r}, required is {minversion!r}"
            raise Skipped(reason or outdated, allow_module_level=True)
    return module


def _numbers(version: str) -> list[int]:
    """Return the numbers a version begins with, without zeros at the end: ``2.10.0rc1`` is [2, 10]."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers
