"""skip, skipif and xfail: their effect on a node before it runs and after it failed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import rpd
from rpd.errors import Cause
from rpd.execute.node.outcome_marks import apply_xfail, evaluate
from rpd.execute.node.verdict import PASSED, Verdict
from rpd.values.fixture import Closure
from rpd.values.job import Job
from rpd.values.mark import Mark
from rpd.values.node import Definition, Node
from rpd.values.report import Failure, Outcome

mark = rpd.mark
FAILED = Verdict(Outcome.FAILED, Cause.CODE, "ValueError: x", Failure(place="a.py:1"), ValueError("x"))


def make_node(*marks: Mark) -> Node:
    module = ModuleType("deploy_x")
    module.DEBUG = True  # type: ignore[attr-defined]
    definition = Definition(
        name="fit",
        file="deploy_x.py",
        line=1,
        function=lambda: None,
        job=Job(),
        argnames=(),
        closure=Closure(),
        keywords=frozenset(),
        module=module,
    )
    return Node(definition=definition, id="deploy_x.py::fit", marks=marks)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (mark.skip, "unconditional skip"),
        (mark.skip("broken"), "broken"),
        (mark.skip(reason="broken"), "broken"),
        (mark.skipif(True, reason="now"), "now"),
        (mark.skipif("DEBUG"), "condition: DEBUG"),
        (mark.skipif(condition="DEBUG and sys.version_info > (3,)", reason="why"), "why"),
        (mark.skipif(False, True, reason="one of them"), "one of them"),
    ],
)
def test_a_skipped_node(given: Any, reason: str) -> None:
    """The given reason is shown, or else the condition; conditions can use the module's names."""
    verdict = evaluate(make_node(given))
    assert verdict is not None
    assert (verdict.outcome, verdict.cause, verdict.reason) == (Outcome.SKIPPED, None, reason)


@pytest.mark.parametrize(
    "given",
    [
        (),
        (mark.slow,),
        (mark.skipif(False, reason="never"),),
        (mark.skipif("not DEBUG"),),
        (mark.xfail,),
        (mark.xfail(False, run=False, reason="x"),),
    ],
)
def test_a_node_that_runs(given: tuple[Mark, ...]) -> None:
    """Marks whose conditions do not hold, and an expected failure that may run, leave a node alone."""
    assert evaluate(make_node(*given)) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (mark.skipif, "mark skipif: needs a condition"),
        (mark.skipif(True), "mark skipif: needs reason=… when the condition is not a string"),
        (mark.skipif("NOPE"), "mark skipif: condition 'NOPE' raised NameError: name 'NOPE' is not defined"),
        (mark.xfail("1 / 0"), "mark xfail: its condition raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_wrong_condition_is_the_nodes_error(given: Mark, message: str) -> None:
    """It is reported as an error of that node; nothing is rented for it."""
    verdict = evaluate(make_node(given))
    assert verdict is not None
    assert (verdict.outcome, verdict.cause, verdict.reason) == (Outcome.ERROR, Cause.CODE, message)


def test_an_expected_failure_need_not_run() -> None:
    """With ``run=False`` the node is xfailed as it is; the first mark whose condition holds counts."""
    verdict = evaluate(make_node(mark.xfail("not DEBUG", run=True), mark.xfail(run=False, reason="hangs")))
    assert verdict == Verdict(Outcome.XFAILED, None, "[NOTRUN] hangs")


@pytest.mark.parametrize(
    ("given", "before", "outcome", "reason"),
    [
        (mark.xfail(reason="known"), FAILED, Outcome.XFAILED, "known"),
        (mark.xfail, FAILED, Outcome.XFAILED, "ValueError: x"),
        (mark.xfail(raises=ValueError), FAILED, Outcome.XFAILED, "ValueError: x"),
        (mark.xfail(raises=(KeyError, OSError)), FAILED, Outcome.FAILED, "ValueError: x"),
        (mark.xfail("not DEBUG"), FAILED, Outcome.FAILED, "ValueError: x"),
        (mark.xfail(reason="known"), PASSED, Outcome.XPASSED, "known"),
        (mark.xfail(reason="known", strict=True), PASSED, Outcome.FAILED, "[XPASS(strict)] known"),
        (mark.xfail, Verdict(Outcome.SKIPPED, None, "s"), Outcome.SKIPPED, "s"),
    ],
)
def test_what_xfail_makes_of_a_verdict(given: Mark, before: Verdict, outcome: Outcome, reason: str) -> None:
    """A failure of the expected kind is xfailed, a pass xpassed, or failed where it is strict."""
    after = apply_xfail(make_node(given), before)
    assert (after.outcome, after.reason) == (outcome, reason)
    if outcome is Outcome.XFAILED:
        assert after.cause is None
        assert after.failure is None


@pytest.mark.parametrize("cause", Cause)
def test_failures_of_the_platform_are_never_expected(cause: Cause) -> None:
    """Only failures of the job itself, its code, its time or its memory, can be expected."""
    after = apply_xfail(make_node(mark.xfail), Verdict(Outcome.ERROR, cause, "x"))
    own = cause in (Cause.CODE, Cause.TIMEOUT, Cause.OOM)
    assert after.outcome is (Outcome.XFAILED if own else Outcome.ERROR)
