"""Progress: how far a run has come."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rpd.errors import Cause
from rpd.terminal.styles import money
from rpd.values.duration import format_duration
from rpd.values.node import Definition, Node
from rpd.values.report import NodeReport, Outcome

_OK, _FAILED, _INTERRUPTED = "ok", "failed", "interrupted"
_REMEMBERED = 100
"""Nodes of a job whose durations an estimate rests on: the newest ones."""


@dataclass(slots=True)
class _Kind:
    """The nodes of one job function: how many wait, and the durations (s) and costs (USD) of finished ones."""

    waiting: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    usd: float = 0.0
    charged: int = 0

    def seconds_left(self, after: float = 0.0) -> float | None:
        """Return the seconds that a node still takes after ``after``; None if none took that long before."""
        longer = [seconds for seconds in self.seconds if seconds > after]
        return sum(longer) / len(longer) - after if longer else None


class Progress:
    """Counts the nodes of a plan, and foresees the end of their run from those that are over.

    ``ahead`` is how many may still join it at most; they are taken to be like those that are over.
    Times are seconds by one clock, money is USD. Not thread-safe.
    """

    def __init__(
        self,
        nodes: Sequence[Node] = (),
        *,
        ahead: int = 0,
        now: float = 0.0,
        worst_case_usd: float = 0.0,
        budget_usd: float | None = None,
    ) -> None:
        self._began = now
        self._limit = (
            f"worst case {money(worst_case_usd)}" if budget_usd is None else f"budget {money(budget_usd)}"
        )
        self._planned = len(nodes)
        self._ahead = ahead
        self._kinds: dict[Definition, _Kind] = {}
        for node in nodes:
            self._kind(node).waiting += 1
        self._running: dict[str, tuple[_Kind, float]] = {}
        self._over: dict[str, tuple[str, float]] = {}
        self._words: Counter[str] = Counter()
        self._is_cut = False
        self._foresees = True
        self.spent_usd = 0.0
        """What the nodes that are over cost."""

    def _kind(self, node: Node) -> _Kind:
        return self._kinds.setdefault(node.definition, _Kind())

    def add(self, node: Node) -> None:
        """Count a node that joined the plan."""
        self._planned += 1
        self._kind(node).waiting += not self._is_cut

    def expect(self, ahead: int) -> None:
        """Note that at most ``ahead`` more nodes will join the plan."""
        self._ahead = 0 if self._is_cut else ahead

    def begin(self, node: Node, now: float) -> None:
        """Count a node that has begun."""
        kind = self._kind(node)
        kind.waiting = max(0, kind.waiting - 1)
        self._running[node.id] = (kind, now)

    def end(self, node: Node, report: NodeReport, now: float) -> None:
        """Count a node that is over; a later report replaces the first."""
        word, usd = _word(report), report.cost.estimated_usd
        before = self._over.get(node.id)
        if before is not None:
            self._words[before[0]] -= 1
        self._over[node.id] = (word, usd)
        self._words[word] += 1
        more_usd = usd - (before[1] if before else 0.0)
        self.spent_usd += more_usd
        kind, since = self._running.pop(node.id, (None, now))
        kind = kind or self._kind(node)
        kind.usd += more_usd
        if before is None and report.result.outcome is not Outcome.SKIPPED:
            kind.seconds.append(now - since)
            kind.charged += 1

    def cut_short(self, *, is_ending: bool) -> None:
        """Note that nothing new starts; with ``is_ending`` running nodes do not finish either."""
        self._is_cut = True
        self._foresees = self._foresees and not is_ending
        self._ahead = 0
        for kind in self._kinds.values():
            kind.waiting = 0

    @property
    def total(self) -> int:
        """How many nodes there are, with those that may still join."""
        return self._planned + self._ahead

    @property
    def done(self) -> int:
        """How many nodes are over."""
        return len(self._over)

    @property
    def failed(self) -> int:
        """How many of them did not pass, without those that were interrupted."""
        return self._words[_FAILED]

    @property
    def waiting(self) -> int:
        """How many nodes were not taken up yet."""
        return max(0, self.total - len(self._running) - self.done)

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the end of the run if nodes take as long as before; None if unknown.

        Assume as many parallel nodes as now: shared pods and the end of a plan leave less than its width.
        """
        every = [seconds for kind in self._kinds.values() for seconds in kind.seconds]
        if not every or not self._foresees:
            return None
        mean = sum(every) / len(every)
        work = longest = 0.0
        for kind, since in self._running.values():
            left = kind.seconds_left(now - since)
            left = max(0.0, mean - (now - since)) if left is None else left
            work, longest = work + left, max(longest, left)
        for kind in self._kinds.values():
            if kind.waiting:
                each = kind.seconds_left() or mean
                work, longest = work + each * kind.waiting, max(longest, each)
        work += mean * self._ahead
        return max(work / max(1, len(self._running)), longest) or None

    def usd_in_all(self, running_usd: float) -> float | None:
        """Return the total cost of the run if nodes cost as much as before; None if unknown."""
        charged = sum(kind.charged for kind in self._kinds.values())
        if not charged or not self._foresees:
            return None
        mean = self.spent_usd / charged
        of_running = sum(_mean_usd(kind, mean) for kind, _ in self._running.values())
        of_waiting = sum(kind.waiting * _mean_usd(kind, mean) for kind in self._kinds.values())
        return self.spent_usd + max(running_usd, of_running) + of_waiting + mean * self._ahead

    # --- for people -------------------------------------------------------------------------------------------------

    def counts(self, now: float) -> str:
        """Return ``56 of 500 done, 6 failed, 32 running, 412 waiting · 12m04s, about 1h40m left``."""
        parts = [f"{self.done} of {self.total} done"]
        for number, word in (
            (self.failed, _FAILED),
            (self._words[_INTERRUPTED], _INTERRUPTED),
            (len(self._running), "running"),
            (self.waiting, "left out" if self._is_cut else "waiting"),
        ):
            parts += [f"{number} {word}"] if number else []
        left = self.seconds_left(now)
        ahead = "" if left is None else f", about {rough(left)} left"
        return f"{', '.join(parts)} · {elapsed(now - self._began)}{ahead}"

    def money(self, *, running_usd: float, usd_per_hr: float) -> str:
        """Return ``$3.21 so far, $9.60/h, about $28.40 in all, budget $20.00``."""
        parts = [f"{money(self.spent_usd + running_usd)} so far"]
        parts += [f"{money(usd_per_hr)}/h now"] if usd_per_hr else []
        in_all = self.usd_in_all(running_usd)
        if in_all is not None and self.done < self.total:
            parts.append(f"about {money(in_all)} in all".replace("about <", "<"))
        return ", ".join([*parts, self._limit])


def _word(report: NodeReport) -> str:
    result = report.result
    if result.outcome.is_ok:
        return _OK
    return _INTERRUPTED if result.cause is Cause.INTERRUPTED else _FAILED


def _mean_usd(kind: _Kind, otherwise: float) -> float:
    return kind.usd / kind.charged if kind.charged else otherwise


def elapsed(seconds: float) -> str:
    """Return a duration in progress: whole seconds at least, so that it does not flicker."""
    return f"{seconds:.0f}s" if seconds < 9.5 else format_duration(max(seconds, 10))


def rough(seconds: float) -> str:
    """Return an estimate with no more digits than it deserves: ``40s``, ``12m``, ``1h40m``."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))}s"
    if seconds < 3600 - 30:
        return f"{round(seconds / 60)}m"
    minutes = 5 * round(seconds / 300)
    return f"{minutes // 60}h{minutes % 60:02d}m"
