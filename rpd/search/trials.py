"""Trials: their values, their scores, and which is best."""

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
    """A metric to be made small, or large."""

    metric: str
    is_max: bool = False

    def loss(self, value: float) -> float:
        """Return a number that is less the better a value is; what is no number is worst."""
        if math.isnan(value):
            return math.inf
        return -value if self.is_max else value

    @property
    def word(self) -> str:
        """The direction as the mark and Optuna call it."""
        return "maximize" if self.is_max else "minimize"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial that is over. ``scores`` has a value for each objective; of a pruned one the last it came to.

    ``curve`` are its points of the first objective: step and value.
    """

    number: int
    values: Values
    state: State
    scores: tuple[float, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()
    usd: float = 0.0


def ranked(trials: Iterable[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the complete trials, the best first; with several objectives those that no other beats come first."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE and trial.scores]
    losses = {trial.number: _losses(trial, objectives) for trial in complete}
    if len(objectives) > 1:
        beaten = {
            number: sum(_beats(other, own) for other in losses.values()) for number, own in losses.items()
        }
        return sorted(complete, key=lambda trial: (beaten[trial.number], losses[trial.number]))
    return sorted(complete, key=lambda trial: (losses[trial.number], trial.number))


def front(trials: Iterable[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the complete trials that no other one beats in every objective."""
    best = ranked(trials, objectives)
    losses = [_losses(trial, objectives) for trial in best]
    return [
        trial
        for trial, own in zip(best, losses, strict=True)
        if not any(_beats(other, own) for other in losses)
    ]


def _losses(trial: Trial, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return tuple(objective.loss(score) for objective, score in zip(objectives, trial.scores, strict=True))


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(mine <= yours for mine, yours in zip(one, other, strict=True))
