"""The verdict: the outcome of a node so far."""

from __future__ import annotations

from rpd.errors import Cause
from rpd.values.frozen import frozen
from rpd.values.report import Failure, Outcome


@frozen(kw_only=False)
class Verdict:
    """Outcome, cause, one line of reason, details for a person, and the exception behind it."""

    outcome: Outcome
    cause: Cause | None = None
    reason: str = ""
    failure: Failure | None = None
    error: BaseException | None = None


PASSED = Verdict(Outcome.PASSED)
