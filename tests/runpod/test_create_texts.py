"""The texts of a create call that both APIs share."""

from __future__ import annotations

import pytest

from rpd.errors import ImpossibleRequest
from rpd.runpod.create_texts import secret_texts, sendable
from rpd.runpod.rest.pods import path_of
from tests.runpod.conftest import spec


def test_secrets_are_values_and_words_of_the_command() -> None:
    """Texts that messages may not repeat: each value of the environment, the command and each of its words."""
    result = secret_texts(spec(env={"A": "one"}, docker_args="run --token two"))
    assert set(result) == {"one", "run --token two", "run", "--token", "two"}


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "a\nb"])
def test_characters_that_cannot_be_sent(text: str) -> None:
    """They are refused by their code; the text around them is not shown."""
    with pytest.raises(
        ImpossibleRequest, match=r"^image contains the character U\+[0-9A-F]{4}, which cannot be sent"
    ):
        sendable(text, "image")
    assert sendable("a\n\tb", "env", lines=True) == "a\n\tb"


def test_an_id_in_a_path_is_escaped_for_urls_only() -> None:
    """REST paths have no GraphQL escapes in them."""
    assert path_of('a"b/c') == "/pods/a%22b%2Fc"
