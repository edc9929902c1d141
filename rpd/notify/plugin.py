"""The plugin that sends notices, and never delays the run."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rpd.errors import RpdError
from rpd.events import Events
from rpd.hooks import PluginManager, hookimpl
from rpd.notify.message import LONGEST, Kind, Message
from rpd.notify.targets import DESKTOP, Target, target
from rpd.redaction import Redactor
from rpd.threads import started
from rpd.values.duration import format_duration
from rpd.values.report import NodeReport, Outcome, RunSummary
from rpd.values.safe_text import plain

BUDGET_SHARE = 0.8
LAST_SECONDS = 10.0
"""At the end of a run the notices that are still on their way get so long."""


class Notices:
    """Tells ``targets`` of the first failure, of a budget (USD) that is nearly spent, of the end and of pods left.

    Each target has a thread: one that hangs holds up no other, and no run. A failure to send is reported once.
    """

    def __init__(
        self, targets: Sequence[Target], *, redactor: Redactor, events: Events, budget: float | None
    ) -> None:
        self._redactor = redactor
        self._budget = budget
        self._lines = [_Line(target, events) for target in targets]
        self._lock = threading.Lock()
        self._sent: set[Kind] = set()
        self._usd: dict[str, float] = {}

    @hookimpl
    def rpd_node_report(self, report: NodeReport) -> None:
        """Tell of the first node that did not pass, and when most of the budget is spent."""
        with self._lock:
            self._usd[report.node.id] = report.cost.estimated_usd
            spent = sum(self._usd.values())
        result = report.result
        if not result.outcome.is_ok:
            cause = f" ({result.cause})" if result.cause else ""
            text = f"{report.node.id}{cause}: {result.reason or result.outcome}"
            self._tell(Kind.FAILED, f"rpd: a node {_past(result.outcome)}", text, node=report.node.id)
        if self._budget and spent >= BUDGET_SHARE * self._budget:
            text = f"${spent:.2f} of the run's budget of ${self._budget:.2f} is spent"
            self._tell(Kind.BUDGET, "rpd: most of the budget is spent", text, usd=round(spent, 4))

    @hookimpl(trylast=True)
    def rpd_run_finished(self, summary: RunSummary) -> None:
        """Announce outcome and remaining pods, and wait a little, behind the screen, for messages on their way."""
        counts = (
            ", ".join(f"{count} {each}" for each in Outcome if (count := summary.count(each)))
            or "nothing ran"
        )
        run = Path(summary.folder).name
        facts = {"run": run, "usd": round(summary.estimated_usd, 4), "seconds": round(summary.seconds, 1)}
        if summary.unreleased:
            pods = ", ".join(summary.unreleased)
            text = (
                f"Pods that could not be confirmed as released and may still bill: {pods}. rpd gc finds them."
            )
            self._tell(
                Kind.NOT_RELEASED, "rpd: a pod may still bill", text, **facts, pods=list(summary.unreleased)
            )
        if summary.leftover:
            text = f"Kept pods that still bill: {', '.join(summary.leftover)}. rpd stop deletes them."
            self._tell(Kind.KEPT, "rpd: a pod was kept", text, **facts, pods=list(summary.leftover))
        stopped = f" Stopped: {summary.stop_reason}." if summary.stop_reason else ""
        left = f", {summary.not_run} not run" if summary.not_run else ""
        took = format_duration(summary.seconds)
        text = f"{counts}{left} in {took}, ${summary.estimated_usd:.2f}.{stopped} Run {run}"
        self._tell(Kind.FINISHED, f"rpd: {counts}{left}", text, **facts)
        until = time.monotonic() + LAST_SECONDS
        for line in self._lines:
            line.close(until)

    def _tell(self, kind: Kind, title: str, text: str, **facts: object) -> None:
        with self._lock:
            if kind in self._sent:
                return
            self._sent.add(kind)
        cleaned = tuple((name, self._redactor.data(value)) for name, value in facts.items())
        message = Message(kind=kind, title=self._clean(title), text=self._clean(text), facts=cleaned)
        for line in self._lines:
            line.put(message)

    def _clean(self, text: str) -> str:
        # Once more after the control characters are gone: one in its middle could have hidden a secret.
        shown = self._redactor.text(plain(self._redactor.text(text)))
        return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def _past(outcome: Outcome) -> str:
    return "failed" if outcome is Outcome.FAILED else "ended in an error"


class _Line:
    """Sends to one target, one notice after the other, on a thread that ends with the process."""

    def __init__(self, target: Target, events: Events) -> None:
        self._target = target
        self._events = events
        self._waiting: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._has_failed = False
        self._thread: threading.Thread | None = None

    def put(self, message: Message) -> None:
        """Queue a message; start the sending thread at the first one."""
        self._waiting.put(message)
        if self._thread is None:
            self._thread = started(self._run, name=f"notices, {self._target.name}")

    def close(self, until: float) -> None:
        """Let it end, and wait for that until a moment of the monotonic clock."""
        self._waiting.put(None)
        if self._thread is None:
            return
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._say("did not answer in time")

    def _run(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                self._target.send(message)
            except RpdError as error:
                self._say(str(error))
            except Exception as error:  # noqa: BLE001 - whatever a library raises costs a notice and nothing else
                self._say(type(error).__name__)

    def _say(self, why: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._events.notice(text=f"--notify: a notice was not sent ({self._target.name}: {why})")


def add_notices(
    texts: Sequence[str], budget: float | None, manager: PluginManager, redactor: Redactor
) -> None:
    """Register the plugin that sends notices to the targets ``texts``. Raise UsageError."""
    if manager.is_blocked("notices"):
        return
    events = Events(manager)
    targets = []
    for text in texts:
        if text != DESKTOP:
            redactor.learn(text)  # who has the address can send to it
        chosen = target(text)
        if chosen is not None:
            targets.append(chosen)
        else:
            events.notice(
                text="--notify: the address is a secret, so a resumed run no longer has it: set RPD_NOTIFY"
            )
    notices = Notices(targets, redactor=redactor, events=events, budget=budget)
    manager.register(notices, "notices")
