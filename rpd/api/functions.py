"""Job functions passed from a program or a notebook cell. The code they need is put into a module made for it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rpd.collect.jobs import GENERATE
from rpd.collect.parametrize import split_argnames
from rpd.collect.source_lines import real_function
from rpd.collect.visible_fixtures import attached, is_a
from rpd.errors import UsageError
from rpd.values.fixture import FIXTURE_ATTRIBUTE
from rpd.values.job import JOB_ATTRIBUTE, Job

JobFunction = Callable[..., object]
_INTERACTIVE = "interactive"
"""What stands for the file of functions that were typed in."""


def arguments_of(functions: Iterable[JobFunction]) -> frozenset[str]:
    """Return the names of all arguments of ``functions``. Raise UsageError for a function that is no job."""
    names: set[str] = set()
    for function in functions:
        if not is_a(attached(function, JOB_ATTRIBUTE), Job):
            name = getattr(function, "__name__", repr(function))
            raise UsageError(f"{name} is not a job: decorate it with @rpd.job, or give a path or a node id")
        names |= inspect.signature(function).parameters.keys()
    return frozenset(names)


def modules_of(functions: Sequence[JobFunction], rootdir: Path) -> dict[Path, ModuleType]:
    """Return a module for each file that ``functions`` come from, with the fixtures and marks defined there.

    Code typed into a notebook or an interpreter stands for a file in the root folder. Raise UsageError for
    two functions of one name.
    """
    modules: dict[Path, ModuleType] = {}
    for function in functions:
        written = real_function(function)
        path = _path_of(written, rootdir)
        module = modules.get(path)
        if module is None:
            module = modules[path] = ModuleType(getattr(function, "__module__", None) or _INTERACTIVE)
            module.__file__ = str(path)
            vars(module).update(_beside(getattr(written, "__globals__", {})))
        name = str(getattr(function, "__name__", written.__name__))
        if getattr(module, name, function) is not function:
            raise UsageError(f"two functions are called {name!r}: rename one of them")
        setattr(module, name, function)
    return modules


def _beside(names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fixtures and the marks that are defined next to a job, and the hook that parametrizes it."""
    return {
        name: value
        for name, value in names.items()
        if name in ("rpdmark", GENERATE) or attached(value, FIXTURE_ATTRIBUTE) is not None
    }


def _path_of(function: Any, rootdir: Path) -> Path:
    written = function.__code__.co_filename
    if Path(written).is_file():
        return Path(written).absolute()
    return rootdir / _notebook_name(function.__globals__)


def _notebook_name(names: Mapping[str, Any]) -> str:
    """Return the name of the notebook that runs, where its editor or server tells; else a word for all of them."""
    written = names.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME") or ""
    name = Path(str(written)).name
    return name if name.endswith(".ipynb") else _INTERACTIVE


class Parametrizing:
    """The plugin that gives the arguments of ``functions`` their values; a list is one node for each of its values."""

    def __init__(self, functions: Sequence[JobFunction], values: Mapping[str, object]) -> None:
        self._functions = functions
        self._values = {name: _cases(value) for name, value in values.items()}
        self._unused = set(values)

    def rpd_generate_nodes(self, metafunc: Any) -> None:
        """Parametrize the requested arguments of each function."""
        if not any(metafunc.function is function for function in self._functions):
            return
        names = {*metafunc.fixturenames, *inspect.signature(metafunc.function).parameters}
        for name, values in self._values.items():
            if names.issuperset(split_argnames(name)[0]):
                self._unused.discard(name)
                metafunc.parametrize(name, values)

    def rpd_modify_nodes(self) -> None:
        """Raise UsageError for values that nothing asks for."""
        if self._unused:
            raise UsageError(f"parametrize: none of the given functions asks for {min(self._unused)!r}")


def _cases(value: object) -> list[object]:
    is_one = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    return [value] if is_one else list(value)  # type: ignore[call-overload]
