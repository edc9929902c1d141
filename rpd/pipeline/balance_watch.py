"""The balance of the account, watched during a run: RunPod ends pods when it is used up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from rpd.errors import Cause, RpdError
from rpd.events import Events
from rpd.stop import Stop, StopLevel
from rpd.threads import Repeater
from rpd.values.duration import format_duration
from rpd.values.pod import Account
from rpd.values.report import NodeReport

WARN_SECONDS = 600.0
"""With credit for less time than this, at the account's present spending, a notice warns."""
TOP_UP = "https://console.runpod.io/user/billing"
_LEAVE_SECONDS = 2.0


class BalanceWatch:
    """Asks for the balance every ``seconds`` (0: never), on a thread that lives as long as the context.

    Tells once when the credit will soon be used up; when it is, nothing new starts. As a plugin it also asks when the
    pod of a node was lost, which may be why. Where the API does not tell the balance it asks no more; a call that
    fails says nothing and is left to the next.
    """

    def __init__(self, account: Callable[[], Account], *, stop: Stop, events: Events, seconds: float) -> None:
        self._account = account
        self._stop = stop
        self._events = events
        self._seconds = seconds
        self._warned = False
        self._asking = threading.Lock()
        self._watch = Repeater(self.look, seconds=seconds, name="rpd-balance", failed=self._tell_failed)

    def __enter__(self) -> BalanceWatch:
        if self._seconds > 0:
            self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop(wait=_LEAVE_SECONDS)  # a call that hangs must not hold the run up

    def _tell_failed(self, error: Exception) -> None:
        self._events.notice(f"cannot read the balance ({type(error).__name__}: {error}); trying again")

    def rpd_node_report(self, report: NodeReport) -> None:
        """Look before another node rents a pod."""
        if report.result.cause is Cause.LOST and self._seconds > 0:
            self.look()

    def look(self) -> bool:
        """Ask once and act on it; return whether it is worth asking again."""
        with self._asking:
            return self._stop.level is StopLevel.NONE and self._look()

    def _look(self) -> bool:
        try:
            account = self._account()
        except RpdError:
            return True  # it only observes: the next look may succeed
        balance, spend = account.balance_usd, account.spend_usd_per_hr
        if balance is None or self._watch.is_ending:
            return False
        if balance <= 0:
            self._stop.request(
                StopLevel.DRAIN,
                f"balance: the account has no credit left (${balance:.2f}): add credit at {TOP_UP}",
            )
            return False
        if spend and not self._warned and balance / spend * 3600 < WARN_SECONDS:
            self._warned = True
            left = format_duration(balance / spend * 3600)
            self._events.notice(
                f"the account has ${balance:.2f}, enough for {left} at ${spend:.2f} an hour: then RunPod stops its "
                f"pods. Add credit at {TOP_UP}"
            )
        return True
