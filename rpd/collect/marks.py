"""Marks: which exist, which a function or a module has, and whether they are written correctly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from rpd.errors import CollectionError, UsageError
from rpd.values.mark import MARKS_ATTRIBUTE, NEEDS, SEARCH, Mark
from rpd.values.suggestions import closest

BUILT_IN = {
    "parametrize(argnames, argvalues)": "run the job once for each set of values",
    "skip(reason=None)": "do not run the job",
    "skipif(condition, ..., *, reason=...)": "do not run the job if a condition is true",
    "xfail(condition, ..., *, reason=..., run=True, raises=None, strict=False)": "expect the job not to pass",
    "usefixtures(name, ...)": "set these fixtures up although the job does not ask for their values",
    "retry(infra=N)": "try again when the infrastructure, not the job, failed",
    "timeout(job=None, *, silent=None)": "end the job after this time, or after this long without output and "
    "with an idle GPU",
    "gpu(id, ..., *, count=1, min_vram_gb=None, max_price_usd=None)": "run this job, or this case, on another GPU",
    "budget(*, cost_cap_usd=..., max_runtime=...)": "other limits for this job, or for this case",
    "search(name=range, ..., *, minimize=..., trials=N)": "run trials whose values a sampler chooses",
    "slots(gpu=N)": "the job takes N of the GPUs of a shared pod; others run on the rest at the same time",
    "needs(job, ..., *, all=False)": "run after the cases of other jobs with the same parameters (all=True: after "
    "every such case), if they pass",
}
PLUGINS: Mapping[str, str] = {SEARCH: "rpd.search.plugin"}
"""Mark -> the module of rpd that implements it; loaded with the first job that has the mark."""
MODULE_MARKS = "rpdmark"
_NEVER_IN_A_CASE = ("usefixtures", "parametrize", NEEDS, SEARCH)


def registered_marks(markers: Iterable[str]) -> dict[str, str]:
    """Return the name and description of every allowed mark: rpd's own and those of the setting ``markers``.

    A line of ``markers`` reads ``name: description`` or ``name(arguments): description``. Raise UsageError.
    """
    pairs = [
        *BUILT_IN.items(),
        *((head, text.strip()) for head, _, text in (m.partition(":") for m in markers)),
    ]
    marks = {head.partition("(")[0].strip(): text for head, text in pairs}
    for name in marks:
        if not name.isidentifier():
            raise UsageError(f'markers: expected "name: description", got {name!r} for a name')
    return marks


def marks_of(function: Any) -> tuple[Mark, ...]:
    """Return the marks of a function, the nearest (lowest) first."""
    return tuple(vars(function).get(MARKS_ATTRIBUTE, ()))


def marks_of_module(module: ModuleType) -> tuple[Mark, ...]:
    """Return the marks in ``rpdmark``, which apply to every job of the module.

    Raise CollectionError for other content.
    """
    if "pytestmark" in vars(module):
        raise CollectionError(f"rpd does not read pytestmark: write {MODULE_MARKS} = rpd.mark.…")
    rpdmark = getattr(module, MODULE_MARKS, ())
    marks = (rpdmark,) if isinstance(rpdmark, Mark) else rpdmark
    if not isinstance(marks, list | tuple):
        marks = (rpdmark,)
    for each in marks:
        if not isinstance(each, Mark):
            raise CollectionError(f"{MODULE_MARKS}: expected a mark or a list of marks, got {each!r}")
    return tuple(marks)


def check_marks(
    marks: Sequence[Mark], registered: Mapping[str, str], *, strict: bool, case: bool = False
) -> None:
    """Raise CollectionError for a mark that is not registered (if ``strict``) or has wrong arguments.

    ``case``: the marks are those of one parameter set.
    """
    for mark in marks:
        if not isinstance(mark, Mark):
            raise CollectionError(f"expected a mark, got {mark!r}")
        if strict and mark.name not in registered:
            close = closest(mark.name, registered)
            meant = f"; did you mean {close!r}?" if close else ""
            raise CollectionError(f"{mark.name!r} not found in `markers` configuration option{meant}")
        if case and mark.name in _NEVER_IN_A_CASE:
            raise CollectionError(f"rpd.param cannot add rpd.mark.{mark.name}")
        # Arguments of parametrize are checked where they are used, and most jobs have no other mark.
        if mark.name != "parametrize":
            from rpd.collect.mark_arguments import check_arguments

            check_arguments(mark)


def used_fixtures(marks: Iterable[Mark]) -> tuple[str, ...]:
    """Return the names in ``usefixtures`` marks."""
    return tuple(str(name) for mark in marks if mark.name == "usefixtures" for name in mark.args)
