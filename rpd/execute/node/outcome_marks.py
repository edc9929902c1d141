"""The marks that decide an outcome: skip, skipif and xfail, judged here before any pod is asked for."""

from __future__ import annotations

import os
import sys
from typing import Any

from rpd.errors import Cause, ProviderError, ProvisioningError, ReleaseError
from rpd.execute.node.verdict import Verdict
from rpd.values.frozen import replace
from rpd.values.mark import Mark
from rpd.values.node import Node
from rpd.values.printable import tellable
from rpd.values.report import Failure, Outcome


def evaluate(node: Node) -> Verdict | None:
    """Return the verdict on a node that need not run: skipped, expected to fail with ``run=False``, or a wrong mark."""
    if not node.marks:
        return None
    for mark in node.marks_named("skip"):
        return Verdict(Outcome.SKIPPED, None, _reason(mark, 0) or "unconditional skip")
    for mark in node.marks_named("skipif"):
        verdict = _judge_skipif(node, mark)
        if verdict is not None:
            return verdict
    expected = _expected_failure(node)
    if isinstance(expected, Verdict):
        return expected
    if expected is not None and not expected.kwargs.get("run", True):
        return Verdict(Outcome.XFAILED, None, f"[NOTRUN] {_xfail_reason(expected)}".strip())
    return None


def apply_xfail(node: Node, verdict: Verdict) -> Verdict:
    """Return ``verdict`` under the ``xfail`` marks of the node: errors of a job or a user's fixture are expected.

    Errors of the platform never are: provisioning, infrastructure, budget.
    """
    expected = _expected_failure(node) if node.marks else None
    if not isinstance(expected, Mark) or verdict.outcome in (Outcome.SKIPPED, Outcome.PRUNED):
        return verdict
    reason = _xfail_reason(expected)
    if verdict.outcome is Outcome.PASSED:
        if expected.kwargs.get("strict", False):
            return Verdict(Outcome.FAILED, Cause.CODE, f"[XPASS(strict)] {reason}".strip())
        return Verdict(Outcome.XPASSED, None, reason)
    raises = expected.kwargs.get("raises")
    is_its_own = verdict.cause in (Cause.CODE, Cause.TIMEOUT, Cause.OOM)
    is_platforms = isinstance(verdict.error, ProviderError | ProvisioningError | ReleaseError)
    if not is_its_own or is_platforms or (raises is not None and not isinstance(verdict.error, raises)):
        return verdict
    return replace(
        verdict, outcome=Outcome.XFAILED, cause=None, reason=reason or verdict.reason, failure=None
    )


def _judge_skipif(node: Node, mark: Mark) -> Verdict | None:
    conditions = [mark.kwargs["condition"]] if "condition" in mark.kwargs else mark.args
    if not conditions:
        return _wrong(node, mark, "needs a condition")
    for condition in conditions:
        try:
            holds = _holds(node, condition)
        except Exception as error:  # noqa: BLE001 - any mistake in a user's condition is the node's error
            what = f"condition {tellable(condition)!r} raised {type(error).__name__}: {error}"
            return _wrong(node, mark, what, condition)
        if holds and not isinstance(condition, str) and not mark.kwargs.get("reason"):
            return _wrong(node, mark, "needs reason=… when the condition is not a string")
        if holds:
            return Verdict(Outcome.SKIPPED, None, mark.kwargs.get("reason") or f"condition: {condition}")
    return None


def _expected_failure(node: Node) -> Mark | Verdict | None:
    """Return the first xfail mark that applies, or a verdict on a wrong one."""
    for mark in node.marks_named("xfail"):
        conditions = [mark.kwargs["condition"]] if "condition" in mark.kwargs else mark.args
        if not conditions:
            return mark
        for condition in conditions:
            try:
                if _holds(node, condition):
                    return mark
            except Exception as error:  # noqa: BLE001 - any mistake in a user's condition is the node's error
                what = f"its condition raised {type(error).__name__}: {error}"
                return _wrong(node, mark, what, condition)
    return None


def _holds(node: Node, condition: Any) -> bool:
    if not isinstance(condition, str):
        return bool(condition)
    import platform  # few marks have a condition that is a text

    names = {"os": os, "sys": sys, "platform": platform, **vars(node.definition.module or object)}
    return bool(eval(condition, names))  # noqa: S307 - the user's own code, as in pytest


def _wrong(node: Node, mark: Mark, what: str, condition: Any = None) -> Verdict:
    """Return the verdict on a mark that cannot be judged; ``condition`` is the one at fault."""
    place = str(node.definition.location)
    written = f"rpd.mark.{mark.name}({'' if condition is None else repr(tellable(condition))})"
    failure = Failure(place=place, source_line=written, traceback=(place, f"    {written}"))
    return Verdict(Outcome.ERROR, Cause.CODE, f"mark {mark.name}: {what}", failure)


def _reason(mark: Mark, position: int) -> str:
    reason = mark.kwargs.get("reason", mark.args[position] if len(mark.args) > position else "")
    return str(reason or "")


def _xfail_reason(mark: Mark) -> str:
    return str(mark.kwargs.get("reason") or "")
