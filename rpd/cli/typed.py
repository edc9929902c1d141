"""A command line as typed so far in bash: its words, and how to complete the last one."""

from __future__ import annotations

import re

from rpd.values.frozen import frozen

_PLAIN = re.compile(r"[^\w@%+=:,./~-]")


@frozen
class Typed:
    """``words`` as the shell would see them; the last may be empty. ``quote`` is the quote around it, or empty.

    ``kept`` is how many characters of the last word bash leaves alone: it completes only the part after a
    break character.
    """

    words: list[str]
    quote: str
    kept: int


def split(line: str, breaks: str) -> Typed:
    """Split ``line``, which ends at the cursor; ``breaks`` are the characters at which bash divides words."""
    words, word, quote, kept, is_begun = [], "", "", 0, False
    characters = iter(line)
    for character in characters:
        if quote:
            if character == quote:
                quote = ""
            elif character == "\\" and quote == '"':
                word += next(characters, "")
            else:
                word += character
        elif character in "'\"":
            quote, is_begun, kept = character, True, len(word)
        elif character == "\\":
            word += next(characters, "")
            is_begun = True
        elif character.isspace():
            if word or is_begun:
                words.append(word)
            word, kept, is_begun = "", 0, False
        else:
            word += character
            if character in breaks:
                kept = len(word)
    return Typed(words=[*words, word], quote=quote, kept=kept)


def escaped(text: str) -> str:
    """Return ``text`` as it is typed outside of quotes."""
    return _PLAIN.sub(r"\\\g<0>", text)
