"""A study as a deploy file declares it: the mark ``search``, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rpd.errors import DefinitionError, RpdError, UsageError
from rpd.search import optuna
from rpd.search.prune_rules import HalvingRule, MedianRule, Rule
from rpd.search.samplers import GridSampler, RandomSampler, Sampler
from rpd.search.space import Space, make_space
from rpd.search.trials import Objective
from rpd.values.job import Gpu
from rpd.values.mark import Mark
from rpd.values.suggestions import closest

MARK = "search"
_OWNER = "rpd.mark.search"
_OPTIONS = ("minimize", "maximize", "trials", "sampler", "search_seed", "prune", "confirm", "top")
_NAMES = ("auto", "random", "grid", *optuna.NAMES)
TRIALS = 20
"""The default number of trials."""
MOST_TRIALS = 100_000
MOST_POINTS = 100_000
"""Largest finite space that a grid enumerates."""

Factory = Callable[[Space, Sequence[Objective], int], Sampler]


@dataclass(frozen=True, kw_only=True)
class Study:
    """The space, objectives and method of a study.

    ``sampler`` is a name, one of Optuna's samplers, or a function that makes a sampler from space, objectives
    and seed.
    """

    space: Space
    objectives: tuple[Objective, ...]
    trials: int
    sampler: Any
    seed: int = 0
    prune: Rule | None = None
    confirm: Gpu | None = None
    top: int = 0

    @property
    def objective(self) -> Objective:
        """The first objective, which pruning looks at."""
        return self.objectives[0]

    @property
    def sampler_name(self) -> str:
        """The name of the sampler for people and files."""
        return self.sampler if isinstance(self.sampler, str) else type(self.sampler).__name__

    def make_sampler(self, seed_offset: int = 0) -> Sampler:
        """Return the sampler; ``seed_offset`` keeps a continued study from repeating its proposals.

        Raise UsageError if a package is missing.
        """
        match self.sampler:
            case "random":
                return RandomSampler(self.space, self.seed)
            case "grid":
                return GridSampler(self.space, self.seed, self.trials)
            case str() as name:
                return optuna.OptunaSampler(self.space, self.objectives, name, self.seed + seed_offset)
            case sampler if optuna.is_sampler(sampler):
                return optuna.OptunaSampler(self.space, self.objectives, sampler, self.seed)
            case factory:
                try:
                    made: Sampler = factory(self.space, self.objectives, self.seed + seed_offset)
                except RpdError:
                    raise
                except Exception as error:
                    name = getattr(factory, "__qualname__", str(factory))
                    raise UsageError(f"sampler {name}: {type(error).__name__}: {error}") from error
                return made

    def document(self) -> dict[str, Any]:
        """Return the study as JSON, for the record of a run."""
        return {
            "space": self.space.document(),
            "objectives": [{"metric": each.metric, "direction": each.word} for each in self.objectives],
            "sampler": self.sampler_name,
            "seed": self.seed,
            "trials": self.trials,
            "prune": str(self.prune) if self.prune else "",
            "confirm": str(self.confirm) if self.confirm else "",
            "top": self.top,
        }


def study_of(mark: Mark, *, trials: int | None = None, seed: int | None = None) -> Study:
    """Return the study of a mark, with the overrides of the command line. Raise DefinitionError."""
    options, space = _split(mark)
    objectives = _objectives(options)
    sampler = _sampler(options.get("sampler", "auto"), several=len(objectives) > 1)
    prune = options.get("prune")
    if prune is not None and not isinstance(prune, HalvingRule | MedianRule):
        raise DefinitionError(_OWNER, "prune", "expected rpd.halving(…) or rpd.median_rule(…)", prune)
    if prune is not None and len(objectives) > 1:
        raise DefinitionError(
            _OWNER, "prune", "expected one objective where trials are pruned", len(objectives)
        )
    study = Study(
        space=space,
        objectives=objectives,
        trials=_count("trials", options.get("trials", _usual(space, sampler)), most=MOST_TRIALS),
        sampler=sampler,
        seed=_count("search_seed", options.get("search_seed", 0), least=0, most=2**31),
        prune=prune,
        **_confirmation(options),
    )
    study = replace(study, trials=study.trials if trials is None else trials)
    study = replace(study, seed=study.seed if seed is None else seed)
    _check_points(study)
    return study if space.size is None else replace(study, trials=min(study.trials, space.size))


def _split(mark: Mark) -> tuple[Mapping[str, Any], Space]:
    """Return the options of a mark and its space; arguments named like an option must be in a dict."""
    if len(mark.args) > 1 or (mark.args and not isinstance(mark.args[0], Mapping)):
        raise DefinitionError(
            _OWNER, "", "expected arguments by name (lr=rpd.log_uniform(…)), or one dict", mark.args
        )
    named = dict(mark.args[0]) if mark.args else {}
    options = {name: mark.kwargs[name] for name in _OPTIONS if name in mark.kwargs}
    others = {name: value for name, value in mark.kwargs.items() if name not in _OPTIONS}
    for name in others:
        close = closest(name, _OPTIONS, likeness=0.8)
        if close and name not in named and isinstance(others[name], str | int | float | list | tuple):
            raise DefinitionError(_OWNER, name, f"did you mean {close}=…?", others[name])
    return options, make_space({**named, **others})


def _objectives(options: Mapping[str, Any]) -> tuple[Objective, ...]:
    objectives = []
    for word, is_max in (("minimize", False), ("maximize", True)):
        names_of_metrics = options.get(word, ())
        metrics = (names_of_metrics,) if isinstance(names_of_metrics, str) else names_of_metrics
        if not isinstance(metrics, list | tuple) or not all(
            isinstance(each, str) and each for each in metrics
        ):
            raise DefinitionError(_OWNER, word, "expected the name of a metric, or several", names_of_metrics)
        objectives += [Objective(metric=metric, is_max=is_max) for metric in metrics]
    if not objectives:
        raise DefinitionError(_OWNER, "", 'expected a metric to aim at: minimize="loss"', dict(options))
    names = [objective.metric for objective in objectives]
    if len(set(names)) < len(names):
        raise DefinitionError(_OWNER, "minimize", "expected each metric once", names)
    return tuple(objectives)


def _sampler(sampler: object, *, several: bool) -> Any:
    """Return the sampler, with ``auto`` resolved: Optuna's TPE if it is installed, else random."""
    if isinstance(sampler, str):
        if sampler not in _NAMES:
            close = closest(sampler, _NAMES)
            meant = f"; did you mean {close!r}?" if close else ""
            raise DefinitionError(_OWNER, "sampler", f"expected one of {', '.join(_NAMES)}{meant}", sampler)
        if sampler == "auto":
            return "tpe" if optuna.is_installed() else "random"
        if several and sampler == "cma-es":
            raise DefinitionError(
                _OWNER, "sampler", "expected one that takes several objectives (tpe, gp)", sampler
            )
        return sampler
    if optuna.is_sampler(sampler) or callable(sampler):
        return sampler
    hint = "A function gets the space, the objectives and the seed, and returns an object with ask and tell"
    raise DefinitionError(
        _OWNER, "sampler", "expected a name, a sampler of Optuna or a function", sampler, hint=hint
    )


