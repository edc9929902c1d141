"""Marks and parameter sets."""

from __future__ import annotations

import pytest

import rpd
from rpd.errors import DefinitionError
from rpd.values.mark import MARKS_ATTRIBUTE, Mark


def test_a_mark_decorates_and_returns_the_function():
    """Marks are kept in the order in which decorators ran."""

    def function(): ...

    assert rpd.mark.slow(rpd.mark.skip(reason="no")(function)) is function
    assert vars(function)[MARKS_ATTRIBUTE] == (Mark("skip", (), {"reason": "no"}), Mark("slow"))


def test_a_mark_with_arguments_is_another_mark():
    """Calling a mark returns another one with the arguments, and leaves the first unchanged."""
    base = rpd.mark.slow(1, phase=2)
    assert base(3, phase=4) == Mark("slow", (1, 3), {"phase": 4})
    assert base == Mark("slow", (1,), {"phase": 2})


def test_names_of_marks_do_not_begin_with_an_underscore():
    """Dunder look-ups by tools find nothing."""
    with pytest.raises(AttributeError, match="underscore"):
        rpd.mark._private  # noqa: B018


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"id": 5}, "param.id: expected a string, got 5"),
        ({"marks": ["slow"]}, "param.marks: expected a mark or a sequence of marks, got 'slow'"),
    ],
)
def test_wrong_parameter_sets_are_told(keywords, text):
    """Ids are texts and marks are marks."""
    with pytest.raises(DefinitionError) as caught:
        rpd.param(1, **keywords)
    assert str(caught.value) == text


def test_a_parameter_set_holds_values_marks_and_id():
    """A lone mark is a sequence of one."""
    parameters = rpd.param(1, 2, marks=rpd.mark.skip, id="x")
    assert (parameters.values, parameters.marks, parameters.id) == ((1, 2), (Mark("skip"),), "x")
