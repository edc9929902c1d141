"""The mark ``search``: its meaning, and its errors."""

from __future__ import annotations

from typing import Any

import pytest

import rpd
from rpd.errors import DefinitionError
from rpd.search.study import TRIALS, study_of

LR = rpd.uniform(0, 1)
TWO = rpd.choice([1, 2])


def test_a_study_says_what_it_searches() -> None:
    study = study_of(
        rpd.mark.search({"top": rpd.integers(1, 3)}, lr=LR, maximize="accuracy", sampler="random")
    )
    assert list(study.space.dimensions) == ["top", "lr"]
    assert [(each.metric, each.is_max) for each in study.objectives] == [("accuracy", True)]
    assert study.trials == TRIALS


def test_the_command_line_overrules_the_mark_and_a_small_space_both() -> None:
    mark = rpd.mark.search(lr=LR, minimize="loss", trials=40, search_seed=3)
    assert (study_of(mark, trials=5).trials, study_of(mark, seed=7).seed) == (5, 7)
    assert study_of(rpd.mark.search(a=TWO, b=rpd.integers(1, 3), minimize="loss", trials=40)).trials == 6
    assert (
        study_of(rpd.mark.search(a=TWO, b=rpd.integers(1, 30), minimize="loss", sampler="grid")).trials == 60
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"lr": LR}, "expected a metric to aim at"),
        ({"minimize": "loss"}, "expected at least one argument with a range"),
        ({"lr": LR, "minimize": 3}, r"minimize: expected the name of a metric, or several, got 3"),
        ({"lr": LR, "minimize": "loss", "maximize": "loss"}, "expected each metric once"),
        ({"lr": LR, "minimize": "loss", "trials": 0}, "trials: expected a whole number from 1"),
        ({"lr": LR, "minimize": "loss", "sampler": "tqe"}, r"expected one of auto, .*did you mean 'tpe'\?"),
        ({"lr": LR, "minimize": "loss", "sampler": 3}, "expected a name, a sampler of Optuna or a function"),
        ({"lr": LR, "minimize": "loss", "sampler": "grid"}, r"finitely many values for a grid, got \['lr'\]"),
        ({"lr": LR, "minimize": "loss", "prune": "halving"}, "prune: expected rpd.halving"),
        (
            {"lr": LR, "minimize": ["loss", "usd"], "prune": rpd.halving(3)},
            "one objective where trials are pruned",
        ),
        ({"lr": LR, "minimize": ["a", "b"], "sampler": "cma-es"}, "one that takes several objectives"),
        ({"lr": LR, "minimize": "loss", "top": 3}, "confirm: expected a Gpu to run the best trials on again"),
        (
            {"lr": LR, "minimize": "loss", "confirm": "NVIDIA L4", "top": 0},
            "top: expected a whole number from 1",
        ),
        ({"lr": LR, "minimise": "loss"}, r"minimise: did you mean minimize=…\?"),
        ({"lr": [1, 2], "minimize": "loss"}, r"lr: expected a range of values, got \[1, 2\]"),
    ],
)
def test_one_error_says_what_is_wrong(given: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        study_of(rpd.mark.search(**given))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: rpd.halving(0), "first: expected a number > 0"),
        (lambda: rpd.halving(1, factor=1), "factor: expected a whole number >= 2"),
        (lambda: rpd.halving(1, unit="epochs"), "unit: expected one of steps, seconds, dollars"),
        (lambda: rpd.median_rule("3"), "after: expected a number > 0"),
        (lambda: rpd.median_rule(3, trials=0), "trials: expected a whole number >= 1"),
    ],
)
def test_rules_of_pruning_are_checked(make: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        make()
