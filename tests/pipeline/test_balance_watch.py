"""The balance during a run: who is notified, when, and what is stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from rpd.errors import AuthError, Cause, TransientError
from rpd.pipeline.balance_watch import BalanceWatch
from rpd.stop import Stop, StopLevel
from rpd.values.pod import Account
from rpd.values.report import NodeRecord, NodeReport, Outcome, Result
from tests.heard import Heard


def account(balance: float | None, spend: float | None = 6.0) -> Account:
    return Account(id="me", balance_usd=balance, spend_usd_per_hr=spend)


class Watched:
    """A watch over prepared answers, with its notices and its requests to stop."""

    def __init__(self, answers: Iterable[Account | Exception]) -> None:
        self.answers = iter(answers)
        self.stop = Stop()
        self.notices: list[str] = []
        self.watch = BalanceWatch(self.ask, stop=self.stop, events=Heard(self.notices), seconds=0.001)

    def ask(self) -> Account:
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_little_credit_is_told_once() -> None:
    """With credit for less than ten minutes the user gets one notice, with the remaining time; nothing stops."""
    watched = Watched([account(1.01), account(0.99), account(0.5)])
    assert [watched.watch.look() for _ in range(3)] == [True, True, True]
    [notice] = watched.notices
    assert "$0.99, enough for 9m54s at $6.00 an hour" in notice
    assert watched.stop.level is StopLevel.NONE


@pytest.mark.parametrize("balance", [0.0, -0.02])
def test_without_credit_nothing_new_starts(balance: float) -> None:
    """At zero or below the run drains, and says that the balance is why."""
    watched = Watched([account(balance)])
    assert not watched.watch.look()
    assert watched.stop.level is StopLevel.DRAIN
    assert watched.stop.reason.startswith("balance: the account has no credit left ($")


@pytest.mark.parametrize("spend", [0.0, None])
def test_an_account_that_spends_nothing_is_fine(spend: float | None) -> None:
    """While nothing is rented any credit will do."""
    watched = Watched([account(0.01, spend)])
    assert watched.watch.look()
    assert watched.notices == []


def test_where_the_balance_is_not_told_nobody_asks_again() -> None:
    """An API that does not know the balance is asked once."""
    assert not Watched([account(None)]).watch.look()


@pytest.mark.parametrize("error", [TransientError("502"), AuthError("no")])
def test_a_failed_call_says_nothing(error: Exception) -> None:
    """A hiccup neither stops the run nor ends the watch."""
    watched = Watched([error])
    assert watched.watch.look()
    assert (watched.stop.level, watched.notices) == (StopLevel.NONE, [])


def test_the_thread_ends_with_the_run() -> None:
    """It asks repeatedly during the run, and is gone when the run is over."""
    asked = threading.Semaphore(0)

    def ask() -> Account:
        asked.release()
        return account(100.0)

    heard = Heard()
    with BalanceWatch(ask, stop=Stop(), events=heard, seconds=0.001):
        for _ in range(3):
            assert asked.acquire(timeout=10)
    assert heard.notices == []
    assert "rpd-balance" not in [thread.name for thread in threading.enumerate()]


def lost(cause: Cause | None) -> NodeReport:
    """Return the report of a node that ended so."""
    return NodeReport(
        node=NodeRecord(id="deploy_a.py::fit", job="fit", file="deploy_a.py", line=1),
        result=Result(outcome=Outcome.ERROR if cause else Outcome.PASSED, cause=cause),
    )


@pytest.mark.parametrize(
    ("cause", "level"), [(Cause.LOST, StopLevel.DRAIN), (Cause.INFRA, StopLevel.NONE), (None, StopLevel.NONE)]
)
def test_a_lost_pod_makes_it_look(cause: Cause | None, level: StopLevel) -> None:
    """Before the next node rents a pod it is known whether the credit is why one was lost."""
    watched = Watched([account(0.0)])
    watched.watch.rpd_node_report(lost(cause))
    assert watched.stop.level is level


def test_it_can_be_switched_off() -> None:
    """With an interval of zero RunPod is not asked."""
    with BalanceWatch(pytest.fail, stop=Stop(), events=Heard(), seconds=0):
        assert "rpd-balance" not in [thread.name for thread in threading.enumerate()]
