"""Trials: their values, their scores, and their ranking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rpd.search.space import Values


class State(StrEnum):
    """How a trial ended, for the sampler."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A metric to be minimized or maximized."""

    metric: str
    is_max: bool = False

    def loss(self, value: float) -> float:
        """Return a number that is smaller the better a value is; NaN is worst."""
        if math.isnan(value):
            return math.inf
        return -value if self.is_max else value

    @property
    def word(self) -> str:
        """The direction in the words of the mark and of Optuna."""
        return "maximize" if self.is_max else "minimize"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial. ``scores`` has a value for each objective; for a pruned trial, its last ones.

    ``curve`` has its points of the first objective: step and value.
    """

    number: int
    values: Values
    state: State
    scores: tuple[float, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()
    usd: float = 0.0


def ranked(trials: Iterable[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the complete trials, best first; with several objectives, those that no other beats come first."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE and trial.scores]
    losses = {trial.number: _losses(trial, objectives) for trial in complete}
    if len(objectives) > 1:
        beaten = {
            number: sum(_beats(other, own) for other in losses.values()) for number, own in losses.items()
        }
        return sorted(complete, key=lambda trial: (beaten[trial.number], losses[trial.number]))
    return sorted(complete, key=lambda trial: (losses[trial.number], trial.number))


def front(trials: Iterable[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the complete trials that no other beats in every objective."""
    best = ranked(trials, objectives)
    losses = [_losses(trial, objectives) for trial in best]
    return [
        trial
        for trial, own in zip(best, losses, strict=True)
        if not any(_beats(other, own) for other in losses)
    ]


def _losses(trial: Trial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return tuple(objective.loss(score) for objective, score in zip(objectives, trial.scores, strict=True))


def _beats(first: Sequence[float], second: Sequence[float]) -> bool:
    return first != second and all(mine <= yours for mine, yours in zip(first, second, strict=True))
