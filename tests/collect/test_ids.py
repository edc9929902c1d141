"""Ids of parameter values."""

from __future__ import annotations

import enum
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpd
from rpd.collect.ids import make_ids, plain_id
from rpd.errors import CollectionError
from rpd.values.mark import ParameterSet


class Color(enum.Enum):
    RED = 1


class Opaque: ...


def ids(values, given_ids=None, *, names=("x",), make_id=lambda value, name: None, strict=True):
    cells = [value if isinstance(value, ParameterSet) else ParameterSet((value,)) for value in values]
    return make_ids(names, cells, given_ids, make_id=make_id, strict=strict)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (42, "x42"),
        (0.1, "x0.1"),
        (1e-05, "x1e-05"),
        (True, "xTrue"),
        (None, "xNone"),
        (1j, "x1j"),
        ("deberta", "deberta"),
        ("", ""),
        ("ä\n\x00", r"\xe4\n\x00"),
        ("a\\b", r"a\\b"),
        (b"ab\xff\x00", r"ab\xff\x00"),
        (Color.RED, "Color.RED"),
        (re.compile("a.b"), "a.b"),
        (Opaque, "Opaque"),
        (len, "len"),
        (Opaque(), "x0"),
        ([1], "x0"),
        ("y" * 100, "y" * 100),
        ("ü" * 101, hashlib.sha256(("ü" * 101).encode()).hexdigest()),
    ],
)
def test_generated_ids(value, expected):
    """Texts stand for themselves, numbers carry the argument's name, objects get it with their index."""
    assert ids([value]) == [expected]


@pytest.mark.parametrize(
    ("given_ids", "expected"),
    [
        (["one", None, 3], ["one", "x2", "3"]),
        ([1.5, True, Color.RED], ["1.5", "True", "Color.RED"]),
        ((name for name in ["a", "b", "c", "d"]), ["a", "b", "c"]),
        (lambda value: None if value == 2 else value * 10, ["10", "x2", "30"]),
        (lambda value: [value], ["x1", "x2", "x3"]),
        ([], ["x1", "x2", "x3"]),
    ],
)
def test_given_ids_win_over_generated_ones(given_ids, expected):
    """Ids of a list or of a function are taken as written; None leaves it to rpd."""
    assert ids([1, 2, 3], given_ids) == expected


def test_the_precedence_of_ids():
    """rpd.param, then the list, then the function, then plugins, then the value."""
    values = [rpd.param(1, id="own"), 1, 2]
    plugin = lambda value, name: f"plugin{value}"  # noqa: E731
    assert ids(values, ["a", "b", "c"], make_id=plugin) == ["own", "b", "c"]
    assert ids(values, lambda v: "f" if v == 1 else None, make_id=plugin) == ["own", "f", "plugin2"]
    assert ids(values, make_id=plugin) == ["own", "plugin1", "plugin2"]


def test_several_arguments_are_joined():
    """Each value of a set has its part, with its own argument's name."""
    assert ids([rpd.param(1, "a", None)], names=("x", "y", "z")) == ["x1-a-zNone"]


@pytest.mark.parametrize(
    ("values", "given_ids", "text"),
    [
        ([1, 2], ["a"], "2 parameter sets specified, with different number of ids: 1"),
        ([1], [object()], "ids contains unsupported value <object object at"),
        ([1], 5, "ids: expected a sequence or a function, got 5"),
        ([rpd.param(1, id=rpd.HIDDEN_PARAM), rpd.param(2, id=rpd.HIDDEN_PARAM)], None, "HIDDEN_PARAM"),
    ],
)
def test_wrong_ids_are_errors(values, given_ids, text):
    """Values that cannot be ids are reported."""
    with pytest.raises(CollectionError, match=re.escape(text)):
        ids(values, given_ids)


def test_a_hidden_parameter_adds_nothing():
    """HIDDEN_PARAM is no part of the node id."""
    assert ids([rpd.param(1, id=rpd.HIDDEN_PARAM), 2]) == [None, "x2"]


def test_duplicate_ids_name_the_parameters_the_ids_and_the_way_out():
    """Ids name artifacts that were paid for: equal ones are an error."""
    with pytest.raises(CollectionError) as caught:
        ids(["a", "b", "a"])
    assert str(caught.value).splitlines()[1:4] == [
        "Parameters:     x",
        "Parameter sets: a, b, a",
        "Duplicates:     a",
    ]
    assert "rpd.param(…, id=…)" in str(caught.value)


def test_duplicate_ids_are_numbered_where_they_may_be():
    """Without strictness numbers are appended, after ``_`` where the id ends in a digit, around ids that exist."""
    assert ids(["a", "b", "a", "a1"], strict=False) == ["a0", "b", "a2", "a1"]
    assert ids([1, 1], strict=False) == ["x1_0", "x1_1"]


@given(st.lists(st.one_of(st.text(max_size=3), st.integers(0, 3), st.none(), st.booleans()), max_size=12))
def test_numbered_ids_are_unique_and_stable(values):
    """Whatever the values, ids differ from each other and are the same the next time."""
    first = ids(values, strict=False)
    assert len(set(first)) == len(values)
    assert first == ids(values, strict=False)


@given(st.text())
def test_ids_of_texts_are_printable_ascii(text):
    """An id can be typed and printed anywhere."""
    result = plain_id(text)
    assert result is not None
    assert result.isascii()
    assert result.isprintable() or result == ""
