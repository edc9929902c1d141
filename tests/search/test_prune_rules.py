"""Pruning rules: the trials they end, and that they find the result of running everything."""

from __future__ import annotations

from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd.search.prune_rules import Pruner, Rule
from rpd.search.trials import Objective
from tests.search.curves import SHAPES, STEPS, play

LOSS, ACCURACY = Objective(metric="loss"), Objective(metric="accuracy", is_max=True)


def report(pruner: Pruner, at: float, *values: float) -> list[str | None]:
    """Let trials 1, 2, … come to a point with these values."""
    return [pruner.report(trial, at, value) for trial, value in enumerate(values, start=1)]


def test_one_of_three_goes_on_at_each_rung() -> None:
    pruner = rpd.halving(4).start(LOSS)
    assert report(pruner, 3, 3.0, 1.0, 2.0) == [None, None, None]
    assert report(pruner, 4, 3.0, 1.0, 2.0) == [None, None, "2nd of 3 at step 4, where one in 3 continues"]
    # The first one came before there was anybody to compare it with: it is judged when it says something again.
    assert pruner.report(1, 5, 0.1) == "3rd of 3 at step 4, where one in 3 continues"
    assert pruner.report(2, 100, 9.0) is None


def test_larger_is_better_where_that_is_said() -> None:
    pruner = rpd.halving(1).start(ACCURACY)
    assert report(pruner, 1, 0.5, 0.6, 0.9)[-1] is None
    assert pruner.report(1, 2, 0.5) is not None


def test_worse_than_half_at_the_same_point_is_ended() -> None:
    pruner = rpd.median_rule(2, trials=2).start(LOSS)
    for at in (1, 2, 3):
        assert report(pruner, at, 1.0, 2.0) == [None, None]
    assert pruner.report(3, 1, 9.0) is None
    assert pruner.report(3, 2, 9.0) == "worse than half of 2 others at step 2"
    assert pruner.report(4, 2, 1.2) is None


POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 30), st.floats(0, 1)), max_size=60)


@given(POINTS, st.sampled_from([rpd.halving(2), rpd.halving(1, factor=2), rpd.median_rule(2, trials=1)]))
def test_the_best_trial_is_never_ended(points: list[tuple[int, int, float]], rule: Rule) -> None:
    """Whatever the others do, and in whichever order points come: a trial that is ahead everywhere continues."""
    pruner = rule.start(LOSS)
    for trial, at, value in points:
        pruner.report(trial, at, 1.0 + value)
        assert pruner.report(0, at, 0.5) is None


@given(POINTS, st.sampled_from([rpd.halving(2), rpd.median_rule(2, trials=1)]))
def test_points_that_are_heard_again_change_nothing(points: list[tuple[int, int, float]], rule: Rule) -> None:
    """A resumed run gets the points of a node from its first one on."""
    points = sorted(points, key=lambda point: point[1])
    once, twice = rule.start(LOSS), rule.start(LOSS)
    for pruner, times in ((once, 1), (twice, 2)):
        for trial in range(1, 7):
            own = [(at, value) for other, at, value in points if other == trial]
            for at, value in own * times:
                pruner.report(trial, at, value)
    assert [once.report(trial, 40, 0.5) for trial in range(1, 8)] == [
        twice.report(trial, 40, 0.5) for trial in range(1, 8)
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_halving_finds_the_winner_for_a_third_of_the_time(shape: str) -> None:
    played = [play(seed, shape, 0.005, rpd.halving(STEPS // 7 + 1)) for seed in range(5)]
    assert sum(each.found for each in played) >= 4
    assert mean(each.seconds for each in played) <= 0.4


@pytest.mark.exhaustive
@pytest.mark.parametrize("noise", [0.0, 0.005, 0.01])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_95_of_100_studies_for_40_percent(shape: str, noise: float) -> None:
    """Forty trials in four slots whose cards differ in speed and price."""
    played = [play(seed, shape, noise, rpd.halving(STEPS // 7 + 1)) for seed in range(100)]
    assert sum(each.found for each in played) >= 95
    assert mean(each.seconds for each in played) <= 0.4
    assert mean(each.usd for each in played) <= 0.4


@pytest.mark.exhaustive
def test_the_median_rule_is_the_careful_one() -> None:
    played = [play(seed, "power", 0.01, rpd.median_rule(STEPS // 7 + 1)) for seed in range(100)]
    assert sum(each.found for each in played) >= 98
    assert mean(each.seconds for each in played) <= 0.5
