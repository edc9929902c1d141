"""Arguments of rpd's own marks, checked before anything is rented."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rpd.errors import CollectionError, DefinitionError
from rpd.values.duration import parse_duration
from rpd.values.frozen import field_names
from rpd.values.job import Budget, Gpu
from rpd.values.job_marks import budget_of_mark, gpu_of_mark
from rpd.values.mark import Mark
from rpd.values.number_bounds import MOST_GPUS, check_whole
from rpd.values.retry import CAUSES, RetryPolicy
from rpd.values.suggestions import closest


def check_arguments(mark: Mark) -> None:
    """Raise CollectionError for invalid arguments of rpd's marks; other marks take any."""
    check = _CHECKS.get(mark.name)
    if check is not None:
        check(mark)


def _check_retry(mark: Mark) -> None:
    _check_names(mark, CAUSES)
    RetryPolicy.of_mark(mark)


def _check_slots(mark: Mark) -> None:
    _check_names(mark, ("gpu",))
    values = (*mark.args, *mark.kwargs.values())
    if len(values) > 1:
        raise DefinitionError("rpd.mark.slots", "", "expected one number of GPUs", values)
    for value in values:
        try:
            check_whole(value, least=1, most=MOST_GPUS)
        except ValueError as error:
            raise DefinitionError("rpd.mark.slots", "gpu", str(error), value) from None


def _check_gpu(mark: Mark) -> None:
    _check_names(mark, field_names(Gpu)[1:])
    gpu_of_mark(mark)


def _check_budget(mark: Mark) -> None:
    _check_names(mark, field_names(Budget))
    if not mark.kwargs:
        raise DefinitionError("rpd.mark.budget", "", "expected limits by name (cost_cap_usd=…)", mark.args)
    budget_of_mark(mark, Budget())


def _check_timeout(mark: Mark) -> None:
    _check_names(mark, ("job", "silent"))
    values = (*mark.args, *mark.kwargs.values())
    try:
        for value in values:
            parse_duration(value)
    except ValueError as error:
        raise CollectionError(f"rpd.mark.timeout: {error}, got {value!r}") from None
    if not values or len(mark.args) + ("job" in mark.kwargs) > 1:
        raise CollectionError(f"rpd.mark.timeout: expected one duration, got {len(values)}")


def _check_needs(mark: Mark) -> None:
    _check_names(mark, ("all",))
    if not mark.args:
        raise DefinitionError(
            "rpd.mark.needs", "", "expected the jobs that are needed: needs(train)", mark.args
        )
    for job in mark.args:
        if not isinstance(job, str) and (isinstance(job, type | Mark) or not callable(job)):
            raise DefinitionError("rpd.mark.needs", "", "expected a job function, or the name of one", job)
    if not isinstance(mark.kwargs.get("all", False), bool):
        raise DefinitionError("rpd.mark.needs", "all", "expected True or False", mark.kwargs["all"])


def _check_usefixtures(mark: Mark) -> None:
    for name in mark.args:
        if not isinstance(name, str):
            raise CollectionError(f"rpd.mark.usefixtures: expected names of fixtures, got {name!r}")


def _check_skip(mark: Mark) -> None:
    _check_names(mark, ("reason",))
    if len(mark.args) + len(mark.kwargs) > 1:
        raise DefinitionError(
            "rpd.mark.skip", "", "expected one reason", mark.args, hint="A condition: skipif"
        )
    for reason in (*mark.args, *mark.kwargs.values()):
        _check_reason(mark, reason)


def _check_skipif(mark: Mark) -> None:
    _check_names(mark, ("condition", "reason"))
    _check_conditions(mark)
    if not mark.args and "condition" not in mark.kwargs:
        raise CollectionError("rpd.mark.skipif: expected a condition; without one write rpd.mark.skip")
    _check_reason(mark, mark.kwargs.get("reason", ""))


def _check_xfail(mark: Mark) -> None:
    _check_names(mark, ("condition", "reason", "run", "raises", "strict"))
    _check_conditions(mark)
    _check_reason(mark, mark.kwargs.get("reason", ""))
    for name in ("run", "strict"):
        if not isinstance(mark.kwargs.get(name, False), bool):
            raise DefinitionError("rpd.mark.xfail", name, "expected True or False", mark.kwargs[name])
    raises = mark.kwargs.get("raises")
    for kind in raises if isinstance(raises, tuple) else () if raises is None else (raises,):
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise DefinitionError(
                "rpd.mark.xfail", "raises", "expected an exception or a tuple of them", kind
            )


def _check_conditions(mark: Mark) -> None:
    """Check that conditions in strings are expressions; they are evaluated only when the node is about to run."""
    if mark.args and "condition" in mark.kwargs:
        raise CollectionError(f"rpd.mark.{mark.name}: expected a condition by name or by position, got both")
    for condition in (*mark.args, *filter(None, [mark.kwargs.get("condition")])):
        if not isinstance(condition, str):
            continue
        try:
            compile(condition.strip(), "<condition>", "eval")
        except (SyntaxError, ValueError) as error:
            raise DefinitionError(
                f"rpd.mark.{mark.name}",
                "",
                f"expected a Python expression as condition ({error.args[0]})",
                condition,
                hint="A reason goes by its name: reason=…",
            ) from None


def _check_reason(mark: Mark, reason: object) -> None:
    if reason is not None and not isinstance(reason, str):
        hint = "A condition: skipif" if mark.name == "skip" else ""
        raise DefinitionError(f"rpd.mark.{mark.name}", "reason", "expected a string", reason, hint=hint)


def _check_names(mark: Mark, allowed: Sequence[str]) -> None:
    for name in mark.kwargs:
        if name not in allowed:
            close = closest(name, allowed)
            meant = f"; did you mean {close}=…?" if close else ""
            raise CollectionError(
                f"rpd.mark.{mark.name}: expected {_listed(allowed)}, got {name}={mark.kwargs[name]!r}{meant}"
            )


def _listed(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


_CHECKS: Mapping[str, Callable[[Mark], Any]] = {
    "budget": _check_budget,
    "gpu": _check_gpu,
    "needs": _check_needs,
    "retry": _check_retry,
    "skip": _check_skip,
    "skipif": _check_skipif,
    "slots": _check_slots,
    "timeout": _check_timeout,
    "usefixtures": _check_usefixtures,
    "xfail": _check_xfail,
}
