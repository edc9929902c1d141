"""The space of a study: its contents, its record, and its errors."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd.errors import DefinitionError
from rpd.search.space import GPU, Space, make_space, space_of

FINITE = st.floats(-1e6, 1e6)
DIMENSIONS = st.one_of(
    st.tuples(FINITE, FINITE).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: rpd.uniform(*pair)),
    st.tuples(st.floats(1e-9, 1.0), st.floats(1.5, 1e9)).map(lambda pair: rpd.log_uniform(*pair)),
    st.tuples(st.integers(-50, 50), st.integers(1, 100), st.integers(1, 7)).map(
        lambda drawn: rpd.integers(drawn[0], drawn[0] + drawn[1], drawn[2])
    ),
    st.tuples(st.integers(1, 50), st.integers(1, 100)).map(
        lambda drawn: rpd.integers(drawn[0], drawn[0] + drawn[1], log=True)
    ),
    st.lists(st.one_of(st.text(), st.integers(), st.none()), min_size=1, unique_by=repr).map(rpd.choice),
)
SPACES = st.dictionaries(st.sampled_from("abcd"), DIMENSIONS, min_size=1).map(make_space)


@given(SPACES, st.integers())
def test_what_is_drawn_is_in_the_space_and_survives_the_journal(space: Space, seed: int) -> None:
    values = space.draw(random.Random(seed))
    held = json.loads(json.dumps(space.encode(values)))
    assert space.decode(held) == values
    # A report knows the space by its document alone, and reads the same values by it.
    known = space_of(json.loads(json.dumps(space.document())))
    assert known.document() == space.document()
    assert known.decode(held) == values


@given(SPACES)
def test_a_finite_space_is_gone_through_whole(space: Space) -> None:
    if space.size is None or space.size > 1000:
        return
    points = [json.dumps(space.encode(point)) for point in space.points()]
    assert len(points) == len(set(points)) == space.size


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: rpd.uniform(1, 1), r"uniform\.high: expected more than low \(1\), got 1"),
        (lambda: rpd.uniform(0, float("nan")), r"uniform\.high: expected a number, got nan"),
        (lambda: rpd.uniform(True, 2), r"uniform\.low: expected a number, got True"),
        (lambda: rpd.log_uniform(0, 1), r"log_uniform\.low: expected a number > 0, got 0"),
        (lambda: rpd.integers(1, 2.5), r"integers\.high: expected a whole number, got 2\.5"),
        (lambda: rpd.integers(1, 5, 0), r"integers\.step: expected a whole number >= 1, got 0"),
        (lambda: rpd.integers(0, 5, log=True), r"integers\.low: expected a whole number >= 1, got 0"),
        (lambda: rpd.choice([]), r"choice\.values: expected at least one value, got \[\]"),
        (lambda: rpd.choice("abc"), r"choice\.values: expected a list of values, got 'abc'"),
        (lambda: rpd.choice([1, 2, 1]), r"choice\.values: expected each value once, got 1"),
        (lambda: make_space({}), r"expected at least one argument with a range"),
        (lambda: make_space({"lr": 0.1}), r"rpd\.mark\.search\.lr: expected a range of values, got 0\.1"),
        (lambda: make_space({GPU: rpd.integers(1, 2)}), r"search\.gpu: expected rpd\.choice of GPUs"),
        (lambda: make_space({GPU: rpd.choice(["NVIDIA H1000"])}), r"NVIDIA H1000"),
        (lambda: make_space({GPU: rpd.choice([1])}), r"search\.gpu: expected GPUs or their ids, got 1"),
    ],
)
def test_what_cannot_be_a_range_is_refused(make: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        make()


@pytest.mark.parametrize("held", [None, {}, {"a": 9}, {"a": "x"}, {"a": True}, {"a": 1, "b": 1}])
def test_a_damaged_line_gives_no_values(held: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        make_space({"a": rpd.integers(1, 5)}).decode(held)