def _usual(space: Space, sampler: Any) -> int:
    return space.size if sampler == "grid" and space.size is not None else TRIALS


def _check_points(study: Study) -> None:
    if study.sampler != "grid":
        return
    if study.space.size is None:
        names = [name for name, dimension in study.space.dimensions.items() if dimension.size is None]
        hint = "Write rpd.choice([…]) or rpd.integers(…), or take another sampler"
        raise DefinitionError(_OWNER, "sampler", "expected finitely many values for a grid", names, hint=hint)
    if study.space.size > MOST_POINTS:
        raise DefinitionError(
            _OWNER, "sampler", f"expected a grid of at most {MOST_POINTS:,} points", study.space.size
        )


def _confirmation(options: Mapping[str, Any]) -> dict[str, Any]:
    confirm, top = options.get("confirm"), options.get("top")
    if confirm is None and top is None:
        return {}
    if isinstance(confirm, str):
        confirm = Gpu(confirm)
    if not isinstance(confirm, Gpu):
        raise DefinitionError(_OWNER, "confirm", "expected a Gpu to run the best trials on again", confirm)
    return {"confirm": confirm, "top": _count("top", 3 if top is None else top, most=1000)}


def _count(name: str, value: object, *, least: int = 1, most: int) -> int:
    good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    if not good:
        raise DefinitionError(_OWNER, name, f"expected a whole number from {least} to {most:,}", value)
    assert isinstance(value, int)
    return value
