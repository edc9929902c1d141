"""Text inside a GraphQL string."""

from __future__ import annotations

import unicodedata

import pytest
from graphql import parse
from graphql.language import FieldNode, OperationDefinitionNode, StringValueNode
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import RequestRejected
from rpd.runpod.graphql.escape import escape, quote


def read_back(literal: str) -> str:
    """Return the value a GraphQL parser sees in a field argument."""
    operation = parse(f"query {{ f(x: {literal}) }}").definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    field = operation.selection_set.selections[0]
    assert isinstance(field, FieldNode)
    value = field.arguments[0].value
    assert isinstance(value, StringValueNode)
    return value.value


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\n\r\t"\\{}')))
def test_any_text_arrives_as_it_was(text: str) -> None:
    """Whatever is quoted is read back unchanged by a GraphQL parser: quotes, backslashes, braces, lines, emoji."""
    assert read_back(quote(text, "x", lines=True)) == text


@given(st.characters(categories=("Cs", "Cc")))
def test_what_has_no_place_in_a_name_is_refused(character: str) -> None:
    """Control characters and lone surrogates are refused by their code; the text around them is not shown."""
    with pytest.raises(RequestRejected) as caught:
        escape(f"private{character}", "image")
    message = str(caught.value)
    assert message.startswith("image contains the character U+")
    assert "private" not in message


@pytest.mark.parametrize("character", "\n\r\t")
def test_lines_are_allowed_where_said(character: str) -> None:
    """Line ends and tabs are fine in environment values and commands only."""
    assert unicodedata.category(character) == "Cc"
    assert read_back(quote(f"a{character}b", "env", lines=True)) == f"a{character}b"


def test_characters_beyond_the_basic_plane_stay_as_they_are() -> None:
    """An emoji is not sent as a pair of escapes, which the GraphQL of 2021 does not know."""
    assert escape("é 🚀", "env") == "é 🚀"
