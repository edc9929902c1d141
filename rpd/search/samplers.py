"""Samplers choose the next trial. A sampler has two methods: ``ask`` returns values, ``tell`` takes their result."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

from rpd.errors import RpdError, UsageError
from rpd.search.space import Space, Values
from rpd.search.trials import Trial


class Sampler(Protocol):
    """Proposes trials of one study. Called by one thread at a time."""

    def ask(self, number: int) -> Values | None:
        """Return values for trial ``number``, different ones if asked again; None if there are no more."""
        ...

    def tell(self, trial: Trial) -> None:
        """Take the result of a finished trial: a proposed one, or one of an earlier process or run."""
        ...


class CheckedSampler:
    """Another sampler, perhaps a user's, whose errors and whose values outside of the space are UsageErrors.

    ``study`` names the study in their messages.
    """

    def __init__(self, sampler: object, space: Space, study: str) -> None:
        """Raise UsageError for an object that is no sampler."""
        self._name = type(sampler).__name__
        self._space = space
        self._study = study
        if not callable(getattr(sampler, "ask", None)) or not callable(getattr(sampler, "tell", None)):
            raise UsageError(
                f"{study}: expected a sampler with the methods ask(number) and tell(trial), got {sampler!r}"
            )
        self._sampler = cast("Sampler", sampler)

    def ask(self, number: int) -> Values | None:
        with self._telling("ask"):
            values = self._sampler.ask(number)
        if values is None:
            return None
        try:
            return self._space.checked(values)
        except ValueError as error:
            raise UsageError(f"{self._study}: {self._name}.ask: {error}") from None

    def tell(self, trial: Trial) -> None:
        with self._telling("tell"):
            self._sampler.tell(trial)

    @contextmanager
    def _telling(self, method: str) -> Iterator[None]:
        try:
            yield
        except RpdError:
            raise
        except Exception as error:
            raise UsageError(
                f"{self._study}: {self._name}.{method}: {type(error).__name__}: {error}"
            ) from error


class RandomSampler:
    """Draws each trial from its number, so that a resumed study draws the same."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._drawing: tuple[int, random.Random] | None = None

    def ask(self, number: int) -> Values:
        if self._drawing is None or self._drawing[0] != number:
            self._drawing = (number, random.Random(f"{self._seed}:{number}"))
        return self._space.draw(self._drawing[1])

    def tell(self, trial: Trial) -> None:
        pass


class GridSampler:
    """Proposes every point in order; if there are more points than trials, a random part drawn by the seed."""

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        points = list(space.points())
        if trials < len(points):
            random.Random(seed).shuffle(points)
        self._points: Sequence[Values] = points
        self._asked: tuple[int, int] = (0, 0)

    def ask(self, number: int) -> Values | None:
        last, place = self._asked
        place = place + 1 if last == number else max(place, number - 1)
        self._asked = (number, place)
        return self._points[place] if place < len(self._points) else None

    def tell(self, trial: Trial) -> None:
        pass
