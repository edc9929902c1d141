"""rpd runs GPU jobs on RunPod the way pytest runs tests: these are the words a deploy file may use."""

from __future__ import annotations

TYPE_CHECKING = False
"""As type checkers know it, without loading ``typing``."""

if TYPE_CHECKING:
    from typing import Any

    from rpd.collect.params_file import params_from
    from rpd.values.fixture import fixture
    from rpd.values.job import Budget, Gpu, Job, Lifecycle, Secret, Storage, job
    from rpd.values.mark import HIDDEN_PARAM, mark, param
    from rpd.values.outcome import fail, importorskip, skip
    from rpd.values.step import Completed
    from rpd.values.variable import variable

__version__ = "0.1.0"

_HOME = {
    "Budget": "rpd.values.job",
    "Completed": "rpd.values.step",
    "Gpu": "rpd.values.job",
    "HIDDEN_PARAM": "rpd.values.mark",
    "Job": "rpd.values.job",
    "Lifecycle": "rpd.values.job",
    "Secret": "rpd.values.job",
    "Storage": "rpd.values.job",
    "fail": "rpd.values.outcome",
    "fixture": "rpd.values.fixture",
    "hookimpl": "rpd.hooks",
    "importorskip": "rpd.values.outcome",
    "job": "rpd.values.job",
    "mark": "rpd.values.mark",
    "param": "rpd.values.mark",
    "params_from": "rpd.collect.params_file",
    "skip": "rpd.values.outcome",
    "variable": "rpd.values.variable",
}

__all__ = [
    "HIDDEN_PARAM",
    "Budget",
    "Completed",
    "Gpu",
    "Job",
    "Lifecycle",
    "Secret",
    "Storage",
    "fail",
    "fixture",
    "hookimpl",
    "importorskip",
    "job",
    "mark",
    "param",
    "params_from",
    "skip",
    "variable",
]


def __getattr__(name: str) -> Any:
    """Import a word on first use, so that ``import rpd`` costs nothing."""
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'rpd' has no attribute {name!r}") from None
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
