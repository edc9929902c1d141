"""Variables as they are declared."""

from __future__ import annotations

import pytest

import rpd


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (rpd.variable(default=1), "2", 2),
        (rpd.variable(default=0.5), "1e-3", 0.001),
        (rpd.variable(default="a"), "b", "b"),
        (rpd.variable(), "b", "b"),
        (rpd.variable(default=None), "b", "b"),
        (rpd.variable(default=True), "off", False),
        (rpd.variable(type=bool), "YES", True),
    ],
)
def test_the_type_is_that_of_the_default(declared, text, value):
    """Text of the command line becomes a value of the declared type, or of the default's, or stays text."""
    assert declared.type(text) == value
    assert type(declared.type(text)) is type(value)


@pytest.mark.parametrize("text", ["maybe", "", "2"])
def test_a_boolean_is_true_or_false(text):
    """Anything else is refused."""
    with pytest.raises(ValueError, match="expected true or false"):
        rpd.variable(default=False).type(text)
