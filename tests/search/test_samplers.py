"""Samplers: Optuna's behind two calls, rebuilt from the known trials."""

from __future__ import annotations

import re
from typing import Any

import pytest

import rpd
from rpd.errors import UsageError
from rpd.search.optuna import OptunaSampler
from rpd.search.samplers import CheckedSampler
from rpd.search.space import make_space
from rpd.search.study import study_of
from rpd.search.trials import Objective, State, Trial, front, ranked

LOSS = Objective(metric="loss")
SPACE = make_space(
    {"lr": rpd.log_uniform(1e-4, 1), "kind": rpd.choice([None, "a", ("b", 1)]), "n": rpd.integers(1, 9, 2)}
)


def trial(number: int, *scores: float, state: State = State.COMPLETE, usd: float = 0.0) -> Trial:
    return Trial(number=number, values={}, state=state, scores=scores, usd=usd)


def loss_of(values: dict[str, object]) -> float:
    return abs(float(str(values["lr"])) - 0.01) + (values["kind"] != "a") + float(str(values["n"])) / 10


def test_optuna_learns_and_goes_on_in_another_process() -> None:
    pytest.importorskip("optuna")
    sampler = OptunaSampler(SPACE, [LOSS], "tpe", seed=1)
    known = []
    for number in range(1, 31):
        values = dict(sampler.ask(number))
        assert SPACE.decode(SPACE.encode(values)) == values
        state = (State.COMPLETE, State.PRUNED, State.FAILED)[number % 5 // 3]
        scores = (loss_of(values),) if state is not State.FAILED else ()
        known.append(
            Trial(number=number, values=values, state=state, scores=scores, curve=((1, 2.0), (2, 1.0)))
        )
        sampler.tell(known[-1])
    early = sum(loss_of(dict(each.values)) for each in known[:10])
    assert sum(loss_of(dict(each.values)) for each in known[-10:]) < early
    again = OptunaSampler(SPACE, [LOSS], "tpe", seed=31)
    for each in known:
        again.tell(each)
    late = 0.0
    for number in range(31, 41):
        values = dict(again.ask(number))
        late += loss_of(values)
        again.tell(Trial(number=number, values=values, state=State.COMPLETE, scores=(loss_of(values),)))
    assert late < early
    assert set(again.importances()) == {"lr", "kind", "n"}


def test_optuna_takes_several_objectives() -> None:
    pytest.importorskip("optuna")
    study = study_of(rpd.mark.search(lr=rpd.uniform(0, 1), minimize=["loss", "usd"], sampler="tpe"))
    sampler = study.make_sampler()
    for number in range(1, 4):
        values = sampler.ask(number)
        assert values is not None
        sampler.tell(Trial(number=number, values=values, state=State.COMPLETE, scores=(1.0, 2.0)))


def test_a_sampler_of_ones_own_is_two_calls() -> None:
    class Two:
        def __init__(self, space, objectives, seed) -> None:  # type: ignore[no-untyped-def]
            self.left = [{"lr": 0.25}, {"lr": 0.75}]

        def ask(self, number: int) -> dict[str, float] | None:
            return self.left.pop() if self.left else None

        def tell(self, trial: Trial) -> None:
            pass

    sampler = study_of(rpd.mark.search(lr=rpd.uniform(0, 1), minimize="loss", sampler=Two)).make_sampler()
    assert [sampler.ask(number) for number in (1, 2, 3)] == [{"lr": 0.75}, {"lr": 0.25}, None]


def test_what_is_missing_is_named() -> None:
    pytest.importorskip("optuna")
    try:
        import cmaes  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match="needs cmaes: pip install cmaes"):
            OptunaSampler(SPACE, [LOSS], "cma-es", seed=1)


def test_the_best_come_first() -> None:
    trials = [
        trial(1, 3.0),
        trial(2, 1.0),
        trial(3, 2.0),
        trial(4, 0.5, state=State.PRUNED),
        trial(5, state=State.FAILED),
    ]
    assert [each.number for each in ranked(trials, [LOSS])] == [2, 3, 1]
    assert [each.number for each in ranked(trials, [Objective(metric="loss", is_max=True)])] == [1, 3, 2]
    both = [trial(1, 1.0, 3.0), trial(2, 3.0, 1.0), trial(3, 2.0, 3.5)]
    assert [each.number for each in front(both, [LOSS, Objective(metric="usd")])] == [1, 2]


class Answering:
    """A user's sampler with one answer to everything."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def ask(self, number: int) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    tell = ask


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (RuntimeError("broke"), "Answering.ask: RuntimeError: broke"),
        ({"y": 1}, "expected values of x, card, got {'y': 1}"),
        ("x", "expected values of x, card, got 'x'"),
        ({"x": 55.0, "card": "a"}, "x: expected a number from 0 to 1, got 55"),
        ({"x": float("nan"), "card": "a"}, "x: expected a number from 0 to 1, got nan"),
        ({"x": 0.5, "card": "expensive"}, "expected one of a | b, got 'expensive'"),
    ],
)
def test_what_a_users_sampler_gets_wrong_names_the_study(answer: object, sentence: str) -> None:
    """Values outside of the space were never priced, and an error of a sampler is none of rpd."""
    space = make_space({"x": rpd.uniform(0, 1), "card": rpd.choice(["a", "b"])})
    with pytest.raises(UsageError, match=re.escape(sentence)) as raised:
        CheckedSampler(Answering(answer), space, "deploy_x.py::fit").ask(1)
    assert str(raised.value).startswith("deploy_x.py::fit: Answering.ask: ")


def test_what_is_no_sampler_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"deploy_x.py::fit: expected a sampler with the methods ask"):
        CheckedSampler(None, make_space({"x": rpd.uniform(0, 1)}), "deploy_x.py::fit")
