"""Optuna's samplers behind the Sampler protocol. Its study is in memory, rebuilt from the trials of a run."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rpd.errors import UsageError
from rpd.search.space import Choice, Integers, Space, Uniform, Values
from rpd.search.trials import Objective, State, Trial

if TYPE_CHECKING:
    import optuna

NAMES = ("tpe", "cma-es", "gp")
"""Names that a mark may use for them."""
INSTALL = "pip install 'rpd[search]'"


def is_installed() -> bool:
    """Return whether Optuna is installed, without importing it."""
    from importlib.util import find_spec

    return find_spec("optuna") is not None


def is_sampler(value: object) -> bool:
    """Return whether ``value`` is one of Optuna's samplers."""
    return any(kind.__module__.startswith("optuna.samplers") for kind in type(value).__mro__)


class OptunaSampler:
    """Asks a study of Optuna. ``sampler`` is a name, or one of Optuna's samplers, which is copied."""

    def __init__(self, space: Space, objectives: Sequence[Objective], sampler: str | Any, seed: int) -> None:
        """Make the study. Raise UsageError if Optuna or a package of the sampler is not installed."""
        try:
            import optuna
        except ImportError as error:
            raise UsageError(f"the sampler {sampler!r} is one of Optuna's: {INSTALL} ({error})") from None
        self._optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._has_curve = len(objectives) == 1
        self._distributions = {name: _distribution(dimension) for name, dimension in space.dimensions.items()}
        self._study = optuna.create_study(
            directions=[objective.word for objective in objectives],
            sampler=_made(sampler, seed) if isinstance(sampler, str) else copy.deepcopy(sampler),
        )
        self._open: dict[int, optuna.Trial] = {}

    def ask(self, number: int) -> Values:
        earlier = self._open.pop(number, None)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # warnings that a sampler is experimental, or leaves a dimension to another one
            if earlier is not None:  # asked again: those values were tried before
                self._study.tell(earlier, state=self._optuna.trial.TrialState.FAIL)
            trial = self._open[number] = self._study.ask(self._distributions)
        return self._space.decode(
            {name: _plain(self._space.dimensions[name], trial.params[name]) for name in self._distributions}
        )

    def tell(self, trial: Trial) -> None:
        states = self._optuna.trial.TrialState
        state = {State.COMPLETE: states.COMPLETE, State.PRUNED: states.PRUNED, State.FAILED: states.FAIL}[
            trial.state
        ]
        scores = list(trial.scores) if state is states.COMPLETE else None
        points = dict(trial.curve) if self._has_curve else {}
        open_trial = self._open.pop(trial.number, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if open_trial is None:
                self._study.add_trial(self._past(trial, state, scores, points))
                return
            for step, value in points.items():
                open_trial.report(value, int(step))
            self._study.tell(open_trial, scores, state=state)

    def _past(self, trial: Trial, state: Any, scores: Any, points: dict[float, float]) -> Any:
        """Return Optuna's trial for one of an earlier process or run."""
        return self._optuna.trial.create_trial(
            state=state,
            values=scores,
            params=self._space.encode(trial.values),
            distributions=self._distributions,
            intermediate_values={int(step): value for step, value in points.items()},
        )

    def importances(self) -> dict[str, float]:
        """Return the importance of each argument for the first objective, adding up to 1.

        Empty if Optuna has none.
        """
        first = None if self._has_curve else (lambda trial: trial.values[0])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return dict(self._optuna.importance.get_param_importances(self._study, target=first))
        except (
            ValueError,
            RuntimeError,
            ImportError,
        ):  # too few trials, all alike, or scikit-learn is missing
            return {}


def _made(name: str, seed: int) -> Any:
    """Return the sampler of that name. Raise UsageError if a package that it needs is not installed."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if name == "tpe":
                # constant_liar: trials run in parallel, and running ones must not be proposed twice.
                return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            if name == "cma-es":
                import_module("cmaes")
                return optuna.samplers.CmaEsSampler(seed=seed)
            import_module("scipy")
            import_module("torch")
            return optuna.samplers.GPSampler(seed=seed)
        except ImportError as error:
            raise UsageError(
                f"Optuna's sampler {name!r} needs {error.name}: pip install {error.name}"
            ) from None


def _distribution(dimension: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match dimension:
        case Uniform():
            return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
        case Integers():
            return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
        case Choice():
            return CategoricalDistribution(list(range(len(dimension.values))))
    raise AssertionError(dimension)


def _plain(dimension: Any, value: Any) -> Any:
    return float(value) if isinstance(dimension, Uniform) else int(value)
