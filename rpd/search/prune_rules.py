"""Pruning rules: they decide by its curve and those of others whether a running trial continues. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from statistics import median
from typing import Literal

from rpd.errors import DefinitionError
from rpd.search.trials import Objective

Unit = Literal["steps", "seconds", "dollars"]
UNITS: tuple[Unit, ...] = ("steps", "seconds", "dollars")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule as a deploy file declares it; ``start`` makes the judge of one study."""

    unit: Unit

    def start(self, objective: Objective) -> Pruner:
        """Return the judge of the trials of a study."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class HalvingRule(Rule):
    """Asynchronous successive halving."""

    first: float
    factor: int

    def start(self, objective: Objective) -> Pruner:
        return Halving(self, objective)

    def __str__(self) -> str:
        return f"halving(first={self.first:g}, factor={self.factor}, unit={self.unit!r})"


@dataclass(frozen=True, kw_only=True)
class MedianRule(Rule):
    """The rule that prunes a trial if it is worse than half of the others at the same point."""

    after: float
    trials: int

    def start(self, objective: Objective) -> Pruner:
        return Median(self, objective)

    def __str__(self) -> str:
        return f"median_rule(after={self.after:g}, trials={self.trials}, unit={self.unit!r})"


def halving(first: float, factor: int = 3, unit: Unit = "steps") -> Rule:
    """Prune by asynchronous successive halving. Raise DefinitionError.

    After ``first`` steps (seconds, dollars), and after each further multiple by ``factor``, one of ``factor``
    trials goes on.
    """
    _check("halving", "first", first, least=0.0)
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
        raise DefinitionError("halving", "factor", "expected a whole number >= 2", factor)
    _check_unit("halving", unit)
    return HalvingRule(first=float(first), factor=factor, unit=unit)


def median_rule(after: float, trials: int = 5, unit: Unit = "steps") -> Rule:
    """Prune a trial that is worse than the median of the others at the same point. Raise DefinitionError.

    The rule applies from ``after`` steps (seconds, dollars) on, once ``trials`` others have come as far.
    """
    _check("median_rule", "after", after, least=0.0)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise DefinitionError("median_rule", "trials", "expected a whole number >= 1", trials)
    _check_unit("median_rule", unit)
    return MedianRule(after=float(after), trials=trials, unit=unit)


def _check(word: str, name: str, value: object, *, least: float) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and least < value < math.inf
    if not good:
        raise DefinitionError(word, name, f"expected a number > {least:g}", value)


def _check_unit(word: str, unit: object) -> None:
    if unit not in UNITS:
        raise DefinitionError(word, "unit", f"expected one of {', '.join(UNITS)}", unit)


class Pruner:
    """Judges the trials of one study. Called by one thread at a time."""

    def report(self, trial: int, at: float, value: float) -> str | None:
        """Take a point of a trial's curve, ``at`` in the rule's unit.

        Return why the trial should end, None if it may continue.
        """
        raise NotImplementedError


class Halving(Pruner):
    """Asynchronous successive halving (ASHA): each rung keeps the best value a trial had there.

    One trial of ``factor`` continues.

    A trial is judged at every point after a rung, not only when it reaches it: early trials are compared with
    better ones that come later.
    """

    def __init__(self, rule: HalvingRule, objective: Objective) -> None:
        self._rule = rule
        self._objective = objective
        self._rungs: list[dict[int, float]] = []
        self._best: dict[int, float] = {}
        self._reached: dict[int, int] = {}
        """By trial: the number of rungs it has reached."""

    def report(self, trial: int, at: float, value: float) -> str | None:
        best = self._best[trial] = min(self._best.get(trial, math.inf), self._objective.loss(value))
        reached = self._reached.get(trial, 0)
        while at >= self._rule.first * self._rule.factor**reached:
            if reached == len(self._rungs):
                self._rungs.append({})
            self._rungs[reached].setdefault(trial, best)
            reached += 1
        self._reached[trial] = reached
        return self._judge(trial, reached - 1) if reached else None

    def _judge(self, trial: int, rung: int) -> str | None:
        others = self._rungs[rung]
        if len(others) < self._rule.factor:
            return None
        place = 1 + sum(loss < others[trial] for loss in others.values())
        if place <= max(1, round(len(others) / self._rule.factor)):
            return None
        where = _amount(self._rule.first * self._rule.factor**rung, self._rule.unit)
        return f"{_ordinal(place)} of {len(others)} at {where}, where one in {self._rule.factor} continues"


class Median(Pruner):
    """Compares the best value of a trial so far with the median of the others' best values at that point."""

    def __init__(self, rule: MedianRule, objective: Objective) -> None:
        self._rule = rule
        self._objective = objective
        self._ats: dict[int, list[float]] = {}
        self._bests: dict[int, list[float]] = {}

    def report(self, trial: int, at: float, value: float) -> str | None:
        ats, bests = self._ats.setdefault(trial, []), self._bests.setdefault(trial, [])
        best = min(bests[-1] if bests else math.inf, self._objective.loss(value))
        if ats and at < ats[-1]:  # a repeated point of the past
            return None
        ats.append(at)
        bests.append(best)
        if at < self._rule.after:
            return None
        others = [
            self._bests[rival][place - 1]
            for rival, other_ats in self._ats.items()
            if rival != trial and other_ats and other_ats[-1] >= at and (place := bisect_right(other_ats, at))
        ]
        if len(others) < self._rule.trials:
            return None
        middle = median(others)
        if best <= middle:
            return None
        return f"worse than half of {len(others)} others at {_amount(at, self._rule.unit)}"


def _amount(at: float, unit: Unit) -> str:
    if unit == "dollars":
        return f"${at:.2f}"
    return f"step {at:g}" if unit == "steps" else f"{at:.0f} seconds"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
